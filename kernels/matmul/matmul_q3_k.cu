#include "matmul/kernels.cuh"

REFLEX_MATMUL_KERNELS(q3_k)
