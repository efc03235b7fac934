// Entry points of reflex_activation. `vec8` wants every row 16-byte aligned and n a multiple of 8.
#include "activation.cuh"
#include "common/launch.cuh"

using namespace reflex;

extern "C" __global__ void __launch_bounds__(reflex::ELEMENTWISE_THREADS)
    reflex_activation_vec8(const __grid_constant__ activation_args a) {
    pdl_begin();
    activation<8>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ELEMENTWISE_THREADS)
    reflex_activation_scalar(const __grid_constant__ activation_args a) {
    pdl_begin();
    activation<1>(a);
}
