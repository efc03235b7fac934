// A warp's products of a tile: its panel of weights times the columns that its group has in shared memory.
#pragma once

#include "matmul/int8/shared/activations.cuh"
#include "matmul/int8/shared/weights.cuh"

namespace reflex {

template <int NB> struct shared_sums {
    float at[NB][4];
};

// Whether scales go into the weights before the products, which costs each weight, or into the sums of each block,
// which costs each column.
template <int NB> constexpr bool SCALED_WEIGHTS = NB > 2;

// s[0..2] += v * factor
__device__ __forceinline__ void add_pair(float *s, float v0, float v1, float factor) {
    s[0] = fmaf(v0, factor, s[0]), s[1] = fmaf(v1, factor, s[1]);
}

// s[0..2] += v * row * column: in this order, which overflows only where the product does.
__device__ __forceinline__ void add_scaled(float *s, const float *v, float row, const float2 &column) {
    s[0] = fmaf(v[0] * row, column.x, s[0]), s[1] = fmaf(v[1] * row, column.y, s[1]);
}

// Blocks `first` and the next of the tile. What is known of `first` when compiling is first % 4.
//
// A product waits for the one before that adds to the same sums, so these are far apart; and x is in flight while weights are
// unpacked.
template <class F, int NB>
__device__ __forceinline__ void columns_step(const char *tile, const tile_factors<F> &w, const x_reader<F, NB> &x,
                                             i32 first, i32 lane, float (&sums)[NB][4]) {
    constexpr int CHAINS = F::GROUPS / 2;
    u32 s[F::GROUPS];
    w.of_pair(first / 2, lane, s);
    if constexpr (SCALED_WEIGHTS<NB>) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
            u32 v[NB][2][2], a[2][4];
#pragma unroll
            for (int nb = 0; nb < NB; nb++) x.get(nb, first + e, v[nb]);
            half_block<F>(raw_block<F>(tile, lane, first + e), first + e, s, a);
#pragma unroll
            for (int word = 0; word < 2; word++)
#pragma unroll
                for (int nb = 0; nb < NB; nb++) mma_16x8x16<F16>(sums[nb], a[word], v[nb][word][0], v[nb][word][1]);
        }
    } else {
        u32 v[2][NB][2][2], a[2][2][4];
        float c[2][NB][CHAINS][4] = {};
#pragma unroll
        for (int e = 0; e < 2; e++)
#pragma unroll
            for (int nb = 0; nb < NB; nb++) x.get(nb, first + e, v[e][nb]);
#pragma unroll
        for (int e = 0; e < 2; e++) tiny_block<F>(tile, lane, first + e, a[e]);
#pragma unroll
        for (int word = 0; word < 2; word++)
#pragma unroll
            for (int e = 0; e < 2; e++)
#pragma unroll
                for (int nb = 0; nb < NB; nb++)
                    mma_16x8x16<F16>(c[e][nb][CHAINS == 1 ? 0 : word], a[e][word], v[e][nb][word][0],
                                     v[e][nb][word][1]);
#pragma unroll
        for (int e = 0; e < 2; e++)
#pragma unroll
            for (int n = 0; n < CHAINS; n++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const float scale = tile_factors<F>::half_of_pair(s[e * CHAINS + n], half);
#pragma unroll
                    for (int nb = 0; nb < NB; nb++)
                        add_pair(sums[nb] + 2 * half, c[e][nb][n][2 * half], c[e][nb][n][2 * half + 1], scale);
                }
    }
}

// The minima of a tile. Before its products: nothing of them then waits in registers.
template <class F, int NB>
__device__ __forceinline__ void columns_minima(const tile_factors<F> &w, const x_reader<F, NB> &x,
                                               shared_sums<NB> &acc) {
#pragma unroll
    for (int nb = 0; nb < NB; nb++) {
        const float2 up = x.up(nb);
        float m[4] = {};
#pragma unroll
        for (int n = 0; n < F::GROUPS / 2; n++) {
            const uint2 v = x.sums(nb, n);
            const u32 a[4] = {w.minima[n][0], w.minima[n][1], w.minima[n][0], w.minima[n][1]};
            mma_16x8x16<F16>(m, a, v.x, v.y);
        }
#pragma unroll
        for (int half = 0; half < 2; half++)
            add_scaled(acc.at[nb] + 2 * half, m + 2 * half, -x_tile<F, NB>::SHARE * w.less(half), up);
    }
}

// The sums of a tile, scaled.
template <class F, int NB>
__device__ __forceinline__ void columns_total(const tile_factors<F> &w, const x_reader<F, NB> &x,
                                              const float (&sums)[NB][4], shared_sums<NB> &acc) {
    constexpr float UNITS = SCALED_WEIGHTS<NB> ? TINY_UNITS : TINY_UNITS * TINY_UNITS;
#pragma unroll
    for (int nb = 0; nb < NB; nb++) {
        const float2 up = x.up(nb);
#pragma unroll
        for (int half = 0; half < 2; half++)
            add_scaled(acc.at[nb] + 2 * half, sums[nb] + 2 * half, w.row(half) * UNITS, up);
    }
}

// Adds a tile's products.
template <class F, int NB>
__device__ __forceinline__ void columns_tile(const char *tile, const x_reader<F, NB> &x, i32 lane,
                                             shared_sums<NB> &acc) {
    tile_factors<F> w;
    w.load(tile, lane);
    if constexpr (F::MINIMA) columns_minima<F, NB>(w, x, acc);
    float sums[NB][4] = {};
#pragma unroll 1
    for (i32 first = 0; first < tiles::TILE_BLOCKS; first += 4) {
        columns_step<F, NB>(tile, w, x, first, lane, sums);
        columns_step<F, NB>(tile, w, x, first + 2, lane, sums);
    }
    columns_total<F, NB>(w, x, sums, acc);
}

}  // namespace reflex
