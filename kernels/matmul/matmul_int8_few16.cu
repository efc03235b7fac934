#include "matmul/int8/few.cuh"

using namespace reflex;

#if __CUDA_ARCH__ >= 1000
#define FEW_REGISTERS 248
#else
#define FEW_REGISTERS 184
#endif

#define REFLEX_KERNEL(group, ...) REFLEX_INT8_KERNEL(few16, FEW_REGISTERS, int8_few_product<2>, group, __VA_ARGS__)
REFLEX_INT8_GROUPS(REFLEX_KERNEL)
