#include "matmul/int8/few.cuh"

using namespace reflex;

#if __CUDA_ARCH__ >= 1000
#define FEW_REGISTERS 160
#else
#define FEW_REGISTERS 136
#endif

#define REFLEX_KERNEL(group, ...) REFLEX_INT8_KERNEL(few8, FEW_REGISTERS, int8_few_product<1>, group, __VA_ARGS__)
REFLEX_INT8_GROUPS(REFLEX_KERNEL)
