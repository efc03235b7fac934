#include "matmul/kernels.cuh"

REFLEX_MATMUL_KERNELS(q4_1)
