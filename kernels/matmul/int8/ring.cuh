// A warp's own ring of weight tiles in shared memory: S stages of R tiles (R panels of 16 rows, the same 256 elements of
// k), filled by asynchronous copies and read by the warp that filled them, so that no thread waits for another warp.
#pragma once

#include "common/copies.cuh"
#include "common/tile/formats.cuh"

namespace reflex {

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

// The policy that createpolicy.fractional.L2::evict_first gives.
constexpr u64 EVICT_FIRST = 0x12f0000000000000;

// Sixteen bytes, where `there`: AT bytes on, and FROM bytes on.
template <i32 AT, i32 FROM, bool ONCE = true>
__device__ __forceinline__ void cp_async16_if(u32 shared, const void *global, bool there) {
#if __CUDA_ARCH__ >= 800
#if __CUDA_ARCH__ >= 900
    // Weights pass through L2 once in a token: they are the first to leave it, and what every launch needs, code above all, stays.
    if constexpr (ONCE)
        asm volatile(
            "{ .reg .pred there; setp.ne.b32 there, %2, 0;\n"
            "@there cp.async.cg.shared.global.L2::cache_hint [%0 + %3], [%1 + %4], 16, %5; }" ::"r"(shared),
            "l"(global), "r"((i32)there), "n"(AT), "n"(FROM), "l"(EVICT_FIRST)
            : "memory");
    else
#endif
        asm volatile(
            "{ .reg .pred there; setp.ne.b32 there, %2, 0;\n"
            "@there cp.async.cg.shared.global [%0 + %3], [%1 + %4], 16; }" ::"r"(shared),
            "l"(global), "r"((i32)there), "n"(AT), "n"(FROM)
            : "memory");
#else
    if (there)
        *reinterpret_cast<uint4 *>(static_cast<char *>(__cvta_shared_to_generic(shared)) + AT) =
            *reinterpret_cast<const uint4 *>(static_cast<const char *>(global) + FROM);
#endif
}

// As tile_ring, for one tile after the other, `splits` tiles apart: addresses run along, and no copy needs a branch. BESIDE: bytes
// that a stage has for something else.
template <class F, int R, int S, i32 BESIDE = 0> struct running_ring {
    using whole = tile_ring<F, R, S>;
    static constexpr i32 STAGE_BYTES = whole::STAGE_BYTES + BESIDE;
    // A copy's offset from a register is -2048 to 2047.
    static constexpr i32 MIDDLE = 2048;

    u32 shared;           // of this warp
    const char *from[R];  // where this lane's words of the next tile lie, and MIDDLE bytes on
    i32 step, lane;

    __device__ __forceinline__ running_ring(const char *ring, const char *const (&panel)[R], i32 split, i32 splits,
                                            i32 lane)
        : shared((u32)__cvta_generic_to_shared(ring)), step(splits * F::TILE_BYTES), lane(lane) {
        // Else the compiler adds up the parts of this sum for every use.
        asm volatile("" : "+r"(shared));
#pragma unroll
        for (int r = 0; r < R; r++) from[r] = panel[r] + (i64)split * F::TILE_BYTES + lane * 16 + MIDDLE;
    }
    template <i32 C = 0> __device__ __forceinline__ void copy(u32 to, const char *words, bool there) const {
        if constexpr (C < whole::WHOLE) {
            cp_async16_if<C * 512, C * 512 - MIDDLE>(to, words, there);
            copy<C + 1>(to, words, there);
        } else if constexpr (whole::REST != 0) {
            cp_async16_if<C * 512, C * 512 - MIDDLE>(to, words, there && lane < whole::REST);
        }
    }
    __device__ __forceinline__ void fill(i32 stage, bool there) {
        const u32 to = shared + stage * STAGE_BYTES + lane * 16;
#pragma unroll
        for (int r = 0; r < R; r++) {
            copy(to + r * whole::TILE, from[r], there);
            from[r] += step;
        }
    }
    __device__ __forceinline__ const char *tile(i32 stage, i32 r, i64) const {
        return static_cast<const char *>(__cvta_shared_to_generic(shared + stage * STAGE_BYTES)) + r * whole::TILE;
    }
};

}  // namespace reflex
