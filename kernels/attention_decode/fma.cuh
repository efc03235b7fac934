// Decode attention without tensor cores: K and V of any float type and alignment, on every GPU.
//
//   y = softmax(scale q k^T) v, over the keys of a sequence
//
// A block of four warps takes one split of the keys and up to 8 query heads that share a kv head, so that each key and
// value is read once for all of them. LANES threads share a key, 8 dimensions each; every such group of lanes walks
// over keys of its own, two at a time, with a running maximum and sum, and all are put together at the end. Bound by
// memory for few heads, by arithmetic for many.
#pragma once

#include "attention_decode/merge.cuh"

namespace reflex {

// `block_rows` is more than that where the launch was made for larger blocks: the heads from part_row on are done.
template <int LANES, bool ALIGNED>
__device__ __forceinline__ void attention_decode_fma(const attention_decode_args &a, i32 block_rows = DECODE_FMA_ROWS,
                                                     i32 part_row = 0) {
    constexpr i32 ROWS = DECODE_FMA_ROWS, STEP = 2 * DECODE_WARPS * WARP / LANES;
    __shared__ decode_merge<ROWS, LANES * 8, decode_any> merge;

    decode_block<decode_any> block(a, block_rows, part_row, ROWS);
    block.share(block.read_length());
    if (block.rows <= 0 || block.idle()) return;
    const i32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, d = lane % LANES * 8;

    float q[ROWS][8], o[ROWS][8] = {}, max[ROWS], sum[ROWS] = {};
#pragma unroll
    for (i32 r = 0; r < ROWS; r++) {
        max[r] = -REFLEX_INF;
#pragma unroll
        for (i32 e = 0; e < 8; e++) q[r][e] = 0.0f;
        if (r < block.rows && d < a.dim) load8_any(block.q(r), a.q_type, d, a.q_vec8, q[r]);
    }

    const char *k = block.k(), *v = block.v();
    for (i32 step = block.begin; step < block.end; step += STEP) {
        const i32 key = step + threadIdx.x / LANES * 2;
        float x[2][8] = {}, y[2][8] = {};
#pragma unroll
        for (i32 j = 0; j < 2; j++) {
            if (key + j >= block.end) continue;
            if (d < a.dim) load8_any(k + (key + j) * a.k_stride.bytes[1], a.kv_type, d, ALIGNED, x[j]);
            if (d < a.v_dim) load8_any(v + (key + j) * a.v_stride.bytes[1], a.kv_type, d, ALIGNED, y[j]);
        }
#pragma unroll
        for (i32 r = 0; r < ROWS; r++) {
            if (r >= block.rows) continue;
            float s[2] = {};
#pragma unroll
            for (i32 j = 0; j < 2; j++) {
#pragma unroll
                for (i32 e = 0; e < 8; e++) s[j] = fmaf(q[r][e], x[j][e], s[j]);
#pragma unroll
                for (i32 i = LANES / 2; i > 0; i /= 2) s[j] += __shfl_xor_sync(FULL_MASK, s[j], i);
                if (key + j >= block.end) s[j] = -REFLEX_INF;
            }
            const float new_max = fmaxf(max[r], fmaxf(s[0], s[1])), factor = rescale(max[r], new_max, a.scale_log2);
            const float offset = weight_offset(new_max, a.scale_log2);
            const float w0 = weight(s[0], a.scale_log2, offset), w1 = weight(s[1], a.scale_log2, offset);
            max[r] = new_max;
            sum[r] = sum[r] * factor + (w0 + w1);
#pragma unroll
            for (i32 e = 0; e < 8; e++) o[r][e] = fmaf(w1, y[1][e], fmaf(w0, y[0][e], o[r][e] * factor));
        }
    }

#pragma unroll
    for (i32 r = 0; r < ROWS; r++) {
        float all = max[r];
#pragma unroll
        for (i32 i = LANES; i < WARP; i *= 2) all = fmaxf(all, __shfl_xor_sync(FULL_MASK, all, i));
        const float factor = rescale(max[r], all, a.scale_log2);
        sum[r] *= factor;
#pragma unroll
        for (i32 i = LANES; i < WARP; i *= 2) sum[r] += __shfl_xor_sync(FULL_MASK, sum[r], i);
#pragma unroll
        for (i32 e = 0; e < 8; e++) {
            o[r][e] *= factor;
#pragma unroll
            for (i32 i = LANES; i < WARP; i *= 2) o[r][e] += __shfl_xor_sync(FULL_MASK, o[r][e], i);
        }
        if (lane == 0) merge.max[warp][r] = all, merge.sum[warp][r] = sum[r];
    }
    merge.finish(block, [&](i32) {
        if (lane >= LANES) return;
#pragma unroll
        for (i32 r = 0; r < ROWS; r++)
            if (r < block.rows) merge.put(r, d, o[r]);
    });
}

}  // namespace reflex
