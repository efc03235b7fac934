// What the entry points of reflex_attention call (instances.def).
#pragma once

#include "attention/fma.cuh"
#include "attention/mma.cuh"
#include "attention/wgmma.cuh"

namespace reflex {

// Blocks that an SM runs at once, for heads of up to 64, 128 and 256: as many as registers allow without a spill.
constexpr i32 ATTENTION_MMA_BLOCKS[3] = {4, 3, 1};
constexpr i32 ATTENTION_MMA_LARGE_BLOCKS[3] = {2, 2, 1};

constexpr i32 ATTENTION_WGMMA_BLOCKS[3] = {2, 2, 1};

template <u32 T, int DMAX, int SIZE = attention_mma_size(DMAX)>
using attention_of_warpgroups = attention_wgmma<T, DMAX, ATTENTION_WGMMA_ROWS[SIZE], ATTENTION_WGMMA_KEYS[SIZE]>;

template <u32 T, int DMAX, int SIZE = attention_mma_size(DMAX)>
using attention_mma_small = attention_mma<T, DMAX, ATTENTION_MMA_ROWS, ATTENTION_MMA_WARPS[SIZE],
                                          ATTENTION_MMA_KEYS[SIZE], ATTENTION_MMA_SHARED_ROWS[SIZE]>;
template <u32 T, int DMAX, int SIZE = attention_mma_size(DMAX)>
using attention_mma_large = attention_mma<T, DMAX, ATTENTION_MMA_LARGE_ROWS, ATTENTION_MMA_LARGE_WARPS[SIZE],
                                          ATTENTION_MMA_LARGE_KEYS[SIZE], ATTENTION_MMA_LARGE_SHARED_ROWS[SIZE]>;

// Code for Turing has no bf16 tensor cores, and may run on a later GPU (as PTX) whose launch is made for them.
template <int DMAX, int ALL, typename MMA> __device__ __forceinline__ void attention_bf16(const attention_args &a) {
#if __CUDA_ARCH__ >= 800
    MMA::run(a);
#else
    constexpr i32 ROWS = DMAX <= 128 ? ATTENTION_FMA_ROWS_128 : ATTENTION_FMA_ROWS_256;
    if (threadIdx.x >= ATTENTION_THREADS) return;
    for (i32 part = 0; part < ALL; part += ROWS) attention_fma<ROWS, ROWS, DMAX, true>(a, ALL, part);
#endif
}

}  // namespace reflex
