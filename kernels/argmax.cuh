// Index of the greatest element of each row; the lowest index on a tie; NaN is less than everything.
//
// Layout: rows of `n` contiguous elements. A block takes a row, and is bound by what one SM reads (a vocabulary of 150k
// f32 logits is 600 KB). Where rows are few and long, `splits` blocks share one, each with `chunk` elements, and a second
// launch takes the greatest of what they found: the order of values and indices is one number, so that the result does not
// depend on who was first, and no scratch has to be cleared.
#pragma once

#include "common/element.cuh"
#include "common/select.cuh"

namespace reflex {

struct argmax_args {
    const void *x;
    i32 *ids;
    u32 *counters;  // NULL with a count of 0
    u64 *partial;   // [rows][splits]: greatest order of each
    i64 x_stride, rows, counter_count;
    i32 n;
    u32 x_type;
    i32 splits, chunk;
};
REFLEX_ARGS_LAYOUT(argmax_args, 72, chunk, 68);

// This thread's part of begin .. end. The type is a constant here, so that the loads of several rounds are under way at once.
template <int N, u32 TYPE> __device__ __forceinline__ u64 argmax_scan(const char *x, i32 begin, i32 end) {
    u32 best = 0;
    i32 at = 0;
#pragma unroll 4
    for (i32 i = begin + (i32)threadIdx.x * N; i < end; i += (i32)blockDim.x * N) {
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

// The greatest order among the elements begin .. end of a row, for every thread of the block.
template <int N>
__device__ __forceinline__ u64 argmax_block(const argmax_args &a, i64 row, i32 begin, i32 end, u64 *scratch) {
    const char *x = static_cast<const char *>(a.x) + row * a.x_stride;
    u64 best;
    if (a.x_type == F32) best = argmax_scan<N, F32>(x, begin, end);
    else if (a.x_type == F16) best = argmax_scan<N, F16>(x, begin, end);
    else best = argmax_scan<N, BF16>(x, begin, end);
    return block_max(best, scratch);
}

template <int N> __device__ __forceinline__ void argmax(const argmax_args &a) {
    __shared__ u64 scratch[WARP];
    const i64 row = blockIdx.x;
    if (row < a.rows) {
        const u64 best = argmax_block<N>(a, row, 0, a.n, scratch);
        if (threadIdx.x == 0) a.ids[row] = order_index(best);
    }
    advance_counters(a.counters, a.counter_count);
}

// A block for each split of each row.
template <int N> __device__ __forceinline__ void argmax_split(const argmax_args &a) {
    __shared__ u64 scratch[WARP];
    const u32 row = blockIdx.x / (u32)a.splits, split = blockIdx.x % (u32)a.splits;
    const i32 begin = (i32)split * a.chunk;
    const u64 best = argmax_block<N>(a, row, begin, min(begin + a.chunk, a.n), scratch);
    if (threadIdx.x == 0) a.partial[blockIdx.x] = best;
}

// A block for each row, with a thread or more for each split.
__device__ __forceinline__ void argmax_combine(const argmax_args &a) {
    __shared__ u64 scratch[WARP];
    const i64 row = blockIdx.x;
    const bool there = (i32)threadIdx.x < a.splits;
    const u64 best = block_max(there ? a.partial[row * a.splits + threadIdx.x] : 0, scratch);
    if (threadIdx.x == 0) a.ids[row] = order_index(best);
    advance_counters(a.counters, a.counter_count);
}

}  // namespace reflex
