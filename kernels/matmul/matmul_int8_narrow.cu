#include "matmul/int8/narrow.cuh"

using namespace reflex;

// Where a launch may begin before the one in front has ended, room for its blocks is worth more than registers.
#if __CUDA_ARCH__ >= 900
#define NARROW_REGISTERS 80
#else
#define NARROW_REGISTERS 128
#endif

#define REFLEX_KERNEL(name, ...)                                                \
    extern "C" __global__ void __maxnreg__(NARROW_REGISTERS)                    \
        reflex_matmul_int8_narrow_##name(const __grid_constant__ int8_args a) { \
        int8_narrow_product<int8_formats<__VA_ARGS__>>(a);                      \
    }
REFLEX_INT8_KERNELS(REFLEX_KERNEL)
REFLEX_KERNEL(q4_k, REFLEX_FORMAT(Q4_K, q4_k))
