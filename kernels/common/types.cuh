// Names of the device vocabulary: integers, element types, tensors' rows, the layout checks of kernel arguments.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "formats.def"

namespace reflex {

using u8 = unsigned char;
using i8 = signed char;
using u16 = unsigned short;
using u32 = unsigned int;
using i32 = int;
using u64 = unsigned long long;
using i64 = long long;

}  // namespace reflex

#include "constants.def"

namespace reflex {

// The numbers of REFLEX_DTYPE_*.
enum dtype : u32 {
    F32 = 1,
    F16 = 2,
    BF16 = 3,
    I32 = 4,
    ACT_I8 = 5,
#define REFLEX_NUMBER(NAME, name, ggml, ...) NAME = 0x100 + ggml,
    REFLEX_BLOCK_FORMATS(REFLEX_NUMBER)
#undef REFLEX_NUMBER
};

constexpr u32 WARP = 32;
// The headers' INFINITY is not there under NVRTC.
#define REFLEX_INF __int_as_float(0x7f800000)
constexpr u32 FULL_MASK = 0xffffffffu;

// A kernel takes one struct, `const __grid_constant__ <op>_args a`. The launch code asserts the same numbers. NVRTC has
// no offsetof, so there the size alone is checked; nvcc checks both.
#ifdef __CUDACC_RTC__
#define REFLEX_ARGS_LAYOUT(type, size, last, offset) \
    static_assert(sizeof(type) == (size), #type " differs from the launch code")
#else
#define REFLEX_ARGS_LAYOUT(type, size, last, offset)                                    \
    static_assert(sizeof(type) == (size) && __builtin_offsetof(type, last) == (offset), \
                  #type " differs from the launch code")
#endif

// Byte strides of up to three outer dimensions; a row is what lies along the last one.
struct row_stride {
    i64 bytes[3];
};

// Splits a flat row number into the indices of three outer dimensions, of which the inner two have these extents. A call has at most
// 2^31 - 1 rows (src/ops/rows.rs), so that no division is of 64 bits.
struct row_index {
    u32 i0;
    i32 i1, i2;
    __device__ __forceinline__ row_index(u32 row, i32 extent1, i32 extent2) {
        i2 = (i32)(row % (u32)extent2);
        row /= (u32)extent2;
        i1 = (i32)(row % (u32)extent1);
        i0 = row / (u32)extent1;
    }
    __device__ __forceinline__ i64 offset(const row_stride &s) const {
        return i0 * s.bytes[0] + i1 * s.bytes[1] + i2 * s.bytes[2];
    }
};

}  // namespace reflex
