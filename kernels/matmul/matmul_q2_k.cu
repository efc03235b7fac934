#include "matmul/kernels.cuh"

REFLEX_MATMUL_KERNELS(q2_k)
