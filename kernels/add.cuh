// Scaled sum: y = a + scale * b.
//
// Layout: rows of `n` contiguous elements; up to three outer dimensions with strides of their own, all 0 for a b that is
// one row for all. `chunks` neighbouring blocks share a row; a thread takes N elements. Bound by memory.
#pragma once

#include "common/element.cuh"

namespace reflex {

struct add_args {
    const void *a, *b;
    void *y;
    row_stride a_stride, b_stride, y_stride;
    i32 extent1, extent2;  // inner outer dimensions
    i32 n, chunks;
    u32 a_type, b_type, y_type;
    float scale;
};
REFLEX_ARGS_LAYOUT(add_args, 128, scale, 124);

template <int N> __device__ __forceinline__ void add(const add_args &p) {
    const u32 row = blockIdx.x / (u32)p.chunks, chunk = blockIdx.x % (u32)p.chunks;
    const i32 i = (i32)(chunk * blockDim.x + threadIdx.x) * N;
    if (i >= p.n) return;
    const row_index index(row, p.extent1, p.extent2);
    float a[N], b[N];
    load_n<N>(static_cast<const char *>(p.a) + index.offset(p.a_stride), p.a_type, i, a);
    load_n<N>(static_cast<const char *>(p.b) + index.offset(p.b_stride), p.b_type, i, b);
#pragma unroll
    for (int k = 0; k < N; k++) a[k] = fmaf(p.scale, b[k], a[k]);
    store_n<N>(static_cast<char *>(p.y) + index.offset(p.y_stride), p.y_type, i, a);
}

}  // namespace reflex
