// Several rows of x times packed weights, as columns.cuh has it, with x converted once for all warps of a group.
//
// The factors are f16 and the products' sums f32. An element of x is its block's scale times its quant, in units of a power of
// two that its column has for 256 elements of k. With up to 16 columns the weights are their quants alone, and a
// block's sums are multiplied with its scale; with more, the scale goes into the weights (weights.cuh). What bounds it:
// with few columns the instructions that unpack weights, with many the tensor cores.
//
// A block makes `panels` x 16 outputs of one part (of a gated pair, half of them of each) for NB x 8 rows of x. Its
// warps are `splits` groups, which share out the tiles along k; of a group each warp takes two panels, and all of them
// read the same x, which they convert together (activations.cuh). Where that leaves too few blocks, those of a cluster
// share k, too. Sums are added up in the order of the splits: group after group, block after block.
#pragma once

#include "common/cluster.cuh"
#include "common/launch.cuh"
#include "matmul/int8/epilogue.cuh"
#include "matmul/int8/native.cuh"
#include "matmul/int8/product.cuh"
#include "matmul/int8/shared/steps.cuh"

namespace reflex {

// Tiles of weights and of x that are on the way.
template <int NB> constexpr i32 COLUMN_STAGES = NB == 1 ? 3 : 2;

// Where a thread stands. Found anew after the products, over which registers are scarce.
template <int NB> struct columns_place {
    const int8_args &a;
    const int8_part *part;
    i32 share, first_output;  // panels of one part, and the outputs that come of them
    i32 first_row;
    i32 lane, warp, group, in_group, group_warps, first_slot;
    i32 split, splits;  // of all blocks of the cluster

    __device__ __forceinline__ explicit columns_place(const int8_args &args) : a(args) {
        u32 x, thread;
        asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(x));
        asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
        const i32 blocks = (i32)cluster_blocks(), block = (i32)x / blocks;
        i32 index = 0;
        if (!a.gate)
            while (index + 1 < a.parts && block >= a.part[index + 1].first_block) index++;
        part = &a.part[index];
        share = a.gate ? a.panels / 2 : a.panels;
        first_output = (block - part->first_block) * share * tiles::TILE_ROWS;
        first_row = (i32)blockIdx.y * (NB * 8);
        // Of the first lane: so the compiler knows that it is the same in all.
        lane = thread % WARP, warp = __shfl_sync(FULL_MASK, (i32)(thread / WARP), 0);
        group_warps = a.panels / COLUMN_PANELS<NB>;
        group = warp / group_warps, in_group = warp - group * group_warps, first_slot = in_group * COLUMN_PANELS<NB>;
        split = (i32)cluster_rank() * part->splits + group, splits = blocks * part->splits;
    }
    __device__ __forceinline__ int8_panel panel(i32 slot) const {
        const bool second = a.gate && slot >= share;
        return {second ? &a.part[1] : part, first_output + (slot - (second ? share : 0)) * tiles::TILE_ROWS};
    }
    __device__ __forceinline__ x_columns x() const {
        return {static_cast<const char *>(a.x) + first_row * a.x_stride, a.x_stride, a.rows - 1 - first_row, a.k};
    }
    __device__ __forceinline__ int8_sums sums() const {
        extern __shared__ __align__(128) char shared[];
        return {reinterpret_cast<float *>(shared), a.panels * tiles::TILE_ROWS, NB * 8};
    }
    // The warps of the group meet here.
    __device__ __forceinline__ void group_sync() const {
        asm volatile("bar.sync %0, %1;" ::"r"(group + 1), "r"(group_warps * (i32)WARP) : "memory");
    }
};

// A warp's whole tiles.
template <class F, int NB>
__device__ __forceinline__ void columns_tiles(const int8_args &a, shared_sums<NB> &acc) {
    constexpr i32 R = COLUMN_PANELS<NB>, S = COLUMN_STAGES<NB>;
    using activations = x_tile<F, NB>;
    extern __shared__ __align__(128) char shared[];
    const columns_place<NB> at(a);
    const i32 lane = at.lane, count = (a.k / tiles::TILE_K - at.split + at.splits - 1) / at.splits;
    const tile_ring<F, R, S> weights{shared + at.warp * a.ring_bytes, lane};
    // Tiles of x as they were, and two that are converted.
    char *const raw = shared + a.held + at.group * (S * activations::RAW + 2 * activations::BYTES);
    char *const converted = raw + S * activations::RAW;
    const char *panel[R];
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int8_panel p = at.panel(at.first_slot + r);
        panel[r] = p.row(p.whole() ? p.first : 0);
    }
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
            activations::convert(raw + stage * activations::RAW, converted + (i & 1) * activations::BYTES, at.in_group,
                                 at.group_warps, lane);
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
        tile_factors<F> w[R];
#pragma unroll
        for (int r = 0; r < R; r++) tile[r] = weights.tile(stage, r), w[r].load(tile[r], lane);
        const x_reader<F, NB> reader{converted + (i & 1) * activations::BYTES, lane};
        if constexpr (F::MINIMA) columns_minima<F, NB>(w, reader, acc);
        float sums[R][NB][4] = {};
#pragma unroll 1
        for (i32 first = 0; first < tiles::TILE_BLOCKS; first += 4) {
            columns_step<F, NB>(tile, w, reader, first, lane, sums);
            columns_step<F, NB>(tile, w, reader, first + 2, lane, sums);
        }
        columns_total<F, NB>(w, reader, sums, acc);
        stage = next;
    }
}

// Leaves a warp's sums where the epilogue finds them. Every other lane of a column writes its two rows in the other
// order: else more of them would wait for the same bank.
template <int NB>
__device__ __forceinline__ void columns_put(const columns_place<NB> &at, const int8_sums &sums,
                                            const shared_sums<NB> &acc) {
    const i32 g = at.lane >> 2, t = at.lane & 3, odd = t & 1;
#pragma unroll
    for (int r = 0; r < COLUMN_PANELS<NB>; r++)
#pragma unroll
        for (int nb = 0; nb < NB; nb++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const float v[2] = {acc.at[r][nb][e], acc.at[r][nb][2 + e]};
                float *const to = &sums.at(at.group, nb * 8 + 2 * t + e, (at.first_slot + r) * tiles::TILE_ROWS + g);
                to[8 * odd] = odd ? v[1] : v[0];
                to[8 - 8 * odd] = odd ? v[0] : v[1];
            }
}

// One warp's share, left in shared memory.
template <class F, class W, int NB> __device__ __forceinline__ void columns_run(const int8_args &a) {
    shared_sums<NB> acc = {};
    columns_tiles<F, NB>(a, acc);
    // The sums lie where the rings were.
    __syncthreads();
    const columns_place<NB> at(a);
    const int8_sums sums = at.sums();
    columns_put<NB>(at, sums, acc);
    // What is not packed, one panel at a time: rows behind the last panel, and elements behind the last tile.
    const i32 k = a.k, end = k / tiles::TILE_K * tiles::TILE_K;
    if (k == end && at.panel(at.first_slot).whole() && at.panel(at.first_slot + COLUMN_PANELS<NB> - 1).whole()) return;
    __syncwarp();
#pragma unroll 1
    for (i32 slot = at.first_slot; slot < at.first_slot + COLUMN_PANELS<NB>; slot++) {
        const int8_panel p = at.panel(slot);
        native_panel rest;
        if (p.whole()) {
            // Only blocks of 32 can be left over.
            const i64 row_bytes = (i64)((k - end) / 32) * W::BYTES;
            rest = {p.row(p.first) + (i64)(end / tiles::TILE_K) * F::TILE_BYTES, row_bytes, tiles::TILE_ROWS, end};
        } else {
            rest = {p.row(p.first), p.part->weight_stride, min(p.part->n - p.first, tiles::TILE_ROWS), 0};
        }
        if (!p.exists() || rest.start >= k) continue;
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
                                     slot * tiles::TILE_ROWS + (at.lane >> 2) + 8 * (i >> 1));
                sum = (p.whole() ? sum : 0.0f) + more[0][i];
            }
        }
    }
}

// Adds up what the blocks of a cluster have of `count` columns from `first` on.
__device__ __forceinline__ void cluster_gather(const int8_sums &sums, i32 splits, i32 blocks, i32 first, i32 count) {
    constexpr i32 DEEP = 8;
    const i32 quads = sums.outputs / 4;
    for (i32 i = threadIdx.x; i < count * quads; i += blockDim.x) {
        float4 *const to = reinterpret_cast<float4 *>(&sums.at(0, first + i / quads, i % quads * 4));
        float4 total = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        for (i32 from = 0; from < splits * blocks; from += DEEP) {
            float4 v[DEEP];
#pragma unroll
            for (int d = 0; d < DEEP; d++) {
                const i32 index = from + d;
                if (index < splits * blocks)
                    v[d] = cluster_load4(cluster_address(to + index % splits * sums.columns * quads, index / splits));
            }
#pragma unroll
            for (int d = 0; d < DEEP; d++) {
                if (from + d >= splits * blocks) continue;
                if (from + d == 0) total = v[d];
                else total = make_float4(total.x + v[d].x, total.y + v[d].y, total.z + v[d].z, total.w + v[d].w);
            }
        }
        *to = total;
    }
}

template <int NB> __device__ __forceinline__ void int8_shared_product(const int8_args &a) {
    __shared__ float scales[NB * 8];
    pdl_launch_dependents();
    if (!a.prefetch) pdl_wait();
#define REFLEX_RUN(type, format)                           \
    case type:                                             \
        columns_run<tiles::format, weight::format, NB>(a); \
        break;
    switch (columns_place<NB>(a).part->weight_type) { REFLEX_INT8_FORMATS(REFLEX_RUN) }
#undef REFLEX_RUN
    const columns_place<NB> at(a);
    const int8_sums sums = at.sums();
    const i32 blocks = (i32)cluster_blocks(), rows = min(NB * 8, a.rows - at.first_row);
    // Each block of the cluster finishes some of the rows.
    const i32 each = (rows + blocks - 1) / blocks, first = min((i32)cluster_rank() * each, rows);
    const i32 count = min(each, rows - first);
    if (a.x_squares) int8_row_scales(a, at.first_row + first, count, scales);
    if (blocks == 1) {
        __syncthreads();
        int8_store<false>(a, *at.part, sums, at.splits, at.first_output, at.first_row, scales, {});
        return;
    }
    cluster_sync();
    cluster_gather(sums, at.part->splits, blocks, first, count);
    // Before a block ends whose sums another reads.
    cluster_sync();
    const int8_sums mine{&sums.at(0, first, 0), sums.outputs, count};
    int8_store<false>(a, *at.part, mine, 1, at.first_output, at.first_row + first, scales, {});
}

}  // namespace reflex
