#include "matmul/int8/product.cuh"

using namespace reflex;

// Where a launch may begin before the one in front has ended, room for its blocks is worth more than registers. Code for
// SM 10.x spills with 80, that for 12.x does not.
#if __CUDA_ARCH__ >= 1000 && __CUDA_ARCH__ < 1200
#define NARROW_REGISTERS 96
#elif __CUDA_ARCH__ >= 900
#define NARROW_REGISTERS 80
#else
#define NARROW_REGISTERS 128
#endif

// A panel a warp: many warps share the k of few outputs, for devices of many SMs. Of packed weights that leave rows or blocks over, or
// whose formats no kernel of matmul_int8_narrow.cu has together.
extern "C" __global__ void __maxnreg__(NARROW_REGISTERS)
    reflex_matmul_int8_vector_narrow(const __grid_constant__ int8_args a) {
    int8_product<int8_vector_shape<false, false>>(a);
}
