// Products where there are no warpgroups (warpgroup.cuh): the warps of a group copy what they multiply of x, and each its weights.
#pragma once

#include "matmul/int8/shared/place.cuh"

namespace reflex {

// A warp's complete tiles.
template <class F, int NB>
__device__ __forceinline__ void many_columns_tiles(const int8_args &a, shared_sums<NB> &acc) {
    constexpr i32 S = COLUMN_STAGES<NB>;
    using activations = x_tile<F, NB>;
    extern __shared__ __align__(128) char shared[];
    const columns_place<NB> at(a);
    const i32 lane = at.lane, count = at.count();
    const tile_ring<F, 1, S> weights{shared + at.warp * a.ring_bytes, lane};
    char *const own_x = shared + a.front_bytes + at.group * (S * activations::BYTES);
    const char *const tiles_of_x = at.template x_tiles<F>();
    const char *const panel[1] = {at.weights()};
    const auto fill_weights = [&](i32 i, i32 stage) {
        if (i < count) weights.fill(stage, panel, at.split + i * at.splits);
    };
    const auto fill_x = [&](i32 i, i32 stage) {
        if (i < count)
            activations::fill(tiles_of_x + (i64)(at.split + i * at.splits) * activations::BYTES,
                              own_x + stage * activations::BYTES, at.slot * WARP + lane, a.panels * WARP);
    };
    // The first group of copies is larger, since weights may be read before the launches in front have ended.
#pragma unroll
    for (int s = 0; s < S - 1; s++) fill_weights(s, s);
    if (a.prefetch) pdl_wait();
#pragma unroll
    for (int s = 0; s < S - 1; s++) {
        fill_x(s, s);
        cp_async_commit();
    }
    i32 stage = 0;
    for (i32 i = 0; i < count; i++) {
        // Of 64 columns, which leave few registers, the stage is not kept beside i.
        if constexpr (NB == 8) stage = i % S;
        const i32 next = stage + 1 == S ? 0 : stage + 1, last = stage == 0 ? S - 1 : stage - 1;
        cp_async_wait<S - 2>();
        // x of this tile is there, and nobody reads the tile before any more.
        at.group_sync();
        fill_weights(i + S - 1, last);
        fill_x(i + S - 1, last);
        cp_async_commit();
        columns_tile<F, NB>(weights.tile(stage, 0), {own_x + stage * activations::BYTES, lane}, lane, acc);
        stage = next;
    }
}

}  // namespace reflex
