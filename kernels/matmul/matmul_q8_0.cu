#include "matmul/kernels.cuh"

REFLEX_MATMUL_KERNELS(q8_0)
