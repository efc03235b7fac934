#include "matmul/int8/few.cuh"

using namespace reflex;

#if __CUDA_ARCH__ >= 1000
#define FEW_REGISTERS 160
#else
#define FEW_REGISTERS 136
#endif

REFLEX_INT8_KERNELS(few8, FEW_REGISTERS, int8_few_product<1>)
