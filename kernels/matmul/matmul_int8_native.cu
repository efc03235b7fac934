#include "matmul/int8/product.cuh"

using namespace reflex;

// As reflex_matmul_int8_vector_narrow, for calls with a weight that is not packed: unpacking takes more registers.
extern "C" __global__ void __launch_bounds__(256, 2)
    reflex_matmul_int8_vector_native(const __grid_constant__ int8_args a) {
    int8_product<int8_vector_shape<false, true>>(a);
}
