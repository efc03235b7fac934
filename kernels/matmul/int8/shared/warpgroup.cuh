// Products by warpgroups (SM 9.0a): four warps, each with its own panel, multiply by the same columns, which the tensor cores read
// from shared memory by themselves. What is left to a warp is to unpack its weights.
//
// Tiles come by bulk copies: a warp's weights at a barrier of its own, x at one of the group. No warp waits for another but the
// one that has x filled again.
#pragma once

#include "common/bulk.cuh"
#include "common/wgmma.cuh"
#include "matmul/int8/shared/place.cuh"
#include "matmul/int8/shared/steps.cuh"

namespace reflex {

// Of a thread block.
struct columns_barriers {
#if REFLEX_WGMMA
    static constexpr i32 WARPS = INT8_SHARED_WARPS[0], GROUPS = INT8_SHARED_GROUPS, STAGES = INT8_SHARED_STAGES[0];
    u64 weights[WARPS][STAGES];
    u64 x[GROUPS][STAGES];     // is there
    u64 read[GROUPS][STAGES];  // is read by all warps of the group
#endif
};

#if REFLEX_WGMMA

// One tile. `read` is called when nothing of the weights is needed any more.
template <class F, int NB, class Read>
__device__ __forceinline__ void warpgroup_tile(const char *tile, const x_reader<F, NB> &x, i32 lane, Read &&read,
                                               shared_sums<NB> &acc) {
    constexpr int CHAINS = F::GROUPS / 2;
    tile_factors<F> w;
    w.load(tile, lane);
    float sums[NB][4], less[NB][4] = {};
    const u64 matrices = wgmma_matrices(x.from, 512);
    if constexpr (F::MINIMA) {
        const u64 of_sums = wgmma_matrices(x.from + x_tile<F, NB>::FRAGMENTS + x_tile<F, NB>::UP, 256 * CHAINS);
        wgmma_fence();
#pragma unroll
        for (int n = 0; n < CHAINS; n++) {
            const u32 a[4] = {w.minima[n][0], w.minima[n][1], w.minima[n][0], w.minima[n][1]};
            if (n == 0) wgmma_16<true>(less, a, of_sums);
            else wgmma_16<false>(less, a, of_sums + 16 * n);
        }
        wgmma_commit();
    }
    // A block is unpacked while the two before are multiplied, and in flight while the one before is unpacked.
    constexpr int MULTIPLIED = 2;
    u32 a[MULTIPLIED + 1][2][4], s[2][F::GROUPS];
    raw_block<F> raw[2];
    raw[0] = raw_block<F>(tile, lane, 0);
    w.of_pair(0, lane, s[0]);
#pragma unroll
    for (int b = 0; b < tiles::TILE_BLOCKS; b++) {
        const int e = b & 1, pair = b / 2 & 1;
        if (b + 1 < tiles::TILE_BLOCKS) raw[!e] = FOURS<F> && !e ? raw[e] : raw_block<F>(tile, lane, b + 1);
        if (!e && b + 2 < tiles::TILE_BLOCKS) w.of_pair(b / 2 + 1, lane, s[!pair]);
        wgmma_wait<MULTIPLIED>();
        u32(&own)[2][4] = a[b % (MULTIPLIED + 1)];
        half_block<F>(raw[e], b, s[pair], own);
        if (b + 1 == tiles::TILE_BLOCKS) read();
        wgmma_fence();
        const u64 of_block = matrices + b * NB * 512 / 16;
        if (b == 0) wgmma_16<true>(sums, own[0], of_block);
        else wgmma_16<false>(sums, own[0], of_block);
        wgmma_16<false>(sums, own[1], of_block + 256 / 16);
        wgmma_commit();
    }
    float2 up[NB];
#pragma unroll
    for (int nb = 0; nb < NB; nb++) up[nb] = x.up(nb);
    wgmma_wait<0>();
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float row = w.row(half) * TINY_UNITS, fewer = -x_tile<F, NB>::SHARE * w.less(half);
#pragma unroll
        for (int nb = 0; nb < NB; nb++) {
            const float *const v = sums[nb] + 2 * half, *const m = less[nb] + 2 * half;
            float *const to = acc.at[nb] + 2 * half;
            float total[2] = {v[0] * row, v[1] * row};
            if constexpr (F::MINIMA) total[0] = fmaf(m[0], fewer, total[0]), total[1] = fmaf(m[1], fewer, total[1]);
            to[0] = fmaf(total[0], up[nb].x, to[0]), to[1] = fmaf(total[1], up[nb].y, to[1]);
        }
    }
}

// A warp's complete tiles.
template <class F, int NB>
__device__ __forceinline__ void warpgroup_tiles(const int8_args &a, columns_barriers &barriers, shared_sums<NB> &acc) {
    constexpr i32 S = COLUMN_STAGES<NB>, TILE = F::TILE_BYTES;
    static_assert(S <= columns_barriers::STAGES && INT8_SHARED_WARPS[NB / 4] <= columns_barriers::WARPS, "");
    using activations = x_tile<F, NB>;
    extern __shared__ __align__(128) char shared[];
    const columns_place<NB> at(a);
    const i32 lane = at.lane, count = at.count();
    u64 *const weights_there = barriers.weights[at.warp], *const x_there = barriers.x[at.group],
               *const x_read = barriers.read[at.group];
    char *const ring = shared + at.warp * a.ring_bytes, *const own_x = shared + a.front_bytes +
                                                                       at.group * (S * activations::BYTES);
    const char *tiles_of_weights = at.weights() + (i64)at.split * TILE;
    // One address: else the compiler adds it up again for each copy.
    asm volatile("" : "+l"(tiles_of_weights));
    const char *const tiles_of_x = at.template x_tiles<F>() + (i64)at.split * activations::BYTES;
    const auto fill_weights = [&](i32 i, i32 stage) {
        if (i >= count) return;
        barrier_expect(weights_there + stage, TILE);
        bulk_copy(ring + stage * TILE, tiles_of_weights + (i64)i * (at.splits * TILE), TILE, weights_there + stage);
    };
    const auto fill_x = [&](i32 i, i32 stage) {
        if (i >= count) return;
        barrier_expect(x_there + stage, activations::WORDS * 16);
        bulk_copy(own_x + stage * activations::BYTES, tiles_of_x + (i64)i * (at.splits * activations::BYTES),
                  activations::WORDS * 16, x_there + stage);
    };
    // Weights may be read before the launches in front have ended.
    if (lane == 0) {
#pragma unroll
        for (int s = 0; s < S; s++) {
            barrier_start(weights_there + s, 1);
            if (at.slot == 0) barrier_start(x_there + s, 1), barrier_start(x_read + s, a.panels);
        }
        barriers_publish();
#pragma unroll
        for (int s = 0; s < S; s++) fill_weights(s, s);
    }
    __syncwarp();
    if (a.prefetch) pdl_wait();
    const bool first_of_group = at.slot == 0 && lane == 0;
    if (first_of_group) {
#pragma unroll
        for (int s = 0; s < S; s++) fill_x(s, s);
    }
    __syncthreads();
    i32 stage = 0, before = S - 1;
    u32 phase = 0, phase_before = 1;
#pragma unroll 1
    for (i32 i = 0; i < count; i++) {
        if (first_of_group && i > 0 && i - 1 + S < count) {
            barrier_wait(x_read + before, phase_before);
            fill_x(i - 1 + S, before);
        }
        __syncwarp();
        barrier_wait(weights_there + stage, phase);
        barrier_wait(x_there + stage, phase);
        const x_reader<F, NB> reader{own_x + stage * activations::BYTES, lane};
        const auto read = [&] {
            __syncwarp();
            if (lane == 0) fill_weights(i + S, stage);
            __syncwarp();
        };
        warpgroup_tile<F, NB>(ring + stage * TILE, reader, lane, read, acc);
        __syncwarp();
        if (lane == 0) barrier_arrive(x_read + stage);
        before = stage, phase_before = phase;
        if (++stage == S) stage = 0, phase ^= 1;
    }
}

#endif

}  // namespace reflex
