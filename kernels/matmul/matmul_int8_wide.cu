#include "matmul/int8/product.cuh"

using namespace reflex;

// Shared memory has room for three blocks on SM 9.0, which may run the code of 8.x as well.
#if __CUDA_ARCH__ >= 800
#define WIDE_BLOCKS 3
#else
#define WIDE_BLOCKS 2
#endif

// Two or four panels a warp: what x costs is shared by more weights, for devices of few SMs and for tall weights. Of packed
// weights.
extern "C" __global__ void __launch_bounds__(128, WIDE_BLOCKS)
    reflex_matmul_int8_vector_wide(const __grid_constant__ int8_args a) {
    int8_product<int8_vector_shape<true, false>>(a);
}
