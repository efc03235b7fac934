// Where a warp of a product of several rows stands.
#pragma once

#include "common/cluster.cuh"
#include "matmul/int8/native.cuh"
#include "matmul/int8/product.cuh"
#include "matmul/int8/shared/steps.cuh"

namespace reflex {

// Tiles of weights and of x that are in flight.
template <int NB> constexpr i32 COLUMN_STAGES = INT8_SHARED_STAGES[NB / 4];

// Where a thread stands. Found anew after the products, over which registers are scarce.
template <int NB> struct columns_place {
    const int8_args &a;
    const int8_part *part;
    i32 share, first_output;  // panels of one part, and the outputs that come of them
    i32 first_row;
    i32 lane, warp, group;
    i32 slot;           // of the group's warps, and of the block's panels
    i32 split, splits;  // of all blocks of the cluster

    __device__ __forceinline__ explicit columns_place(const int8_args &args) : a(args) {
        u32 x, thread;
        asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(x));
        asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
        const i32 blocks = (i32)cluster_blocks(), block = (i32)x / blocks;
        part = &a.part[int8_part_index(a, block)];
        share = a.gate ? a.panels / 2 : a.panels;
        first_output = (block - part->first_block) * share * tiles::TILE_ROWS;
        first_row = (i32)blockIdx.y * (NB * 8);
        // Of the first lane: so the compiler knows that it is the same in all.
        lane = thread % WARP, warp = __shfl_sync(FULL_MASK, (i32)(thread / WARP), 0);
        group = warp / a.panels, slot = warp - group * a.panels;
        split = (i32)cluster_rank() * part->splits + group, splits = blocks * part->splits;
    }
    __device__ __forceinline__ int8_panel panel() const {
        const bool second = a.gate && slot >= share;
        return {second ? &a.part[1] : part, first_output + (slot - (second ? share : 0)) * tiles::TILE_ROWS};
    }
    // Tiles along k that this warp multiplies, `splits` apart.
    __device__ __forceinline__ i32 count() const { return (a.k / tiles::TILE_K - split + splits - 1) / splits; }
    // Those of its panel. A panel that is not complete reads the first, and its sums are not kept.
    __device__ __forceinline__ const char *weights() const {
        const int8_panel p = panel();
        return p.row(p.complete() ? p.first : 0);
    }
    // Those of x, for a format.
    template <class F> __device__ __forceinline__ const char *x_tiles() const {
        return static_cast<const char *>(a.x_tiles[F::GROUP == 32 ? 0 : 1]) +
               (i64)blockIdx.y * (a.k / tiles::TILE_K) * x_tile<F, NB>::BYTES;
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
        asm volatile("bar.sync %0, %1;" ::"r"(group + 1), "r"(a.panels * (i32)WARP) : "memory");
    }
};

}  // namespace reflex
