// Entry points of reflex_softcap. `vec8` wants every row 16-byte aligned and n a multiple of 8.
#include "common/launch.cuh"
#include "softcap.cuh"

using namespace reflex;

extern "C" __global__ void __launch_bounds__(ELEMENTWISE_THREADS)
    reflex_softcap_vec8(const __grid_constant__ softcap_args a) {
    pdl_begin();
    softcap<8>(a);
}
extern "C" __global__ void __launch_bounds__(ELEMENTWISE_THREADS)
    reflex_softcap_scalar(const __grid_constant__ softcap_args a) {
    pdl_begin();
    softcap<1>(a);
}
