// RMS norm of rows, with an optional sum with a residual before it.
//
//   h = x + residual                     residual_out = h
//   y = h / sqrt(mean(h^2) + eps) * weight
//
// Layout: rows of `dim` contiguous elements; up to three outer dimensions with strides of their own, so that the heads
// of a merged QKV buffer are rows too. Each row is read once: h waits in shared memory as f32 (rows longer than that
// read x again). Bound by memory for many rows, by latency for one: x and the weight are in flight together.
#pragma once

#include "common/act_i8.cuh"
#include "common/reduce.cuh"

namespace reflex {

struct norm_args {
    const void *x, *residual, *weight;
    void *residual_out, *y;
    row_stride x_stride, residual_stride, residual_out_stride, y_stride;
    i64 rows;
    i32 extent1, extent2;  // inner outer dimensions
    i32 dim;
    u32 x_type, residual_type, residual_out_type, weight_type, y_type;
    i32 cached;  // h fits in shared memory
    float epsilon;
};
REFLEX_ARGS_LAYOUT(norm_args, 184, epsilon, 180);

// The row's h at i..i+N, and residual_out written, on the first visit.
template <int N>
__device__ __forceinline__ void norm_load(const norm_args &a, const char *x, const char *r, char *out, i32 i,
                                          float (&h)[N]) {
    load_n<N>(x, a.x_type, i, h);
    if (r) {
        float add[N];
        load_n<N>(r, a.residual_type, i, add);
#pragma unroll
        for (int k = 0; k < N; k++) h[k] += add[k];
    }
    if (out) store_n<N>(out, a.residual_out_type, i, h);
}

template <int N> __device__ __forceinline__ void norm_weight(const norm_args &a, i32 i, float (&w)[N]) {
#pragma unroll
    for (int k = 0; k < N; k++) w[k] = 1.0f;
    if (a.weight && i < a.dim) load_n<N>(a.weight, a.weight_type, i, w);
}

// `threads` threads, of which this is number `t`, share one row; `sum` adds over them. `h` is their cache of `dim` floats.
template <int N, typename Sum>
__device__ __forceinline__ void norm_row(const norm_args &a, u32 row, u32 t, u32 threads, float *h_cache, Sum sum) {
    const row_index index(row, a.extent1, a.extent2);
    const char *x = static_cast<const char *>(a.x) + index.offset(a.x_stride);
    const char *r = a.residual ? static_cast<const char *>(a.residual) + index.offset(a.residual_stride) : nullptr;
    char *out = a.residual_out ? static_cast<char *>(a.residual_out) + index.offset(a.residual_out_stride) : nullptr;
    char *y = static_cast<char *>(a.y) + index.offset(a.y_stride);

    // In flight while the squares are summed: the weights of a model come from memory, not from a cache.
    const i32 first = (i32)t * N;
    float w[N];
    norm_weight<N>(a, first, w);

    float squares = 0.0f;
    for (i32 i = first; i < a.dim; i += threads * N) {
        float h[N];
        // Without a cache h is computed again below, from the same inputs: residual_out must not be one of them yet.
        norm_load<N>(a, x, r, a.cached ? out : nullptr, i, h);
#pragma unroll
        for (int k = 0; k < N; k++) {
            squares += h[k] * h[k];
            if (a.cached) h_cache[i + k] = h[k];
        }
    }
    const float scale = rsqrtf(sum(squares) / (float)a.dim + a.epsilon);
    // All lanes of a warp stay together, for ACT_I8.
    const i32 lane = t % WARP * N;
    for (i32 start = first - lane; start < a.dim; start += threads * N) {
        const i32 i = start + lane;
        if (i != first) norm_weight<N>(a, i, w);
        float h[N] = {};
        if (i < a.dim && a.cached) {
#pragma unroll
            for (int k = 0; k < N; k++) h[k] = h_cache[i + k];  // this thread's own elements: no barrier needed
        } else if (i < a.dim) {
            norm_load<N>(a, x, r, out, i, h);
        }
#pragma unroll
        for (int k = 0; k < N; k++) h[k] *= scale * w[k];
        store_activations<N>(y, a.y_type, a.dim, i, h, i < a.dim);
    }
}

// A block per row.
template <int N> __device__ __forceinline__ void norm_block(const norm_args &a) {
    extern __shared__ float h_cache[];
    __shared__ float scratch[WARP];
    norm_row<N>(a, blockIdx.x, threadIdx.x, blockDim.x, h_cache, [&](float v) { return block_sum(v, scratch); });
}

// A warp per row, for short rows such as heads.
template <int N> __device__ __forceinline__ void norm_warp(const norm_args &a) {
    extern __shared__ float h_cache[];
    const u32 warp = threadIdx.x / WARP;
    const u32 row = blockIdx.x * (blockDim.x / WARP) + warp;
    if (row >= a.rows) return;
    norm_row<N>(a, row, threadIdx.x % WARP, WARP, h_cache + (i64)warp * a.dim, [](float v) { return warp_sum(v); });
}

}  // namespace reflex
