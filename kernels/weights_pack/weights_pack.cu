// Entry points of reflex_weights_pack and reflex_weights_unpack: each format both ways, and the copy of what stays native.
#include "weights_pack/weights_pack.cuh"

#define REFLEX_WEIGHTS_PACK(NAME, format, ...)                                                \
    extern "C" __global__ void __launch_bounds__(reflex::WEIGHTS_PACK_THREADS)                \
        reflex_weights_pack_##format(const __grid_constant__ reflex::weights_pack_args a) {   \
        reflex::weights_pack<reflex::packed::format>(a);                                      \
    }                                                                                         \
    extern "C" __global__ void __launch_bounds__(reflex::WEIGHTS_PACK_THREADS)                \
        reflex_weights_unpack_##format(const __grid_constant__ reflex::weights_pack_args a) { \
        reflex::weights_unpack<reflex::packed::format>(a);                                    \
    }

REFLEX_BLOCK_FORMATS(REFLEX_WEIGHTS_PACK)

extern "C" __global__ void __launch_bounds__(reflex::WEIGHTS_PACK_THREADS)
    reflex_weights_pack_copy(const __grid_constant__ reflex::weights_pack_copy_args a) {
    reflex::weights_pack_copy(a);
}
