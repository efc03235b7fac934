// Entry points of reflex_add. `vec8` wants every row 16-byte aligned and n a multiple of 8.
#include "add.cuh"
#include "common/launch.cuh"

using namespace reflex;

extern "C" __global__ void __launch_bounds__(reflex::ELEMENTWISE_THREADS)
    reflex_add_vec8(const __grid_constant__ add_args a) {
    pdl_begin();
    add<8>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ELEMENTWISE_THREADS)
    reflex_add_scalar(const __grid_constant__ add_args a) {
    pdl_begin();
    add<1>(a);
}
