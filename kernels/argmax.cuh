// Index of the greatest element of each row; the lowest index on a tie; NaN is less than everything.
//
// Layout: rows of `n` contiguous elements, a block each. Bound by what one SM reads (a vocabulary of 150k f32 logits is
// 600 KB); nothing is written but the ids, so no scratch and no second launch.
#pragma once

#include "common/element.cuh"
#include "common/select.cuh"

namespace reflex {

struct argmax_args {
    const void *x;
    i32 *ids;
    u32 *counters;  // NULL with a count of 0
    i64 x_stride, rows, counter_count;
    i32 n;
    u32 x_type;
};
REFLEX_ARGS_LAYOUT(argmax_args, 56, x_type, 52);

// This thread's part of a row. The type is a constant here, so that the loads of several rounds are under way at once.
template <int N, u32 TYPE> __device__ __forceinline__ u64 argmax_scan(const char *x, i32 n) {
    u32 best = 0;
    i32 at = 0;
#pragma unroll 4
    for (i32 i = threadIdx.x * N; i < n; i += blockDim.x * N) {
        float v[N];
        load_n<N>(x, TYPE, i, v);
#pragma unroll
        for (int k = 0; k < N; k++) {
            const u32 key = order_key(v[k]);
            if (key > best) best = key, at = i + k;  // i grows: the first of equals stays
        }
    }
    return order_of(best, at);
}

template <int N> __device__ __forceinline__ void argmax(const argmax_args &a) {
    __shared__ u64 scratch[WARP];
    const i64 row = blockIdx.x;
    if (row < a.rows) {
        const char *x = static_cast<const char *>(a.x) + row * a.x_stride;
        u64 best;
        if (a.x_type == F32) best = argmax_scan<N, F32>(x, a.n);
        else if (a.x_type == F16) best = argmax_scan<N, F16>(x, a.n);
        else best = argmax_scan<N, BF16>(x, a.n);
        best = block_max(best, scratch);
        if (threadIdx.x == 0) a.ids[row] = order_index(best);
    }
    advance_counters(a.counters, a.counter_count);
}

}  // namespace reflex
