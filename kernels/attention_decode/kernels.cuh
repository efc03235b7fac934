// What the entry points of reflex_attention_decode call (instances.def).
#pragma once

#include "attention_decode/combine.cuh"
#include "attention_decode/fma.cuh"
#include "attention_decode/mma.cuh"
#include "common/launch.cuh"

namespace reflex {

// Blocks on an SM: as many as the launch counts on where there are bf16 tensor cores.
#if __CUDA_ARCH__ >= 800
template <i32 BLOCKS> constexpr i32 DECODE_BF16_BLOCKS = BLOCKS;
#else
template <i32 BLOCKS> constexpr i32 DECODE_BF16_BLOCKS = 2;
#endif

// The next launch would take room from the blocks that read the cache: it is let in when these are all there.
__device__ __forceinline__ void attention_decode_wait() {
    pdl_wait();
    pdl_launch_dependents();
}

// Code for Turing has no bf16 tensor cores, and may run on a later GPU (as PTX) whose launch is made for them.
template <int DMAX> __device__ __forceinline__ void attention_decode_bf16_mma(const attention_decode_args &a) {
#if __CUDA_ARCH__ >= 800
    attention_decode_mma<BF16, DMAX>(a);
#else
    attention_decode_wait();
    for (i32 part = 0; part < DECODE_MMA_ROWS; part += DECODE_FMA_ROWS) {
        __syncthreads();  // the last part's shared memory was read
        attention_decode_fma<DMAX / 8, true>(a, DECODE_MMA_ROWS, part);
    }
#endif
}

}  // namespace reflex
