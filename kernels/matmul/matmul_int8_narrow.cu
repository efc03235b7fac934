#include "matmul/int8/narrow.cuh"

using namespace reflex;

// Where a launch may begin before the one in front has ended, room for its blocks is worth more than registers.
#if __CUDA_ARCH__ >= 900
#define NARROW_REGISTERS 80
#else
#define NARROW_REGISTERS 128
#endif

#define REFLEX_KERNEL(group, ...) REFLEX_INT8_KERNEL(narrow, NARROW_REGISTERS, int8_narrow_product, group, __VA_ARGS__)
REFLEX_INT8_GROUPS(REFLEX_KERNEL)
REFLEX_KERNEL(q4_k, Q4_K)
