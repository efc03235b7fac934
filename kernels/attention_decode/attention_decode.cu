// Entry points of reflex_attention_decode. The number is the largest head size. `mma` wants 16-byte aligned rows of K
// and V, `fma_aligned` too; `fma` takes anything. `combine` follows where the keys were split
// and the blocks are no clusters.
#include "attention_decode/combine.cuh"
#include "attention_decode/fma.cuh"
#include "attention_decode/mma.cuh"
#include "common/launch.cuh"

using namespace reflex;

// Code for Turing has no bf16 tensor cores, and may run on a later GPU (as PTX) whose launch is made for them.
template <int DMAX> __device__ __forceinline__ void attention_decode_bf16_mma(const attention_decode_args &a) {
#if __CUDA_ARCH__ >= 800
    attention_decode_mma<BF16, DMAX>(a);
#else
    pdl_wait();
    pdl_launch_dependents();
    for (i32 part = 0; part < DECODE_MMA_ROWS; part += DECODE_FMA_ROWS) {
        __syncthreads();  // the last part's shared memory was read
        attention_decode_fma<DMAX / 8, true>(a, DECODE_MMA_ROWS, part);
    }
#endif
}

#define REFLEX_KERNEL(blocks, name, body)                                    \
    extern "C" __global__ void __launch_bounds__(DECODE_WARPS *WARP, blocks) \
        name(const __grid_constant__ attention_decode_args a) {              \
        body;                                                                \
    }
#define REFLEX_WAITING_KERNEL(blocks, name, body)                                 \
    REFLEX_KERNEL(blocks, name, {                                                 \
        /* the next launch would take room from the blocks that read the cache */ \
        pdl_wait();                                                               \
        pdl_launch_dependents();                                                  \
        body;                                                                     \
    })

#if __CUDA_ARCH__ >= 800
#define REFLEX_BF16_BLOCKS(n) n
#else
#define REFLEX_BF16_BLOCKS(n) 2
#endif

// As many blocks on an SM as the launch counts on.
REFLEX_KERNEL(DECODE_BLOCKS_64, reflex_attention_decode_f16_mma_64, (attention_decode_mma<F16, 64>(a)))
REFLEX_KERNEL(DECODE_BLOCKS_128, reflex_attention_decode_f16_mma_128, (attention_decode_mma<F16, 128>(a)))
// Steps as decode_step says.
REFLEX_KERNEL(DECODE_BLOCKS_64, reflex_attention_decode_f16_step_64,
              (attention_decode_mma<F16, 64, decode_step<64>>(a)))
REFLEX_KERNEL(DECODE_BLOCKS_128, reflex_attention_decode_f16_step_128,
              (attention_decode_mma<F16, 128, decode_step<128>>(a)))
REFLEX_KERNEL(DECODE_BLOCKS_256, reflex_attention_decode_f16_mma_256, (attention_decode_mma<F16, 256>(a)))
REFLEX_KERNEL(REFLEX_BF16_BLOCKS(DECODE_BLOCKS_64), reflex_attention_decode_bf16_mma_64,
              (attention_decode_bf16_mma<64>(a)))
REFLEX_KERNEL(REFLEX_BF16_BLOCKS(DECODE_BLOCKS_128), reflex_attention_decode_bf16_mma_128,
              (attention_decode_bf16_mma<128>(a)))
REFLEX_KERNEL(REFLEX_BF16_BLOCKS(DECODE_BLOCKS_256), reflex_attention_decode_bf16_mma_256,
              (attention_decode_bf16_mma<256>(a)))
REFLEX_WAITING_KERNEL(2, reflex_attention_decode_fma_aligned_64, (attention_decode_fma<8, true>(a)))
REFLEX_WAITING_KERNEL(2, reflex_attention_decode_fma_aligned_128, (attention_decode_fma<16, true>(a)))
REFLEX_WAITING_KERNEL(2, reflex_attention_decode_fma_aligned_256, (attention_decode_fma<32, true>(a)))
REFLEX_WAITING_KERNEL(2, reflex_attention_decode_fma_256, (attention_decode_fma<32, false>(a)))
REFLEX_WAITING_KERNEL(1, reflex_attention_decode_combine, attention_decode_combine(a))
