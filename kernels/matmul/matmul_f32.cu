#include "matmul/kernels.cuh"

REFLEX_MATMUL_KERNELS(f32)
