// Products of eight columns: the warps of a group copy a tile of x as it lies in memory and convert it together, once for all of
// their panels, while they multiply the tile before.
#pragma once

#include "matmul/int8/shared/convert.cuh"
#include "matmul/int8/shared/place.cuh"

namespace reflex {

// A tile of x as it was: of a column 256 bytes of quants, eight records, and 16 bytes of nothing, so that eight columns' words
// lie in different banks.
template <class F, int NB> struct x_rows {
    static constexpr i32 ROW = tiles::TILE_K + 8 * tiles::TILE_BLOCKS + 16, RAW = NB * 8 * ROW;

    // Starts the copies of warp `warp` of a group: eight columns at a time, four lanes to each.
    static __device__ __forceinline__ void fill(const x_columns &x, i32 tile, char *raw, i32 warp, i32 warps,
                                                i32 lane) {
        const i32 word = (lane & 3) * 16;
#pragma unroll 1
        for (i32 nb = warp; nb < NB; nb += warps) {
            const i32 column = nb * 8 + (lane >> 2);
            const char *const row = x.row(column), *const q = row + (i64)tile * tiles::TILE_K + word;
            char *const to = raw + column * ROW + word;
#pragma unroll
            for (int i = 0; i < 4; i++) cp_async16(to + 64 * i, q + 64 * i, true);
            cp_async16(to + tiles::TILE_K, row + x.k + (i64)tile * (8 * tiles::TILE_BLOCKS) + word, true);
        }
    }

    // Share of warp `warp` of a group, which has an even number of them: pieces of eight columns and four blocks, one of either
    // a lane.
    static __device__ __forceinline__ void convert(const char *raw, char *to, i32 warp, i32 warps, i32 lane) {
        const i32 c = lane & 7, b = (warp & 1) * 4 + (lane >> 3);
#pragma unroll 1
        for (i32 nb = warp >> 1; nb < NB; nb += warps >> 1) {
            const char *const row = raw + (nb * 8 + c) * ROW;
            const uint4 *const quants = reinterpret_cast<const uint4 *>(row + 32 * b);
            const uint4 q[2] = {quants[0], quants[1]};
            const uint2 *const records = reinterpret_cast<const uint2 *>(row + tiles::TILE_K);
            const uint2 record = records[b];
            u32 largest = max(record.x & 0x7fffffffu, records[b ^ 4].x & 0x7fffffffu);
            largest = max(largest, __shfl_xor_sync(FULL_MASK, largest, 8));
            largest = max(largest, __shfl_xor_sync(FULL_MASK, largest, 16));
            int8_convert_block<F::GROUP, F::MINIMA>(q, record, largest, to, NB, nb, c, b);
        }
    }
};

// A warp's whole tiles.
template <class F, int NB>
__device__ __forceinline__ void few_columns_tiles(const int8_args &a, shared_sums<NB> &acc) {
    constexpr i32 R = COLUMN_PANELS<NB>, S = COLUMN_STAGES<NB>;
    using activations = x_rows<F, NB>;
    extern __shared__ __align__(128) char shared[];
    const columns_place<NB> at(a);
    const i32 lane = at.lane, count = at.count();
    const tile_ring<F, R, S> weights{shared + at.warp * a.ring_bytes, lane};
    // Tiles of x as they were, and two that are converted.
    char *const raw = shared + a.held + at.group * (S * activations::RAW + 2 * x_tile<F, NB>::BYTES);
    char *const converted = raw + S * activations::RAW;
    const char *panel[R];
    at.panels(panel);
    const auto fill_weights = [&](i32 i, i32 stage) {
        if (i < count) weights.fill(stage, panel, at.split + i * at.splits);
    };
    const auto fill_x = [&](i32 i, i32 stage) {
        if (i < count)
            activations::fill(at.x(), at.split + i * at.splits, raw + stage * activations::RAW, at.in_group,
                              at.group_warps, lane);
    };
    const auto convert = [&](i32 i, i32 stage) {
        if (i < count)
            activations::convert(raw + stage * activations::RAW, converted + (i & 1) * x_tile<F, NB>::BYTES,
                                 at.in_group, at.group_warps, lane);
    };
    // Of x a tile more than of the weights: it is converted before. The first group of copies is larger, since weights may be
    // read before the launches in front have ended.
#pragma unroll
    for (int s = 0; s < S - 1; s++) fill_weights(s, s);
    if (a.prefetch) pdl_wait();
    fill_x(0, 0);
    cp_async_commit();
#pragma unroll
    for (int s = 1; s < S; s++) {
        fill_x(s, s);
        cp_async_commit();
    }
    cp_async_wait<S - 1>();
    at.group_sync();
    convert(0, 0);
    i32 stage = 0;
    for (i32 i = 0; i < count; i++) {
        const i32 next = stage + 1 == S ? 0 : stage + 1;
        cp_async_wait<S - 2>();
        // x of this tile is converted and of the next one there; nobody reads the tile before any more.
        at.group_sync();
        fill_weights(i + S - 1, stage == 0 ? S - 1 : stage - 1);
        fill_x(i + S, stage);
        cp_async_commit();
        convert(i + 1, next);
        const char *tile[R];
#pragma unroll
        for (int r = 0; r < R; r++) tile[r] = weights.tile(stage, r);
        columns_tile<F, NB>(tile, {converted + (i & 1) * x_tile<F, NB>::BYTES, lane}, lane, acc);
        stage = next;
    }
}

}  // namespace reflex
