// What the library decides and this engine plans with. The functions ask the library. The constants are those that infer.h states in
// words alone, each with the sentence that states it.
#pragma once

#include <cstdint>

#include "device.h"

namespace llm {

// reflex_matmul_product::weight: "Data is 16-byte aligned for block formats". reflex_embedding says the same of its table. Files may be
// aligned to less.
constexpr uint64_t weight_alignment = 16;

// REFLEX_DTYPE_ACT_I8: "Data and strides between rows are multiples of 16".
constexpr uint64_t act_i8_alignment = 16;

// reflex_matmul_params::workspace, and that of every other op: "256-byte aligned".
constexpr uint64_t workspace_alignment = 256;

// Elements of one block of REFLEX_DTYPE_ACT_I8. A width that is to be written as ACT_I8 is a multiple of it, and reflex_matmul leaves one
// sum of squares for each block of its `y_normed`.
inline uint32_t act_i8_block_elements() { return reflex_dtype_block_elements(REFLEX_DTYPE_ACT_I8); }

// Bytes from one row of REFLEX_DTYPE_ACT_I8 to the next. `width` is a multiple of the block.
uint64_t act_i8_row_bytes(uint64_t width);

// The most rows for which REFLEX_MATMUL_INT8 makes products with weights that are not packed products of 8-bit integers. More rows are
// multiplied with the exact values of the weights.
uint32_t native_int8_rows(const device &owner);

}  // namespace llm
