#include "matmul/int8/narrow.cuh"

using namespace reflex;

// Where a launch may begin before the one in front has ended, room for its blocks is worth more than registers.
#if __CUDA_ARCH__ >= 900
#define NARROW_REGISTERS 80
#else
#define NARROW_REGISTERS 128
#endif

REFLEX_INT8_KERNELS(narrow, NARROW_REGISTERS, int8_narrow_product)
REFLEX_INT8_KERNEL(narrow, NARROW_REGISTERS, int8_narrow_product, q4_k, REFLEX_FORMAT(Q4_K, q4_k))
