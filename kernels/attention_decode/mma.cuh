// Decode attention on tensor cores, for K and V in f16 or bf16: one query per sequence and head.
//
//   y = softmax(scale q k^T) v, over the keys of a sequence
//
// Up to 16 query heads that share a kv head are the 16 rows of a matrix product, so that each key and value is read
// once for all of them. A block of four warps takes one split of the keys, a warp 16 keys at a time. K and V go from
// memory straight to the registers that mma wants: nothing is shared between warps, so shared memory would be a detour.
// The order in which head dimensions and output columns are numbered is free, and is chosen so that every load is 16
// bytes wide:
//   q k^T: of each 32 dimensions, lane t of a quad holds 8t .. 8t + 7 (four of mma's column pairs, over two steps);
//   p v:   of each 64 columns, lane group g holds 8g .. 8g + 7, of four keys; pairs of keys are put together by byte
//          permutation, two a register.
//
// Limits: head sizes are multiples of 8 up to DMAX; rows of K and V are 16-byte aligned. Bound by memory.
#pragma once

#include "attention_decode/merge.cuh"
#include "attention_decode/query.cuh"
#include "common/launch.cuh"
#include "common/memory.cuh"
#include "common/mma.cuh"

namespace reflex {

template <u32 T, int DMAX, class Knows = decode_any> __device__ __forceinline__ void attention_decode_mma(
    const attention_decode_args &a) {
    constexpr i32 ROWS = DECODE_MMA_ROWS, QC = DMAX / 32, VC = DMAX / 64;
    // K and V of the next keys are asked for where those before have been used, if there are registers for both.
    constexpr bool AHEAD = DMAX <= 128;
    __shared__ decode_merge<Knows::ROWS, DMAX, Knows> merge;
    __shared__ decode_query<T, DMAX, Knows> query;
    __shared__ i32 parked[decode_block<Knows>::PARKED];

    decode_block<Knows> block(a, ROWS, 0, ROWS);
    query.clear();
    query.prefetch(a);
    pdl_wait();
    // Not before: the next launch would take room from the blocks that read the cache.
    pdl_launch_dependents();
    const i32 position = Knows::rotates(a) ? a.positions[block.batch] : 0;
    typename decode_query<T, DMAX, Knows>::eight head(block, threadIdx.x / (u32)Knows::lanes(a));
    block.share(block.read_length());
    if (block.idle()) return;
    const i32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const i32 cached_end = block.cached_end();

    uint4 x[QC][2], y[VC][4];
    const char *k = block.k(), *v = block.v();
    const uint4 zero = make_uint4(0, 0, 0, 0);
    const auto load_k = [&](i32 key0) {
#pragma unroll
        for (i32 j = 0; j < 2; j++) {
            const i32 key = key0 + 8 * j + g;
            const char *row = k + key * a.k_stride.bytes[1] + 16 * t;
#pragma unroll
            for (i32 c = 0; c < QC; c++)
                x[c][j] = key < cached_end && 32 * c + 8 * t < Knows::dim(a) ? load_once(row + 64 * c) : zero;
        }
    };
    // Slots 2t, 2t+1, 2t+8 and 2t+9 of the product's inner dimension. Past the end there may be NaN, which a weight of 0
    // would not hide.
    const auto load_v = [&](i32 key0) {
#pragma unroll
        for (i32 j = 0; j < 4; j++) {
            const i32 key = key0 + 2 * t + j % 2 + j / 2 * 8;
            const char *row = v + key * a.v_stride.bytes[1] + 16 * g;
#pragma unroll
            for (i32 c = 0; c < VC; c++)
                y[c][j] = key < cached_end && 64 * c + 8 * g < Knows::v_dim(a) ? load_once(row + 128 * c) : zero;
        }
    };
    if constexpr (AHEAD) load_k(block.begin + 16 * warp), load_v(block.begin + 16 * warp);
    block.park(parked);
    query.prepare(block, head, position);

    float o[VC][8][4] = {};
    float max[2] = {-REFLEX_INF, -REFLEX_INF}, sum[2] = {};
    for (i32 key0 = block.begin + 16 * warp; key0 < block.end; key0 += DECODE_KEYS) {
        const bool has_new = block.has_new && key0 + 16 >= block.end;
        if constexpr (!AHEAD) load_k(key0);
        if (has_new) {
#pragma unroll
            for (i32 j = 0; j < 2; j++)
#pragma unroll
                for (i32 c = 0; c < QC; c++)
                    if (key0 + 8 * j + g == cached_end && 32 * c + 8 * t < Knows::dim(a)) x[c][j] = query.k[4 * c + t];
        }

        float s[2][4] = {};
#pragma unroll
        for (i32 c = 0; c < QC; c++) {
            if (32 * c >= Knows::dim(a)) continue;
            const uint4 q0 = query.q[2 * c][lane], q1 = query.q[2 * c + 1][lane];
            const u32 a0[4] = {q0.x, q0.y, q0.z, q0.w}, a1[4] = {q1.x, q1.y, q1.z, q1.w};
#pragma unroll
            for (i32 j = 0; j < 2; j++) {
                mma_16x8x16<T>(s[j], a0, x[c][j].x, x[c][j].y);
                mma_16x8x16<T>(s[j], a1, x[c][j].z, x[c][j].w);
            }
        }
        if constexpr (AHEAD) load_k(key0 + DECODE_KEYS);
        else load_v(key0);
        if (has_new) {
#pragma unroll
            for (i32 j = 0; j < 4; j++)
#pragma unroll
                for (i32 c = 0; c < VC; c++)
                    if (key0 + 2 * t + j % 2 + j / 2 * 8 == cached_end && 64 * c + 8 * g < Knows::v_dim(a))
                        y[c][j] = query.v[8 * c + g];
        }
        if (key0 + 16 > block.end) {
#pragma unroll
            for (i32 j = 0; j < 2; j++)
#pragma unroll
                for (i32 e = 0; e < 4; e++)
                    if (key0 + 8 * j + 2 * t + e % 2 >= block.end) s[j][e] = -REFLEX_INF;
        }

        float new_max[2];
#pragma unroll
        for (i32 h = 0; h < 2; h++) {
            new_max[h] = fmaxf(max[h], fmaxf(fmaxf(s[0][2 * h], s[0][2 * h + 1]), fmaxf(s[1][2 * h], s[1][2 * h + 1])));
            new_max[h] = quad_max(new_max[h]);
        }
        raise_maxima(max, sum, new_max, a.scale_log2, [&](i32 h, float factor) {
#pragma unroll
            for (i32 c = 0; c < VC; c++)
#pragma unroll
                for (i32 i = 0; i < 8; i++) o[c][i][2 * h] *= factor, o[c][i][2 * h + 1] *= factor;
        });
        u32 p[4];
#pragma unroll
        for (i32 h = 0; h < 2; h++) {
            const float offset = weight_offset(max[h], a.scale_log2);
#pragma unroll
            for (i32 j = 0; j < 2; j++) {
                const float w0 = weight(s[j][2 * h], a.scale_log2, offset),
                            w1 = weight(s[j][2 * h + 1], a.scale_log2, offset);
                sum[h] += w0 + w1;
                p[2 * j + h] = pack2(w0, w1, T);
            }
        }

#pragma unroll
        for (i32 c = 0; c < VC; c++) {
            if (64 * c >= Knows::v_dim(a)) continue;
            const u32 words[4][4] = {{y[c][0].x, y[c][0].y, y[c][0].z, y[c][0].w},
                                     {y[c][1].x, y[c][1].y, y[c][1].z, y[c][1].w},
                                     {y[c][2].x, y[c][2].y, y[c][2].z, y[c][2].w},
                                     {y[c][3].x, y[c][3].y, y[c][3].z, y[c][3].w}};
#pragma unroll
            for (i32 i = 0; i < 8; i++) {
                const u32 select = i % 2 ? 0x7632 : 0x5410;
                mma_16x8x16<T>(o[c][i], p, __byte_perm(words[0][i / 2], words[1][i / 2], select),
                               __byte_perm(words[2][i / 2], words[3][i / 2], select));
            }
        }
        if constexpr (AHEAD) load_v(key0 + DECODE_KEYS);
    }

#pragma unroll
    for (i32 h = 0; h < 2; h++) {
        sum[h] = quad_sum(sum[h]);
        if (t == 0 && g + 8 * h < Knows::ROWS) merge.max[warp][g + 8 * h] = max[h], merge.sum[warp][g + 8 * h] = sum[h];
    }
    block.unpark(parked);
    merge.finish(block, [&](i32 h) {
        if (g + 8 * h >= block.rows) return;
#pragma unroll
        for (i32 c = 0; c < VC; c++)
#pragma unroll
            for (i32 e = 0; e < 2; e++) {
                float eight[8];
#pragma unroll
                for (i32 i = 0; i < 8; i++) eight[i] = h ? o[c][i][2 + e] : o[c][i][e];
                merge.put(g, 64 * c + (2 * t + e) * 8, eight);
            }
    });
}

}  // namespace reflex
