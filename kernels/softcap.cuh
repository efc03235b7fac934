// Soft cap: y = cap * tanh(x / cap).
//
// Layout: rows of `n` contiguous elements; up to three outer dimensions with strides of their own. `chunks` neighbouring blocks
// share a row; a thread takes N elements. Bound by memory.
#pragma once

#include "common/element.cuh"

namespace reflex {

struct softcap_args {
    const void *x;
    void *y;
    row_stride x_stride, y_stride;
    i32 extent1, extent2;  // inner outer dimensions
    i32 n, chunks;
    u32 x_type, y_type;
    float cap, inverse;  // 1 / cap
};
REFLEX_ARGS_LAYOUT(softcap_args, 96, inverse, 92);

template <int N> __device__ __forceinline__ void softcap(const softcap_args &a) {
    const u32 row = blockIdx.x / (u32)a.chunks, chunk = blockIdx.x % (u32)a.chunks;
    const i32 i = (i32)(chunk * blockDim.x + threadIdx.x) * N;
    if (i >= a.n) return;
    const row_index index(row, a.extent1, a.extent2);
    float v[N];
    load_n<N>(static_cast<const char *>(a.x) + index.offset(a.x_stride), a.x_type, i, v);
#pragma unroll
    for (int k = 0; k < N; k++) v[k] = a.cap * tanhf(v[k] * a.inverse);
    store_n<N>(static_cast<char *>(a.y) + index.offset(a.y_stride), a.y_type, i, v);
}

}  // namespace reflex
