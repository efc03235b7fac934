// The attention of queries over two sets of keys, put together from that over each.
//
//   m = max(la, lb)    u = e^(la - m)    v = e^(lb - m)
//   y = (u a + v b) / (u + v)            y_lse = m + ln(u + v)
//
// Layout: a row is one head of one query, `dim` contiguous elements; up to three outer dimensions with strides of their own, also for the
// logarithms, of which a row has one. 2^`lane_bits` neighbouring threads of a warp share a row. Bound by memory.
#pragma once

#include "common/attention.cuh"
#include "common/element.cuh"

namespace reflex {

struct attention_merge_args {
    const void *a, *b;
    void *y;
    const void *a_lse, *b_lse;
    void *y_lse;  // may be absent
    row_stride a_stride, b_stride, y_stride, a_lse_stride, b_lse_stride, y_lse_stride;
    u32 rows;
    i32 extent1, extent2;  // inner outer dimensions
    i32 dim;
    u32 lane_bits;
    u32 a_type, b_type, y_type;
};
REFLEX_ARGS_LAYOUT(attention_merge_args, 224, y_type, 220);

// One part's elements, multiplied with its share: nothing where that is 0, whatever they are.
__device__ __forceinline__ float merge_share(float share, float value) { return share == 0.0f ? 0.0f : share * value; }

template <int N> __device__ __forceinline__ void attention_merge(const attention_merge_args &a) {
    const u32 lanes = 1u << a.lane_bits, lane = threadIdx.x & (lanes - 1);
    const u32 row = blockIdx.x * (blockDim.x >> a.lane_bits) + (threadIdx.x >> a.lane_bits);
    const bool there = row < a.rows;
    const row_index index(row, a.extent1, a.extent2);
    float a_lse = 0.0f, b_lse = 0.0f;
    if (there) {
        a_lse = load1(static_cast<const char *>(a.a_lse) + index.offset(a.a_lse_stride), F32, 0);
        b_lse = load1(static_cast<const char *>(a.b_lse) + index.offset(a.b_lse_stride), F32, 0);
    }
    // fmaxf leaves a NaN out, whose own weight is NaN then.
    const float max = fmaxf(a_lse, b_lse);
    const bool none = a_lse == -REFLEX_INF && b_lse == -REFLEX_INF;
    const float u = none ? 0.0f : exp2_approx((a_lse - max) * LOG2_E);
    const float v = none ? 0.0f : exp2_approx((b_lse - max) * LOG2_E);
    const float sum = u + v, inverse = none ? 0.0f : 1.0f / sum;
    const float a_share = u * inverse, b_share = v * inverse;
    // y_lse may be a_lse or b_lse: the other threads of the row have read them.
    __syncwarp();
    if (!there) return;
    if (lane == 0 && a.y_lse) {
        const float lse = none ? -REFLEX_INF : max + logf(sum);
        store1(static_cast<char *>(a.y_lse) + index.offset(a.y_lse_stride), F32, 0, lse);
    }
    const char *const from_a = static_cast<const char *>(a.a) + index.offset(a.a_stride);
    const char *const from_b = static_cast<const char *>(a.b) + index.offset(a.b_stride);
    char *const y = static_cast<char *>(a.y) + index.offset(a.y_stride);
    for (i32 i = (i32)lane * N; i < a.dim; i += (i32)lanes * N) {
        float p[N], q[N];
        load_n<N>(from_a, a.a_type, i, p);
        load_n<N>(from_b, a.b_type, i, q);
#pragma unroll
        for (int k = 0; k < N; k++) p[k] = merge_share(a_share, p[k]) + merge_share(b_share, q[k]);
        store_n<N>(y, a.y_type, i, p);
    }
}

}  // namespace reflex
