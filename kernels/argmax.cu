// Entry points of reflex_argmax. `vec8` wants every row 16-byte aligned and n a multiple of 8. `combine` follows `split`.
#include "argmax.cuh"
#include "common/launch.cuh"

using namespace reflex;

extern "C" __global__ void __launch_bounds__(reflex::ARGMAX_THREADS)
    reflex_argmax_vec8(const __grid_constant__ argmax_args a) {
    pdl_begin();
    argmax<8>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ARGMAX_THREADS)
    reflex_argmax_scalar(const __grid_constant__ argmax_args a) {
    pdl_begin();
    argmax<1>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ARGMAX_SPLIT_THREADS)
    reflex_argmax_split_vec8(const __grid_constant__ argmax_args a) {
    pdl_begin();
    argmax_split<8>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ARGMAX_SPLIT_THREADS)
    reflex_argmax_split_scalar(const __grid_constant__ argmax_args a) {
    pdl_begin();
    argmax_split<1>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ARGMAX_SPLITS)
    reflex_argmax_combine(const __grid_constant__ argmax_args a) {
    pdl_begin();
    argmax_combine(a);
}
