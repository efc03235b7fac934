#include "matmul/kernels.cuh"

REFLEX_MATMUL_KERNELS(q6_k)
