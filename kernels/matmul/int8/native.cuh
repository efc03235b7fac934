// Native blocks, as the file has them, for the int8 products: elements past the last complete tile, and with several rows of x
// all of weights that were not packed. One panel at a time; rows are read where they lie (common/blocks.cuh). Complete tiles
// of native rows with one row of x: staged.cuh.
#pragma once

#include "matmul/int8/columns.cuh"
#include "matmul/int8/staged.cuh"

namespace reflex {

// The four words of block b of a tile that a lane multiplies; `i` is the block's first element from `start` on.
template <class W> __device__ __forceinline__ void native_words(const char *const (&row)[2], i32 i, i32 k, i32 t,
                                                                u32 (&a)[4]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if constexpr (W::GROUP == 32) {
            W::quants8(W::load8(row[half], i + 8 * t, k, true), i + 8 * t, a[half], a[2 + half]);
        } else {
#pragma unroll
            for (int w = 0; w < 2; w++) {
                const i32 at = i + 16 * w + (t >> 1) * 8;
                u32 q0, q1;
                W::quants8(W::load8(row[half], at, k, true), at, q0, q1);
                a[2 * w + half] = t & 1 ? q1 : q0;
            }
        }
    }
}

// One tile and one row of x: as int8_vector_tile. `from` is the tile's first element from the panel's start on.
template <class F, class W>
__device__ __forceinline__ void int8_vector_native_tile(const char *const (&row)[2], i32 from, i32 blocks,
                                                        const x_fragment &x, i32 k, i32 lane, float (&acc)[2]) {
    constexpr int CHAINS = F::GROUPS / 2;
    const i32 g = lane >> 2, t = lane & 3;
    i32 c[CHAINS][4];
#pragma unroll
    for (int w = 0; w < CHAINS; w++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            c[w][i] = SUM_START - W::OFFSET * (CHAINS == 1 ? x.sum(i & 1) : x.half_sum(i & 1, w));
#pragma unroll 1
    for (i32 b = 0; b < blocks; b++) {
        const u32 b0 = g == b ? x.q[0] : 0, b1 = g == b ? x.q[1] : 0;
        u32 a[4];
        native_words<W>(row, from + 32 * b, k, t, a);
        if constexpr (CHAINS == 1) {
            mma_16x8x32<W::SIGNED>(c[0], a, b0, b1);
        } else {
            mma_16x8x16<W::SIGNED>(c[0], a[0], a[1], b0);
            mma_16x8x16<W::SIGNED>(c[1], a[2], a[3], b1);
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
        for (int group = 0; group < F::GROUPS; group++) {
            const int column = group / CHAINS, w = group % CHAINS;
            if (2 * t + column >= blocks) continue;
            const i32 i = from + 32 * (2 * t + column) + 16 * w;
            float scale, minimum;
            W::scale8(W::load8(row[half], i, k, true), i, scale, minimum);
            const float d = x.scale(column);
            const i32 total = CHAINS == 1 ? x.sum(column) : x.half_sum(column, w);
            acc[half] = fmaf(sum_value(c[w][2 * half + column]), scale * d, acc[half]);
            if (F::MINIMA) acc[half] = fmaf(-minimum, d * (float)total, acc[half]);
        }
}

template <class F, class W>
__device__ __forceinline__ void int8_vector_native(const native_panel &panel, const char *x, i32 k, i32 split,
                                                   i32 splits, i32 lane, float (&acc)[2]) {
    const char *const row[2] = {panel.row(lane >> 2), panel.row((lane >> 2) + 8)};
    for (i32 tile = panel.start / tiles::TILE_K + split; tile * tiles::TILE_K < k; tile += splits) {
        const i32 first = tile * tiles::TILE_K, blocks = min((k - first) / 32, tiles::TILE_BLOCKS);
        x_fragment xs;
        xs.template load<F>(x, k, tile, blocks, lane);
        int8_vector_native_tile<F, W>(row, first - panel.start, blocks, xs, k, lane, acc);
    }
}

// Several rows of x: as int8_columns_tile.
template <class F, class W, int NB>
__device__ __forceinline__ void int8_columns_native(const native_panel &panel, const x_columns &x, i32 split,
                                                    i32 splits, i32 lane, float (&acc)[NB][4]) {
    constexpr int CHAINS = F::GROUPS / 2;
    const i32 g = lane >> 2, t = lane & 3, k = x.k;
    const char *const row[2] = {panel.row(g), panel.row(g + 8)};
    const i32 tiles = (k + tiles::TILE_K - 1) / tiles::TILE_K;
    for (i32 tile = panel.start / tiles::TILE_K + split; tile < tiles; tile += splits) {
        const i32 first = tile * tiles::TILE_K, blocks = min((k - first) / 32, tiles::TILE_BLOCKS);
        for (i32 b = 0; b < blocks; b++) {
            const i32 i = first - panel.start + 32 * b;
            u32 a[4];
            native_words<W>(row, i, k, t, a);
            float scale[2][CHAINS], minimum[2][CHAINS];
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
                for (int w = 0; w < CHAINS; w++)
                    W::scale8(W::load8(row[half], i + 16 * w, k, true), i + 16 * w, scale[half][w], minimum[half][w]);
#pragma unroll
            for (int nb = 0; nb < NB; nb++) {
                const char *q = x.row(nb * 8 + g) + first + 32 * b;
                u32 bq[2];
                x_words<F>(q, t, bq);
                float d[2];
                i32 sums[2];
#pragma unroll
                for (int column = 0; column < 2; column++) {
                    const uint2 record = reinterpret_cast<const uint2 *>(x.row(nb * 8 + 2 * t + column) +
                                                                         k)[tile * tiles::TILE_BLOCKS + b];
                    d[column] = __uint_as_float(record.x), sums[column] = (i32)record.y;
                }
#pragma unroll
                for (int w = 0; w < CHAINS; w++) {
                    i32 total[2];
#pragma unroll
                    for (int column = 0; column < 2; column++)
                        total[column] = (CHAINS == 1 || w == 0 ? (i32)((u32)sums[column] << 16) >> 16 : 0) +
                                        (CHAINS == 1 || w == 1 ? sums[column] >> 16 : 0);
                    i32 c[4];
#pragma unroll
                    for (int e = 0; e < 4; e++) c[e] = SUM_START - W::OFFSET * total[e & 1];
                    if constexpr (CHAINS == 1) mma_16x8x32<W::SIGNED>(c, a, bq[0], bq[1]);
                    else mma_16x8x16<W::SIGNED>(c, a[2 * w], a[2 * w + 1], bq[w]);
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        acc[nb][e] = fmaf(sum_value(c[e]), scale[e >> 1][w] * d[e & 1], acc[nb][e]);
                        if (F::MINIMA)
                            acc[nb][e] = fmaf(-minimum[e >> 1][w], d[e & 1] * (float)total[e & 1], acc[nb][e]);
                    }
                }
            }
        }
    }
}

}  // namespace reflex
