// What every matmul kernel is given, and how a result leaves it.
//
//   y[r][o] = sum_i x[r][i] * weight[o][i] + bias[o] + residual[r][o]
#pragma once

#include "common/blocks.cuh"
#include "common/element.cuh"

namespace reflex {

struct matmul_args {
    const void *x, *weight, *bias, *residual;
    void *y;
    i64 x_stride, weight_stride, residual_stride, y_stride;  // bytes from row to row
    i32 rows, n, k;
    u32 x_type, bias_type, residual_type, y_type;
    i32 x_vec;       // rows of x are 16-byte aligned and k is a multiple of 8
    i32 weight_vec;  // the same of the weight; plain types only
    i32 row_groups;  // blocks that share the same outputs and have other rows
};
REFLEX_ARGS_LAYOUT(matmul_args, 112, row_groups, 108);

__device__ __forceinline__ const char *matmul_x(const matmul_args &a, i32 row) {
    return static_cast<const char *>(a.x) + row * a.x_stride;
}

__device__ __forceinline__ const char *matmul_weight(const matmul_args &a, i32 o) {
    return static_cast<const char *>(a.weight) + o * a.weight_stride;
}

// One thread reads the residual and writes the result of an element, so that y may be the residual.
__device__ __forceinline__ void matmul_store(const matmul_args &a, i32 row, i32 o, float v) {
    if (a.bias) v += load1(a.bias, a.bias_type, o);
    if (a.residual) v += load1(static_cast<const char *>(a.residual) + row * a.residual_stride, a.residual_type, o);
    store1(static_cast<char *>(a.y) + row * a.y_stride, a.y_type, o, v);
}

}  // namespace reflex
