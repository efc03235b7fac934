// Entry points of reflex_attention_merge. `vec8` wants every row 16-byte aligned and dim a multiple of 8.
#include "attention_merge.cuh"
#include "common/launch.cuh"

using namespace reflex;

extern "C" __global__ void __launch_bounds__(ATTENTION_MERGE_THREADS)
    reflex_attention_merge_vec8(const __grid_constant__ attention_merge_args a) {
    pdl_begin();
    attention_merge<8>(a);
}
extern "C" __global__ void __launch_bounds__(ATTENTION_MERGE_THREADS)
    reflex_attention_merge_scalar(const __grid_constant__ attention_merge_args a) {
    pdl_begin();
    attention_merge<1>(a);
}
