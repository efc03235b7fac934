#include "matmul/int8/product.cuh"

extern "C" __global__ void __launch_bounds__(256, 1)
    reflex_matmul_int8_columns64(const __grid_constant__ reflex::int8_args a) {
    reflex::int8_product<reflex::int8_columns_shape<8>>(a);
}
