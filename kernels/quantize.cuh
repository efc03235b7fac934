// Quantised activations: y = x as ACT_I8, a scale and 32 signed bytes for each 32 elements.
//
// Layout: rows of `k` elements, a multiple of 32; up to three outer dimensions with strides of their own. `chunks`
// neighbouring blocks share a row; a thread takes N elements, 32 / N threads of a warp each 32 of them. Bound by memory for
// many rows, by latency for one.
#pragma once

#include "common/act_i8.cuh"

namespace reflex {

struct quantize_args {
    const void *x;
    void *y;
    row_stride x_stride, y_stride;
    i32 extent1, extent2;  // inner outer dimensions
    i32 k, chunks;
    u32 x_type;
};
REFLEX_ARGS_LAYOUT(quantize_args, 88, x_type, 80);

template <int N> __device__ __forceinline__ void quantize(const quantize_args &a) {
    const u32 row = blockIdx.x / (u32)a.chunks, chunk = blockIdx.x % (u32)a.chunks;
    const i32 i = (i32)(chunk * blockDim.x + threadIdx.x) * N;
    if (i - (i32)(threadIdx.x % WARP) * N >= a.k) return;  // whole warps
    const row_index index(row, a.extent1, a.extent2);
    float v[N] = {};
    if (i < a.k) load_n<N>(static_cast<const char *>(a.x) + index.offset(a.x_stride), a.x_type, i, v);
    act_i8_store<N>(static_cast<char *>(a.y) + index.offset(a.y_stride), a.k, i, v, i < a.k);
}

}  // namespace reflex
