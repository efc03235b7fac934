// Entry points of reflex_rope. `heads` and `vec8` want every row 16-byte aligned, head sizes that are multiples of 8, and
// rotary_dim a multiple of 16 (NeoX) or 8 (interleaved); `heads` also head sizes of at most 256.
#include "common/launch.cuh"
#include "rope.cuh"

using namespace reflex;

extern "C" __global__ void __launch_bounds__(reflex::ROPE_THREADS)
    reflex_rope_neox_heads(const __grid_constant__ rope_args a) {
    pdl_begin();
    rope_heads<true>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ROPE_THREADS)
    reflex_rope_neox_vec8(const __grid_constant__ rope_args a) {
    pdl_begin();
    rope_items<8, true>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ROPE_THREADS)
    reflex_rope_neox(const __grid_constant__ rope_args a) {
    pdl_begin();
    rope_items<1, true>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ROPE_THREADS)
    reflex_rope_interleaved_heads(const __grid_constant__ rope_args a) {
    pdl_begin();
    rope_heads<false>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ROPE_THREADS)
    reflex_rope_interleaved_vec8(const __grid_constant__ rope_args a) {
    pdl_begin();
    rope_items<8, false>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::ROPE_THREADS)
    reflex_rope_interleaved(const __grid_constant__ rope_args a) {
    pdl_begin();
    rope_items<1, false>(a);
}
