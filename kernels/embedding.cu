// Entry points of reflex_embedding. `vec8` wants every row of y 16-byte aligned and dim a multiple of 8.
#include "common/launch.cuh"
#include "embedding.cuh"

using namespace reflex;

extern "C" __global__ void __launch_bounds__(reflex::EMBEDDING_THREADS)
    reflex_embedding_vec8(const __grid_constant__ embedding_args a) {
    pdl_begin();
    embedding<8, false>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::EMBEDDING_THREADS)
    reflex_embedding(const __grid_constant__ embedding_args a) {
    pdl_begin();
    embedding<1, false>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::EMBEDDING_THREADS)
    reflex_embedding_packed_vec8(const __grid_constant__ embedding_args a) {
    pdl_begin();
    embedding<8, true>(a);
}
extern "C" __global__ void __launch_bounds__(reflex::EMBEDDING_THREADS)
    reflex_embedding_packed(const __grid_constant__ embedding_args a) {
    pdl_begin();
    embedding<1, true>(a);
}
