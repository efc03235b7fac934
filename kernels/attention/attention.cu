// Entry points of reflex_attention. The number is the largest head size. `mma` wants 16-byte aligned rows of K and V,
// `fma_aligned` too; `fma` takes anything.
#include "attention/fma.cuh"
#include "attention/mma.cuh"

using namespace reflex;

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

#define REFLEX_KERNEL(name, body)                                      \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) \
        name(const __grid_constant__ attention_args a) {               \
        body;                                                          \
    }

REFLEX_KERNEL(reflex_attention_f16_mma_64, (attention_mma<F16, 64, 64>::run(a)))
REFLEX_KERNEL(reflex_attention_f16_mma_128, (attention_mma<F16, 128, 64>::run(a)))
REFLEX_KERNEL(reflex_attention_f16_mma_256, (attention_mma<F16, 256, 32>::run(a)))
REFLEX_KERNEL(reflex_attention_bf16_mma_64, (attention_bf16_mma<64, 64>(a)))
REFLEX_KERNEL(reflex_attention_bf16_mma_128, (attention_bf16_mma<128, 64>(a)))
REFLEX_KERNEL(reflex_attention_bf16_mma_256, (attention_bf16_mma<256, 32>(a)))
REFLEX_KERNEL(reflex_attention_fma_aligned_128, (attention_fma<ATTENTION_FMA_ROWS_128, 32, 128, true>(a)))
REFLEX_KERNEL(reflex_attention_fma_aligned_256, (attention_fma<ATTENTION_FMA_ROWS_256, 16, 256, true>(a)))
REFLEX_KERNEL(reflex_attention_fma_128, (attention_fma<ATTENTION_FMA_ROWS_128, 32, 128, false>(a)))
REFLEX_KERNEL(reflex_attention_fma_256, (attention_fma<ATTENTION_FMA_ROWS_256, 16, 256, false>(a)))
