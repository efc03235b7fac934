// Entry points of reflex_quantize. `vec8` wants every row of x 16-byte aligned.
#include "quantize.cuh"

using namespace reflex;

extern "C" __global__ void __launch_bounds__(reflex::ELEMENTWISE_THREADS)
    reflex_quantize_vec8(const __grid_constant__ quantize_args a) {
    quantize<8>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ELEMENTWISE_THREADS)
    reflex_quantize_scalar(const __grid_constant__ quantize_args a) {
    quantize<1>(a);
}
