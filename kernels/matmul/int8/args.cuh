// What the int8 products are given: up to three weights over one x, each with its own format, height and epilogue.
//
//   y[r][o] = sum_i x[r][i] * weight[o][i] + bias[o] + residual[r][o]
//   gated:    y[r][o] = f(sum_i x[r][i] * weight0[o][i] + bias0[o]) * (sum_i x[r][i] * weight1[o][i] + bias1[o]) + residual0[r][o]
//
// With x_squares the sums over i are divided by sqrt(sum(x_squares[r]) / k + epsilon); with y_norm the first part's y times
// that, and sums of 32 squares of y, go to memory as well: an RMS norm in the middle of two products.
//
// x is ACT_I8: rows of int8 and, behind them, a record {f32 scale, i16 sum, i16 sum} for each 32 elements (common/act_i8.cuh).
#pragma once

#include "common/types.cuh"

namespace reflex {

struct int8_part {
    const void *weight, *bias, *residual;
    void *y;
    i64 weight_stride, residual_stride, y_stride;  // bytes from row to row
    u32 weight_type, bias_type, residual_type, y_type;
    i32 n;
    i32 first_block;  // of the grid
    i32 tile_bytes;   // of packed weights; 0: native ones
    i32 splits;       // warps that share k
};

struct int8_args {
    const void *x;
    i64 x_stride;
    const float *x_squares;  // [k / 32] a row, or NULL
    i64 x_squares_stride;
    // Of several rows (int8/shared/activations.cuh), for formats that scale 32 elements together and for those that scale 16.
    const void *x_tiles[2];
    int8_part part[3];
    const void *y_norm;  // [n] or NULL
    void *y_normed;      // ACT_I8
    float *y_squares;    // [n / 32] a row
    i64 y_normed_stride, y_squares_stride;
    u32 y_norm_type;
    float epsilon;
    i32 rows, k;
    i32 parts;
    i32 gate;         // 0, or 1 + the activation's kind: the first two parts are a gated pair
    i32 panels;       // of 16 outputs that a block makes; of a gated pair, half of them of each
    i32 prefetch;     // weights may be read before the launches in front of this one have ended
    i32 ring_bytes;   // shared memory of a warp
    i32 front_bytes;  // where in shared memory the warps' sums are, of several rows of x or of complete panels
};
REFLEX_ARGS_LAYOUT(int8_args, 392, front_bytes, 388);

// Which part a block's outputs are of: the first of a gated pair, which shares its blocks.
__device__ __forceinline__ i32 int8_part_index(const int8_args &a, i32 block) {
    i32 index = 0;
    if (!a.gate)
        while (index + 1 < a.parts && block >= a.part[index + 1].first_block) index++;
    return index;
}

// NVRTC from 13.2 on keeps what the loops of some kernels do not need alive through them, and spills it. TIGHT kernels keep it together or
// compute it anew, which costs up to 4% of native blocks: elsewhere they do not. What is not TIGHT shares no function with what is: a helper
// that gave back either changed the schedule of every loop.
#if __CUDACC_VER_MAJOR__ * 100 + __CUDACC_VER_MINOR__ >= 1302 && (__CUDA_ARCH__ == 900 || __CUDA_ARCH__ == 750)
constexpr bool INT8_TIGHT = true;
#else
constexpr bool INT8_TIGHT = false;
#endif

// Where a warp stands in its block, in one register: it takes every splits-th tile from `split` on, of the panels from `slot` on.
struct int8_place {
    u32 packed = 0;

    int8_place() = default;
    __device__ __forceinline__ int8_place(i32 split, i32 slot) : packed((u32)slot << 16 | (u32)split) { settle(); }
    __device__ __forceinline__ i32 split() const { return (i32)(packed & 0xffff); }
    __device__ __forceinline__ i32 slot() const { return (i32)(packed >> 16); }
    // Else the compiler would put it together, or read it, where that suits it, and keep in registers what it is made of.
    __device__ __forceinline__ void settle() { asm volatile("" : "+r"(packed)); }
};

}  // namespace reflex
