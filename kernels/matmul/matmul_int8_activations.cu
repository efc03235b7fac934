#include "matmul/int8/shared/convert.cuh"

// What products of several rows (matmul_int8_shared16 to 64) read of x.
extern "C" __global__ void __launch_bounds__(64)
    reflex_matmul_int8_activations(const __grid_constant__ reflex::int8_convert_args a) {
    reflex::int8_convert(a);
}
