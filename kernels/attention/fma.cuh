// Attention without tensor cores: K and V of any float type and alignment, on every GPU.
//
//   y = softmax(scale q k^T) v, over the keys that each row sees
//
// A block of 128 threads takes ROWS rows and walks over tiles of KEYS keys with a running maximum and sum. Everything is
// f32 in shared memory: q, the K tile and then the V tile in the same place, the weights. Sixteen threads share a row:
// each computes KEYS / 16 of its scores, then DMAX / 16 of its outputs. Row pitches are an odd number of 16-byte
// words, so that sixteen threads reading sixteen keys meet no bank twice. Bound by arithmetic.
#pragma once

#include "attention/args.cuh"

namespace reflex {

// `block_rows` is more than ROWS where the launch was made for larger blocks: rows part_row .. part_row + ROWS are done.
template <int ROWS, int KEYS, int DMAX, bool ALIGNED>
__device__ __forceinline__ void attention_fma(const attention_args &a, i32 block_rows = ROWS, i32 part_row = 0) {
    constexpr i32 THREADS = ATTENTION_THREADS, LANES = 16, PITCH = DMAX + 4, CHUNKS = DMAX / 8;
    constexpr i32 R = ROWS * LANES / THREADS, K = KEYS / LANES, D = DMAX / (4 * LANES);  // of each thread
    __shared__ __align__(16) float q_tile[ROWS * PITCH];
    __shared__ __align__(16) float kv_tile[KEYS * PITCH];
    __shared__ float p_tile[ROWS * (KEYS + 1)];

    const attention_block block(a, block_rows, part_row);
    if (block.row0 >= block.rows) return;
    const i32 lane = threadIdx.x % LANES, row = threadIdx.x / LANES * R;
    const i32 first = block.visible(block.row0), end = block.visible(min(block.row0 + ROWS, block.rows) - 1);
    i32 visible[R];
#pragma unroll
    for (i32 r = 0; r < R; r++)
        visible[r] = block.row0 + row + r < block.rows ? block.visible(block.row0 + row + r) : end;

    for (i32 i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
        const i32 at = i / CHUNKS, d = i % CHUNKS * 8;
        float x[8] = {};
        if (block.row0 + at < block.rows && d < a.dim) load8_any(block.q(block.row0 + at), a.q_type, d, a.q_vec8, x);
        store8(q_tile + at * PITCH, F32, d, x);
    }
    const auto load = [&](const char *base, i64 stride, i32 key0, i32 dim) {
        for (i32 i = threadIdx.x; i < KEYS * CHUNKS; i += THREADS) {
            const i32 at = i / CHUNKS, d = i % CHUNKS * 8;
            float x[8] = {};
            if (key0 + at < end && d < dim) load8_any(base + (key0 + at) * stride, a.kv_type, d, ALIGNED, x);
            store8(kv_tile + at * PITCH, F32, d, x);
        }
    };

    float4 o[R][D] = {};
    float max[R], sum[R] = {};
#pragma unroll
    for (i32 r = 0; r < R; r++) max[r] = -REFLEX_INF;
    for (i32 key0 = 0; key0 < end; key0 += KEYS) {
        __syncthreads();  // the tile was used up
        load(block.k(), a.k_stride.bytes[1], key0, a.dim);
        __syncthreads();

        float s[R][K] = {};
#pragma unroll 2
        for (i32 d = 0; d < a.dim; d += 4) {
            float4 x[R], y[K];
#pragma unroll
            for (i32 r = 0; r < R; r++) x[r] = *reinterpret_cast<const float4 *>(q_tile + (row + r) * PITCH + d);
#pragma unroll
            for (i32 k = 0; k < K; k++)
                y[k] = *reinterpret_cast<const float4 *>(kv_tile + (lane + k * LANES) * PITCH + d);
#pragma unroll
            for (i32 r = 0; r < R; r++)
#pragma unroll
                for (i32 k = 0; k < K; k++) {
                    s[r][k] = fmaf(x[r].x, y[k].x, s[r][k]);
                    s[r][k] = fmaf(x[r].y, y[k].y, s[r][k]);
                    s[r][k] = fmaf(x[r].z, y[k].z, s[r][k]);
                    s[r][k] = fmaf(x[r].w, y[k].w, s[r][k]);
                }
        }
#pragma unroll
        for (i32 r = 0; r < R; r++) {
            float new_max = max[r];
#pragma unroll
            for (i32 k = 0; k < K; k++) {
                if (key0 + lane + k * LANES >= visible[r]) s[r][k] = -REFLEX_INF;
                new_max = fmaxf(new_max, s[r][k]);
            }
#pragma unroll
            for (i32 i = LANES / 2; i > 0; i /= 2) new_max = fmaxf(new_max, __shfl_xor_sync(FULL_MASK, new_max, i));
            const float factor = rescale(max[r], new_max, a.scale_log2);
            max[r] = new_max;
            sum[r] *= factor;
#pragma unroll
            for (i32 d = 0; d < D; d++)
                o[r][d].x *= factor, o[r][d].y *= factor, o[r][d].z *= factor, o[r][d].w *= factor;
            const float offset = weight_offset(new_max, a.scale_log2);
#pragma unroll
            for (i32 k = 0; k < K; k++) {
                const float p = weight(s[r][k], a.scale_log2, offset);
                sum[r] += p;
                p_tile[(row + r) * (KEYS + 1) + lane + k * LANES] = p;
            }
        }
        __syncthreads();  // the weights are there, and K was used up
        load(block.v(), a.v_stride.bytes[1], key0, a.v_dim);
        __syncthreads();

        // Where some row does not see some key, it must not even multiply: 0 * NaN is NaN.
        const bool partial = key0 + KEYS > first;
#pragma unroll 4
        for (i32 key = 0; key < KEYS; key++) {
            float4 x[D];
#pragma unroll
            for (i32 d = 0; d < D; d++)
                x[d] = *reinterpret_cast<const float4 *>(kv_tile + key * PITCH + (lane + d * LANES) * 4);
#pragma unroll
            for (i32 r = 0; r < R; r++) {
                if (partial && key0 + key >= visible[r]) continue;
                const float p = p_tile[(row + r) * (KEYS + 1) + key];
#pragma unroll
                for (i32 d = 0; d < D; d++) {
                    o[r][d].x = fmaf(p, x[d].x, o[r][d].x);
                    o[r][d].y = fmaf(p, x[d].y, o[r][d].y);
                    o[r][d].z = fmaf(p, x[d].z, o[r][d].z);
                    o[r][d].w = fmaf(p, x[d].w, o[r][d].w);
                }
            }
        }
    }

#pragma unroll
    for (i32 r = 0; r < R; r++) {
#pragma unroll
        for (i32 i = LANES / 2; i > 0; i /= 2) sum[r] += __shfl_xor_sync(FULL_MASK, sum[r], i);
        if (block.row0 + row + r >= block.rows) continue;
        char *y = block.y(block.row0 + row + r);
#pragma unroll
        for (i32 d = 0; d < D; d++) {
            const i32 at = (lane + d * LANES) * 4;
            if (at >= a.v_dim) continue;
            const float x[4] = {o[r][d].x, o[r][d].y, o[r][d].z, o[r][d].w};
#pragma unroll
            for (i32 e = 0; e < 4; e++) store1(y, a.y_type, at + e, sum[r] == 0.0f ? 0.0f : x[e] / sum[r]);
        }
    }
}

}  // namespace reflex
