#include "matmul/int8/product.cuh"

using namespace reflex;

// As reflex_matmul_int8_vector_wide, of two panels of weights that are not packed.
extern "C" __global__ void __launch_bounds__(128, 2)
    reflex_matmul_int8_vector_wide_native(const __grid_constant__ int8_args a) {
    int8_product<int8_vector_shape<true, true>>(a);
}
