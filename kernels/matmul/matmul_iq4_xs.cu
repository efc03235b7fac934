#include "matmul/kernels.cuh"

REFLEX_MATMUL_KERNELS(iq4_xs)
