// What the entry points of reflex_attention call (instances.def).
#pragma once

#include "attention/fma.cuh"
#include "attention/mma.cuh"

namespace reflex {

// Code for Turing has no bf16 tensor cores, and may run on a later GPU (as PTX) whose launch is made for them.
template <int DMAX, int KEYS> __device__ __forceinline__ void attention_bf16_mma(const attention_args &a) {
#if __CUDA_ARCH__ >= 800
    attention_mma<BF16, DMAX, KEYS>::run(a);
#else
    constexpr i32 ROWS = DMAX <= 128 ? ATTENTION_FMA_ROWS_128 : ATTENTION_FMA_ROWS_256,
                  ALL = attention_mma<BF16, DMAX, KEYS>::ROWS;
    for (i32 part = 0; part < ALL; part += ROWS) attention_fma<ROWS, ROWS, DMAX, true>(a, ALL, part);
#endif
}

}  // namespace reflex
