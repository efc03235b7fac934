// Entry points of reflex_softmax. `vec8` wants every row 16-byte aligned and n a multiple of 8.
#include "common/launch.cuh"
#include "softmax.cuh"

using namespace reflex;

extern "C" __global__ void __launch_bounds__(reflex::SOFTMAX_WARPS *reflex::WARP)
    reflex_softmax_warp_vec8(const __grid_constant__ softmax_args a) {
    pdl_begin();
    softmax_warp<8>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::SOFTMAX_WARPS *reflex::WARP)
    reflex_softmax_warp(const __grid_constant__ softmax_args a) {
    pdl_begin();
    softmax_warp<1>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::SOFTMAX_BLOCK_THREADS)
    reflex_softmax_block_vec8(const __grid_constant__ softmax_args a) {
    pdl_begin();
    softmax_block<8>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::SOFTMAX_BLOCK_THREADS)
    reflex_softmax_block(const __grid_constant__ softmax_args a) {
    pdl_begin();
    softmax_block<1>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::SOFTMAX_LONG_THREADS)
    reflex_softmax_long_vec8(const __grid_constant__ softmax_args a) {
    pdl_begin();
    softmax_long<8>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::SOFTMAX_LONG_THREADS)
    reflex_softmax_long(const __grid_constant__ softmax_args a) {
    pdl_begin();
    softmax_long<1>(a);
}
