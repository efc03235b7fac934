// A warp's own ring of weight tiles in shared memory: S stages of R tiles (R panels of 16 rows, the same 256 elements of
// k), filled by asynchronous copies and read by the warp that filled them, so that no thread waits for another warp.
#pragma once

#include "common/mma.cuh"
#include "common/tile.cuh"

namespace reflex {

__device__ __forceinline__ void cp_async_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// All but the latest N groups have arrived.
template <int N> __device__ __forceinline__ void cp_async_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

template <class F, int R, int S> struct tile_ring {
    static constexpr i32 TILE = F::TILE_BYTES, STAGE_BYTES = R * TILE, BYTES = S * STAGE_BYTES;
    static constexpr i32 PARTS = TILE / 16, WHOLE = PARTS / 32, REST = PARTS % 32;

    char *shared;  // of this warp
    i32 lane;

    // Starts the copy of tile `index` of each panel into a stage.
    __device__ __forceinline__ void fill(i32 stage, const char *const (&panel)[R], i64 index) const {
#pragma unroll
        for (int r = 0; r < R; r++) {
            const char *from = panel[r] + index * TILE + lane * 16;
            char *to = shared + stage * STAGE_BYTES + r * TILE + lane * 16;
#pragma unroll
            for (int c = 0; c < WHOLE; c++) cp_async16(to + c * 512, from + c * 512, true);
            if (REST && lane < REST) cp_async16(to + WHOLE * 512, from + WHOLE * 512, true);
        }
    }
    __device__ __forceinline__ const char *tile(i32 stage, i32 r) const {
        return shared + stage * STAGE_BYTES + r * TILE;
    }
};

}  // namespace reflex
