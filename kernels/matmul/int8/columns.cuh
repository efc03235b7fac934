// Several rows of x times packed weights on the integer tensor cores: NB x 8 rows at a time, each a column of the product.
//
// Every block of 32 (or 16) elements is one m16n8k32 (k16) product whose sums are scaled on their own: by the weights'
// scale, a row's, and by the activations', a column's. The scaling is what bounds the speed where the SMs are few. The
// order of the sums depends on neither NB nor the number of rows.
#pragma once

#include "matmul/int8/vector.cuh"

namespace reflex {

template <int R, int NB> using column_sums = float[R][NB][4];

// Rows of x; those past the last one read the last one, and are not stored.
struct x_columns {
    const char *x;
    i64 stride;
    i32 last, k;
    __device__ __forceinline__ const char *row(i32 i) const { return x + min(i, last) * stride; }
};

template <class F, int R, int NB, class Tile>
__device__ __forceinline__ void int8_columns_tile(const Tile &tile, const x_columns &x, i32 index, i32 lane,
                                                  column_sums<R, NB> &acc) {
    constexpr int CHAINS = F::GROUPS / 2;
    const i32 g = lane >> 2, t = lane & 3;
    float scale[R][2][F::GROUPS], minimum[R][2][F::GROUPS];
#pragma unroll
    for (int r = 0; r < R; r++) {
        const typename F::scales::regs regs = F::scales::load(tile(r) + F::QUANT_BYTES, lane);
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int c = 0; c < F::GROUPS; c++) {
                F::scales::get(regs, half, c, scale[r][half][c], minimum[r][half][c]);
                if constexpr (F::ROW) {
                    float d, m;
                    F::scales::row(regs, half, d, m);
                    scale[r][half][c] *= d, minimum[r][half][c] *= m;
                }
            }
    }
    // Many columns: all unrolled, the loads run ahead of the registers.
#pragma unroll NB < 4 ? tiles::TILE_BLOCKS / 2 : 1
    for (int j = 0; j < tiles::TILE_BLOCKS / 2; j++) {
        u32 a[2][R][4];
        float s[R][2][F::GROUPS], m[R][2][F::GROUPS];
#pragma unroll
        for (int r = 0; r < R; r++) {
#pragma unroll
            for (int e = 0; e < 2; e++) F::words(tile(r), lane, 2 * j + e, a[e][r]);
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
                for (int c = 0; c < F::GROUPS; c++) {
                    s[r][half][c] = __shfl_sync(FULL_MASK, scale[r][half][c], (lane & ~3) + j);
                    if (F::MINIMA) m[r][half][c] = __shfl_sync(FULL_MASK, minimum[r][half][c], (lane & ~3) + j);
                }
        }
#pragma unroll
        for (int nb = 0; nb < NB; nb++) {
            const char *q = x.row(nb * 8 + g) + (i64)index * tiles::TILE_K + j * 64;
            u32 b[2][2];
#pragma unroll
            for (int e = 0; e < 2; e++) x_words<F>(q + 32 * e, t, b[e]);
            x_fragment column[2];
#pragma unroll
            for (int i = 0; i < 2; i++)
                column[i].record = *reinterpret_cast<const uint4 *>(x.row(nb * 8 + 2 * t + i) + x.k +
                                                                    (i64)index * (8 * tiles::TILE_BLOCKS) + j * 16);
#pragma unroll
            for (int e = 0; e < 2; e++)
#pragma unroll
                for (int w = 0; w < CHAINS; w++) {
                    float factor[2], sums[2];
                    i32 start[2];
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        const i32 total = CHAINS == 1 ? column[i].sum(e) : column[i].half_sum(e, w);
                        factor[i] = column[i].scale(e) * (1.0f / (float)F::scale_of(2 * j + e));
                        start[i] = SUM_START - F::OFFSET * F::scale_of(2 * j + e) * total;
                        sums[i] = column[i].scale(e) * (float)total;
                    }
#pragma unroll
                    for (int r = 0; r < R; r++) {
                        i32 c[4] = {start[0], start[1], start[0], start[1]};
                        if constexpr (CHAINS == 1) mma_16x8x32<F::SIGNED>(c, a[e][r], b[e][0], b[e][1]);
                        else mma_16x8x16<F::SIGNED>(c, a[e][r][2 * w], a[e][r][2 * w + 1], b[e][w]);
#pragma unroll
                        for (int half = 0; half < 2; half++)
#pragma unroll
                            for (int i = 0; i < 2; i++) {
                                float &sum = acc[r][nb][2 * half + i];
                                const int group = e * CHAINS + w;
                                sum = fmaf(sum_value(c[2 * half + i]), s[r][half][group] * factor[i], sum);
                                if (F::MINIMA) sum = fmaf(-m[r][half][group], sums[i], sum);
                            }
                    }
                }
        }
    }
}

template <class F, int R, int NB, int S, class Wait>
__device__ __forceinline__ void int8_columns_packed(const char *const (&panel)[R], const x_columns &x, i32 split,
                                                    i32 splits, char *shared, i32 lane, Wait &work,
                                                    column_sums<R, NB> &acc) {
    const tile_ring<F, R, S> ring{shared, lane};
    const i32 tiles = x.k / tiles::TILE_K, count = (tiles - split + splits - 1) / splits;
#pragma unroll
    for (int s = 0; s < S - 1; s++) {
        if (s < count) ring.fill(s, panel, split + s * splits);
        cp_async_commit();
    }
    work.wait();
    i32 stage = 0;
    for (i32 i = 0; i < count; i++) {
        cp_async_wait<S - 2>();
        __syncwarp();
        const i32 ahead = i + S - 1;
        if (ahead < count) ring.fill(stage == 0 ? S - 1 : stage - 1, panel, split + ahead * splits);
        cp_async_commit();
        int8_columns_tile<F, R, NB>([&](i32 r) { return ring.tile(stage, r); }, x, split + i * splits, lane, acc);
        __syncwarp();
        stage = stage + 1 == S ? 0 : stage + 1;
    }
}

}  // namespace reflex
