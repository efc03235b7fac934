// Several rows of x times packed weights, as columns.cuh has it, with x converted once, by a launch in front (convert.cuh).
//
// The factors are f16 and the products' sums f32. An element of x is its block's scale times its quant, in units of a power of
// two that its column has for 256 elements of k. A weight is its quant times its block's scale, in units of its row's factor
// (weights.cuh); of few columns, and where there are no warpgroups, it is its quant alone, and a block's sums are
// multiplied with its scale. What bounds it: the instructions that unpack weights, the time that tiles take to come, and
// the time that a block takes to begin and to end.
//
// A block makes `panels` x 16 outputs of one part (of a gated pair, half of them of each) for NB x 8 rows of x. Its
// warps are `splits` groups, which share out the tiles along k; of a group each warp takes a panel, and all of them
// read the same x (activations.cuh): many.cuh and warpgroup.cuh have the ways to do that. Where that leaves too few
// blocks, those of a cluster share k, too. Sums are added up in the order of the splits: group after group, block after block.
#pragma once

#include "common/launch.cuh"
#include "matmul/int8/epilogue.cuh"
#include "matmul/int8/formats.cuh"
#include "matmul/int8/shared/many.cuh"
#include "matmul/int8/shared/warpgroup.cuh"

namespace reflex {

// One warp's share, left in shared memory.
template <class F, class W, int NB>
__device__ __forceinline__ void columns_run(const int8_args &a, [[maybe_unused]] columns_barriers &barriers) {
    shared_sums<NB> acc = {};
#if REFLEX_WGMMA
    warpgroup_tiles<F, NB>(a, barriers, acc);
#else
    many_columns_tiles<F, NB>(a, acc);
#endif
    // The sums lie where the rings were.
    __syncthreads();
    const columns_place<NB> at(a);
    const int8_sums sums = at.sums();
#pragma unroll
    for (int nb = 0; nb < NB; nb++) sums.put(at.group, nb * 8, at.slot * tiles::TILE_ROWS, at.lane, acc.at[nb]);
    // What is not packed: rows behind the last panel, and elements behind the last tile.
    const i32 k = a.k, end = k / tiles::TILE_K * tiles::TILE_K;
    const int8_panel p = at.panel();
    const bool complete = p.complete();
    if (k == end && complete) return;
    __syncwarp();
    native_panel rest;
    if (complete) {
        // Only blocks of 32 can be left over.
        const i64 row_bytes = (i64)((k - end) / 32) * W::BYTES;
        rest = {p.row(p.first) + (i64)(end / tiles::TILE_K) * F::TILE_BYTES, row_bytes, tiles::TILE_ROWS, end};
    } else {
        rest = {p.row(p.first), p.part->weight_stride, min(p.part->n - p.first, tiles::TILE_ROWS), 0};
    }
    if (!p.exists() || rest.start >= k) return;
#pragma unroll 1
    for (i32 nb = 0; nb < NB; nb++) {
        float more[1][4] = {};
        const x_columns x = at.x();
        const x_columns some = {x.x + nb * 8 * x.stride, x.stride, x.last - nb * 8, k};
        if (some.last < 0) break;
        int8_columns_native<F, W, 1>(rest, some, at.split, at.splits, at.lane, more);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float &sum = sums.at(at.group, nb * 8 + 2 * (at.lane & 3) + (i & 1),
                                 at.slot * tiles::TILE_ROWS + (at.lane >> 2) + 8 * (i >> 1));
            sum = (complete ? sum : 0.0f) + more[0][i];
        }
    }
}

template <int NB> __device__ __forceinline__ void int8_shared_product(const int8_args &a) {
    __shared__ float scales[NB * 8];
    __shared__ columns_barriers barriers;
    static_assert(sizeof(scales) + sizeof(barriers) <= INT8_STATIC_SHARED, "");
    pdl_launch_dependents();
    if (!a.prefetch) pdl_wait();
#define REFLEX_RUN(type, format, ...)                                    \
    case type:                                                           \
        if constexpr (type != INT8_LAST) {                               \
            columns_run<tiles::format, weight::format, NB>(a, barriers); \
            break;                                                       \
        }
    switch (columns_place<NB>(a).part->weight_type) {
        REFLEX_BLOCK_FORMATS(REFLEX_RUN)
        default:
            columns_run<int8_format<INT8_LAST>::tile, int8_format<INT8_LAST>::native, NB>(a, barriers);
    }
#undef REFLEX_RUN
    const columns_place<NB> at(a);
    const int8_sums sums = at.sums();
    const i32 blocks = (i32)cluster_blocks(), rows = min(NB * 8, a.rows - at.first_row);
    // Each block of the cluster finishes some of the rows.
    const i32 each = (rows + blocks - 1) / blocks, first = min((i32)cluster_rank() * each, rows);
    const i32 count = min(each, rows - first);
    if (a.x_squares) int8_row_scales(a, at.first_row + first, count, scales);
    if (blocks == 1) __syncthreads();
    else cluster_sync();
    int8_store_rows(a, *at.part, {sums, at.part->splits, blocks}, at.first_output, at.first_row, first, first + count,
                    scales);
    if (blocks > 1) cluster_leave(), cluster_left();
}

}  // namespace reflex
