#include "matmul/int8/few.cuh"

using namespace reflex;

#if __CUDA_ARCH__ >= 1000
#define FEW_REGISTERS 248
#else
#define FEW_REGISTERS 176
#endif

#define REFLEX_KERNEL(name, ...)                                               \
    extern "C" __global__ void __maxnreg__(FEW_REGISTERS)                      \
        reflex_matmul_int8_few16_##name(const __grid_constant__ int8_args a) { \
        int8_few_product<int8_formats<__VA_ARGS__>, 2>(a);                     \
    }
REFLEX_INT8_KERNELS(REFLEX_KERNEL)
