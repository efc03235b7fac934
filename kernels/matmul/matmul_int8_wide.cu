#include "matmul/int8/product.cuh"

using namespace reflex;

// Two or four panels a warp: what x costs is shared by more weights, for devices of few SMs and for tall weights. Of packed
// weights.
extern "C" __global__ void __launch_bounds__(128, 2)
    reflex_matmul_int8_vector_wide(const __grid_constant__ int8_args a) {
    int8_product<int8_vector_shape<true, false>>(a);
}
