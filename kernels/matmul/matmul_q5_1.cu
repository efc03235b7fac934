#include "matmul/kernels.cuh"

REFLEX_MATMUL_KERNELS(q5_1)
