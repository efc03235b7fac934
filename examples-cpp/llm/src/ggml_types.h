// The tensor types a GGUF file can name, with the size of their blocks, so that a tensor's extent is checked whether or not
// this engine can compute with its type.
#pragma once

#include <cstdint>
#include <string>

namespace llm {

struct ggml_type {
    uint32_t id;
    const char *name;
    uint32_t block_elements;
    uint32_t block_bytes;

    // Quantised: elements share a scale.
    bool is_block() const { return block_elements > 1; }
    // The library multiplies with it.
    bool is_weight() const;
};

// nullptr for ids that no GGUF version assigns or that were withdrawn (4, 5, 31 to 33, 36 to 38).
const ggml_type *find_ggml_type(uint32_t id);

// Those that `is_weight` is true of: "F32, F16, Q4_0 and BF16".
std::string weight_type_names();

// Why `find_ggml_type` does not know this number, and what to do: "has type number 31 (Q4_0_4_4), which ...".
std::string unknown_ggml_type(uint32_t id);

namespace ggml_id {
constexpr uint32_t f32 = 0, f16 = 1, bf16 = 30;
}

}  // namespace llm
