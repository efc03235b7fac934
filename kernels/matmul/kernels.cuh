// The entry points of one weight format. One file for each format, so that they compile in parallel: build/formats.rs writes those of the
// formats in blocks.
//
// The second launch bound is there because ptxas, left alone, spills a few registers for one more block on an SM.
#pragma once

#include "matmul/tile.cuh"
#include "matmul/vector.cuh"

#define REFLEX_MATMUL_KERNEL(format, variant, threads, blocks, body)                        \
    extern "C" __global__ void __launch_bounds__(threads, blocks)                           \
        reflex_matmul_##format##_##variant(const __grid_constant__ reflex::matmul_args a) { \
        using namespace reflex;                                                             \
        using F = weight::format;                                                           \
        body(a);                                                                            \
    }

#define REFLEX_MATMUL_KERNELS(format)                                              \
    REFLEX_MATMUL_KERNEL(format, vector1, 128, 4, (matmul_vector<F, 1, true>))     \
    REFLEX_MATMUL_KERNEL(format, vector2, 128, 4, (matmul_vector<F, 2, true>))     \
    REFLEX_MATMUL_KERNEL(format, vector4, 128, 2, (matmul_vector<F, 4, true>))     \
    REFLEX_MATMUL_KERNEL(format, vector8, 128, 2, (matmul_vector<F, 8, true>))     \
    REFLEX_MATMUL_KERNEL(format, vector_any, 128, 4, (matmul_vector<F, 1, false>)) \
    REFLEX_MATMUL_KERNEL(format, tile32, 128, 4, (matmul_tile<F, 2, 1>::run))      \
    REFLEX_MATMUL_KERNEL(format, tile128, 256, 2, (matmul_tile<F, 4, 2>::run))
