// The entry points of one weight format. One file for each format, so that they compile in parallel.
#pragma once

#include "matmul/tile.cuh"
#include "matmul/vector.cuh"

#define REFLEX_MATMUL_KERNELS(format)                                                                                         \
    using namespace reflex;                                                                                                   \
    extern "C" __global__ void __launch_bounds__(128) reflex_matmul_##format##_vector1(const __grid_constant__ matmul_args a) { \
        matmul_vector<weight::format, 1, true>(a);                                                                            \
    }                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(128) reflex_matmul_##format##_vector2(const __grid_constant__ matmul_args a) { \
        matmul_vector<weight::format, 2, true>(a);                                                                            \
    }                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(128) reflex_matmul_##format##_vector4(const __grid_constant__ matmul_args a) { \
        matmul_vector<weight::format, 4, true>(a);                                                                            \
    }                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(128) reflex_matmul_##format##_vector8(const __grid_constant__ matmul_args a) { \
        matmul_vector<weight::format, 8, true>(a);                                                                            \
    }                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(128) reflex_matmul_##format##_vector_any(const __grid_constant__ matmul_args a) { \
        matmul_vector<weight::format, 1, false>(a);                                                                           \
    }                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(128) reflex_matmul_##format##_tile32(const __grid_constant__ matmul_args a) {  \
        matmul_tile<weight::format, 2, 1>::run(a);                                                                            \
    }                                                                                                                         \
    extern "C" __global__ void __launch_bounds__(256, 2) reflex_matmul_##format##_tile128(const __grid_constant__ matmul_args a) { \
        matmul_tile<weight::format, 4, 2>::run(a);                                                                            \
    }
