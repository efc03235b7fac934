// Softmax of rows, or its logarithm, with an optional additive mask.
//
//   t = scale * x + mask        m = max(t)        s = sum(e^(t - m))
//   y = e^(t - m) / s           or                y = (t - m) - ln(s)
//
// Layout: rows of `n` contiguous elements; up to three outer dimensions with strides of their own, which are 0 for a mask that serves all. A row
// is held in the registers of a warp or of a block, and read once. Rows that are longer are read twice: for the maximum and the sum, which is
// rescaled as the maximum grows, and for y. Bound by memory; a long row alone by what one SM reads.
#pragma once

#include "common/attention.cuh"
#include "common/element.cuh"
#include "common/reduce.cuh"

namespace reflex {

struct softmax_args {
    const void *x, *mask;
    void *y;
    row_stride x_stride, mask_stride, y_stride;
    u32 rows;
    i32 extent1, extent2;  // inner outer dimensions
    i32 n;
    u32 x_type, mask_type, y_type;
    u32 log, causal;
    float scale;
};
REFLEX_ARGS_LAYOUT(softmax_args, 136, scale, 132);

// e^(t - max): 2^-22 from the exponential, and 2^-23 |t - max| from the roundings of its argument.
__device__ __forceinline__ float softmax_weight(float t, float max) { return exp2_approx((t - max) * LOG2_E); }

// Where every column is masked, any finite number gives weights of 0 instead of NaN.
__device__ __forceinline__ float softmax_offset(float max) { return max == -REFLEX_INF ? 0.0f : max; }

struct softmax_row {
    const softmax_args &a;
    const char *x, *mask;
    char *y;
    i32 visible;  // columns that the row sees

    __device__ __forceinline__ softmax_row(const softmax_args &args, u32 row) : a(args) {
        const row_index index(row, a.extent1, a.extent2);
        x = static_cast<const char *>(a.x) + index.offset(a.x_stride);
        mask = a.mask ? static_cast<const char *>(a.mask) + index.offset(a.mask_stride) : nullptr;
        y = static_cast<char *>(a.y) + index.offset(a.y_stride);
        visible = a.causal ? max(a.n - (a.extent2 - 1 - index.i2), 0) : a.n;
    }

    // t of columns j to j + N, minus infinity where they are masked.
    template <int N> __device__ __forceinline__ void load(i32 j, float (&t)[N]) const {
        if (j >= visible) {
#pragma unroll
            for (int k = 0; k < N; k++) t[k] = -REFLEX_INF;
            return;
        }
        load_n<N>(x, a.x_type, j, t);
        if (mask) {
            float add[N];
            load_n<N>(mask, a.mask_type, j, add);
#pragma unroll
            for (int k = 0; k < N; k++) t[k] = add[k] == -REFLEX_INF ? -REFLEX_INF : fmaf(t[k], a.scale, add[k]);
        } else {
#pragma unroll
            for (int k = 0; k < N; k++) t[k] *= a.scale;
        }
        if constexpr (N > 1) {
#pragma unroll
            for (int k = 0; k < N; k++) t[k] = j + k < visible ? t[k] : -REFLEX_INF;
        }
    }

    // y of columns j to j + N, also where others made the row NaN.
    template <int N> __device__ __forceinline__ void store(i32 j, float (&v)[N]) const {
        const float hidden = a.log ? -REFLEX_INF : 0.0f;
#pragma unroll
        for (int k = 0; k < N; k++) v[k] = j + k < visible ? v[k] : hidden;
        store_n<N>(y, a.y_type, j, v);
    }
};

// What turns a row's t or its weights into y, once the sum of weights is known: 1 / sum, or its logarithm. A sum of 0 is that of a row in
// which all columns are masked.
__device__ __forceinline__ float softmax_divisor(float sum, bool log) {
    if (sum == 0.0f) return 0.0f;
    return log ? logf(sum) : 1.0f / sum;
}

// `threads` threads, of which this is number `thread`, hold the row in their registers, CHUNKS times N elements each; `max_of` and `sum_of`
// reduce over them.
template <int N, int CHUNKS, typename Max, typename Sum>
__device__ __forceinline__ void softmax_held(const softmax_row &row, i32 thread, i32 threads, Max max_of, Sum sum_of) {
    const bool log = row.a.log;
    float v[CHUNKS][N], max = -REFLEX_INF, sum = 0.0f;
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
        row.load<N>((c * threads + thread) * N, v[c]);
#pragma unroll
        for (int k = 0; k < N; k++) max = fmaxf(max, v[c][k]);
    }
    max = softmax_offset(max_of(max));
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
        float part = 0.0f;
#pragma unroll
        for (int k = 0; k < N; k++) {
            const float weight = softmax_weight(v[c][k], max);
            part += weight;
            v[c][k] = log ? v[c][k] - max : weight;
        }
        sum += part;
    }
    const float divisor = softmax_divisor(sum_of(sum), log);
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
        const i32 j = (c * threads + thread) * N;
        if (j >= row.a.n) break;
#pragma unroll
        for (int k = 0; k < N; k++) v[c][k] = log ? v[c][k] - divisor : v[c][k] * divisor;
        row.store<N>(j, v[c]);
    }
}

// A warp per row.
template <int N> __device__ __forceinline__ void softmax_warp(const softmax_args &a) {
    const u32 row = blockIdx.x * SOFTMAX_WARPS + threadIdx.x / WARP;
    if (row >= a.rows) return;
    softmax_held<N, SOFTMAX_WARP_COLUMNS / (i32)WARP / N>(
        softmax_row(a, row), threadIdx.x % WARP, WARP, [](float v) { return warp_max(v); },
        [](float v) { return warp_sum(v); });
}

// A block per row.
template <int N> __device__ __forceinline__ void softmax_block(const softmax_args &a) {
    __shared__ float scratch[WARP];
    softmax_held<N, SOFTMAX_BLOCK_COLUMNS / SOFTMAX_BLOCK_THREADS / N>(
        softmax_row(a, blockIdx.x), threadIdx.x, blockDim.x, [&](float v) { return block_max(v, scratch); },
        [&](float v) { return block_sum(v, scratch); });
}

// A block per row, which reads it twice.
template <int N> __device__ __forceinline__ void softmax_long(const softmax_args &a) {
    __shared__ float scratch[WARP];
    const softmax_row row(a, blockIdx.x);
    const i32 first = threadIdx.x * N, step = blockDim.x * N;
    const bool log = a.log;
    // A thread may have 2^20 elements: what an addition rounds off is added to the next one (Kahan), so that the error does not grow with them.
    float max = -REFLEX_INF, sum = 0.0f, excess = 0.0f;
    for (i32 j = first; j < row.visible; j += step) {
        float t[N], top = max;
        row.load<N>(j, t);
#pragma unroll
        for (int k = 0; k < N; k++) top = fmaxf(top, t[k]);
        if (top > max) {
            const float factor = rescale(max, top, LOG2_E);
            sum *= factor, excess *= factor, max = top;
        }
        const float offset = softmax_offset(max);
        float part = -excess;
#pragma unroll
        for (int k = 0; k < N; k++) part += softmax_weight(t[k], offset);
        const float next = sum + part;
        excess = (next - sum) - part, sum = next;
    }
    const float whole = block_max(max, scratch);
    // The barriers also keep y, which may be x, from being written before all of x was read.
    sum = block_sum(sum * rescale(max, whole, LOG2_E), scratch);
    const float divisor = softmax_divisor(sum, log), offset = softmax_offset(whole);
    for (i32 j = first; j < a.n; j += step) {
        float v[N];
        row.load<N>(j, v);
#pragma unroll
        for (int k = 0; k < N; k++) v[k] = log ? (v[k] - offset) - divisor : softmax_weight(v[k], offset) * divisor;
        row.store<N>(j, v);
    }
}

}  // namespace reflex
