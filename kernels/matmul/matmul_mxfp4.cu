#include "matmul/kernels.cuh"

REFLEX_MATMUL_KERNELS(mxfp4)
