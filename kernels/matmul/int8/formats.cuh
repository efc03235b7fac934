// Kernels for a few formats each: the groups of formats.def.
#pragma once

#include "common/tile/formats.cuh"
#include "common/types.cuh"

namespace reflex {

template <u32 TYPE> struct int8_format;
#define REFLEX_FORMAT(NAME, name, ...)     \
    template <> struct int8_format<NAME> { \
        using tile = tiles::name;          \
    };
REFLEX_BLOCK_FORMATS(REFLEX_FORMAT)
#undef REFLEX_FORMAT

// TYPES: those among which a launch's are. `work.run<T>()` does what there is to do with one of them.
template <u32... TYPES> struct int8_formats;
template <> struct int8_formats<> {
    template <class Work> static __device__ __forceinline__ void run(u32, Work &&) {}
};
template <u32 TYPE, u32... MORE> struct int8_formats<TYPE, MORE...> {
    template <class Work> static __device__ __forceinline__ void run(u32 type, Work &&work) {
        if (sizeof...(MORE) > 0 && type != TYPE) return int8_formats<MORE...>::run(type, work);
        work.template run<typename int8_format<TYPE>::tile>();
    }
};

}  // namespace reflex
