// The hidden state between two products of the decoder, in the forms in which the op that wrote it left it.
#pragma once

#include <cstdint>

#include <reflex/infer.hpp>

namespace llm {

// `count` rows of a matrix from `first` on. An absent operand stays absent.
inline reflex_tensor rows_of(const reflex_tensor &in, uint32_t first, uint32_t count) {
    if (in.data == nullptr) return in;
    reflex_tensor out = in;
    const uint64_t row_bytes =
        in.stride[0] != 0 ? static_cast<uint64_t>(in.stride[0]) : reflex::row_bytes(in.dtype, in.shape[1]);
    out.data = static_cast<uint8_t *>(in.data) + first * row_bytes;
    out.shape[0] = count;
    return out;
}

// Views of the decoder's memory, valid until the next pass writes it.
struct residual_stream {
    reflex_tensor hidden;  // [rows, hidden], F32
    // Both are present where the norm through which the next product reads hidden is deferred: [rows, hidden], ACT_I8, is hidden times the
    // weight of that norm, and [rows, blocks], F32, has the sum of the squares of each block of hidden. The next product reads these
    // and divides by the root of the mean square.
    reflex_tensor normed, squares;

    bool norm_is_deferred() const { return normed.data != nullptr; }
    uint32_t rows() const { return static_cast<uint32_t>(hidden.shape[0]); }
    residual_stream part(uint32_t first, uint32_t count) const {
        return {rows_of(hidden, first, count), rows_of(normed, first, count), rows_of(squares, first, count)};
    }
};

}  // namespace llm
