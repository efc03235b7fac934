// Puts together what the warps of a block found, each in its own keys, and what the blocks of a cluster did. Always in the
// same order, so that the sums are the same every time.
#pragma once

#include "attention_decode/args.cuh"
#include "common/cluster.cuh"
#include "common/reduce.cuh"

namespace reflex {

// Blocks of a cluster that a warp reads at once.
constexpr i32 AT_ONCE = 8;

// Shared memory in which the warps meet: eight rows at a time.
template <int ROWS, int DMAX, class Knows> struct decode_merge {
    using block_type = decode_block<Knows>;
    static constexpr i32 STEP = 8;
    float max[DECODE_WARPS][ROWS], sum[DECODE_WARPS][ROWS];
    float2 ml[STEP];  // of the block: maximum and sum of weights
    float o[DECODE_WARPS][STEP][DMAX + 4];

    // This warp's sums of a row for dimensions d to d + 8.
    __device__ __forceinline__ void put(i32 row, i32 d, const float (&v)[8]) {
        float4 *to = reinterpret_cast<float4 *>(&o[threadIdx.x / WARP][row % STEP][d]);
        to[0] = make_float4(v[0], v[1], v[2], v[3]);
        to[1] = make_float4(v[4], v[5], v[6], v[7]);
    }

    // After `max` and `sum` were written: put_rows(step) puts what a thread holds of rows 8 step to 8 step + 8.
    template <typename PutRows> __device__ __forceinline__ void finish(const block_type &block, PutRows put_rows) {
        const i32 warp = threadIdx.x / WARP;
#pragma unroll
        for (i32 step = 0; step < ROWS / STEP; step++) {
            const i32 first = step * STEP, rows = min(block.rows - first, STEP);
            if (rows <= 0) break;
            if (step > 0) __syncthreads();  // the rows before were read
            put_rows(step);
            __syncthreads();
            for (i32 r = warp; r < rows; r += DECODE_WARPS) block_row(block, first, r);
            if (!block.a.cluster || block.alone()) continue;
            cluster_sync();
            for (i32 r = block.split + block.used * warp; r < rows; r += block.used * DECODE_WARPS)
                cluster_row(block, first, r);
            if (step + 1 < ROWS / STEP) cluster_sync();
            else cluster_leave(), cluster_left();
        }
    }

    // The block's sum of a row: to y itself where no other split has keys, to where the cluster reads it, or to the
    // partials.
    __device__ __forceinline__ void block_row(const block_type &block, i32 first, i32 r) {
        const attention_decode_args &a = block.a;
        const i32 row = first + r, lane = threadIdx.x % WARP;
        float m = max[0][row], l = 0.0f, factor[DECODE_WARPS];
#pragma unroll
        for (i32 w = 1; w < DECODE_WARPS; w++) m = fmaxf(m, max[w][row]);
#pragma unroll
        for (i32 w = 0; w < DECODE_WARPS; w++) {
            factor[w] = rescale(max[w][row], m, a.scale_log2);
            l += sum[w][row] * factor[w];
        }
        const i64 at = ((i64)block.batch * a.kv_heads * a.group + block.head0 + row) * a.splits + block.split;
        for (i32 d0 = 0; d0 < Knows::v_dim(a); d0 += 4 * WARP) {
            const i32 d = d0 + 4 * lane;
            const bool there = d < Knows::v_dim(a);
            float v[4] = {};
            if (there) {
#pragma unroll
                for (i32 w = 0; w < DECODE_WARPS; w++) add(v, factor[w], *reinterpret_cast<float4 *>(&o[w][r][d]));
            }
            if (block.alone()) store(block, row, d, v, l, there);
            else if (there) {
                // The places of the first warp have just been read, by this very thread.
                float *to = a.cluster ? &o[0][r][d] : a.partial + at * Knows::v_dim(a) + d;
                *reinterpret_cast<float4 *>(to) = make_float4(v[0], v[1], v[2], v[3]);
            }
        }
        if (lane == 0 && !block.alone()) *(a.cluster ? &ml[r] : a.partial_ml + at) = make_float2(m, l);
    }

    // The cluster's sum of a row, by one warp of one of its blocks.
    __device__ __forceinline__ void cluster_row(const block_type &block, i32 first, i32 r) {
        const attention_decode_args &a = block.a;
        const i32 lane = threadIdx.x % WARP;
        float2 part = make_float2(-REFLEX_INF, 0.0f);
        if (lane < block.used) part = cluster_load2(cluster_address(&ml[r], lane));
        const float factor = rescale(part.x, warp_max(part.x), a.scale_log2), l = warp_sum(part.y * factor);
        for (i32 d0 = 0; d0 < Knows::v_dim(a); d0 += 4 * WARP) {
            const i32 d = d0 + 4 * lane;
            const bool there = d < Knows::v_dim(a);
            float v[4] = {};
#pragma unroll 1
            for (i32 s0 = 0; s0 < block.used; s0 += AT_ONCE) {
                float4 x[AT_ONCE];
#pragma unroll
                for (i32 s = 0; s < AT_ONCE; s++) {
                    x[s] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
                    if (s0 + s < block.used && there) x[s] = cluster_load4(cluster_address(&o[0][r][d], s0 + s));
                }
                // Those beyond add nothing: their factors are 0.
#pragma unroll
                for (i32 s = 0; s < AT_ONCE; s++) add(v, __shfl_sync(FULL_MASK, factor, s0 + s), x[s]);
            }
            store(block, first + r, d, v, l, there);
        }
    }

    static __device__ __forceinline__ void add(float (&v)[4], float factor, float4 x) {
        v[0] = fmaf(factor, x.x, v[0]), v[1] = fmaf(factor, x.y, v[1]);
        v[2] = fmaf(factor, x.z, v[2]), v[3] = fmaf(factor, x.w, v[3]);
    }

    static __device__ __forceinline__ void store(const block_type &block, i32 row, i32 d, const float (&v)[4],
                                                 float sum, bool there) {
        float y[4];
#pragma unroll
        for (i32 e = 0; e < 4; e++) y[e] = sum == 0.0f ? 0.0f : v[e] / sum;
        block.store(row, d, y, there);
    }
};

}  // namespace reflex
