// Entry points of reflex_sample. `vec8` wants every row 16-byte aligned and n a multiple of 8.
#include "common/launch.cuh"
#include "sample.cuh"

using namespace reflex;

extern "C" __global__ void __launch_bounds__(reflex::SAMPLE_THREADS)
    reflex_sample_vec8(const __grid_constant__ sample_args a) {
    pdl_begin();
    sample<8>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::SAMPLE_THREADS)
    reflex_sample_scalar(const __grid_constant__ sample_args a) {
    pdl_begin();
    sample<1>(a);
}
