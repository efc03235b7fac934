#include "matmul/int8/shared/product.cuh"

extern "C" __global__ void __launch_bounds__(512, 1)
    reflex_matmul_int8_shared32(const __grid_constant__ reflex::int8_args a) {
    reflex::int8_shared_product<4>(a);
}
