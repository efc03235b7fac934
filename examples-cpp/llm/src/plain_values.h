// Tensors of plain numbers on the host.
#pragma once

#include <cstring>
#include <stdexcept>
#include <vector>

#include "gguf.h"

namespace llm {

// The value that an IEEE half of these bits has.
inline float half_value(uint16_t bits) {
    const uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, fraction = bits & 1023u;
    uint32_t out = sign;
    if (exponent == 31) {
        out |= 0x7F800000u | fraction << 13;
    } else if (exponent != 0) {
        out |= (exponent + 112) << 23 | fraction << 13;
    } else {
        // A subnormal: fraction * 2^-24, which f32 holds exactly.
        const float magnitude = static_cast<float>(fraction) / 16777216.0f;
        std::memcpy(&out, &magnitude, sizeof out);
        out |= sign;
    }
    float value;
    std::memcpy(&value, &out, sizeof value);
    return value;
}

// All elements of a tensor of type F32, F16 or BF16.
inline std::vector<float> plain_values(const gguf_tensor &tensor) {
    std::vector<float> out(tensor.elements());
    if (tensor.type->id == ggml_id::f32) {
        std::memcpy(out.data(), tensor.data, out.size() * sizeof(float));
        return out;
    }
    const bool half = tensor.type->id == ggml_id::f16;
    if (!half && tensor.type->id != ggml_id::bf16) throw std::logic_error("plain_values of a tensor of blocks");
    for (size_t i = 0; i < out.size(); ++i) {
        uint16_t bits;
        std::memcpy(&bits, tensor.data + i * sizeof bits, sizeof bits);
        const uint32_t wide = uint32_t{bits} << 16;
        if (half) {
            out[i] = half_value(bits);
        } else {
            std::memcpy(&out[i], &wide, sizeof wide);
        }
    }
    return out;
}

}  // namespace llm
