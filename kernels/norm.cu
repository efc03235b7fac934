// Entry points of reflex_norm. `vec8` wants every row 16-byte aligned and dim a multiple of 8.
#include "common/launch.cuh"
#include "norm.cuh"

using namespace reflex;

extern "C" __global__ void __launch_bounds__(reflex::NORM_WARPS *reflex::WARP)
    reflex_norm_warp_vec8(const __grid_constant__ norm_args a) {
    pdl_begin();
    norm_warp<8>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::NORM_WARPS *reflex::WARP)
    reflex_norm_warp(const __grid_constant__ norm_args a) {
    pdl_begin();
    norm_warp<1>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::NORM_BLOCK_THREADS)
    reflex_norm_block_vec8(const __grid_constant__ norm_args a) {
    pdl_begin();
    norm_block<8>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::NORM_BLOCK_THREADS)
    reflex_norm_block(const __grid_constant__ norm_args a) {
    pdl_begin();
    norm_block<1>(a);
}
