// Kernels for a few formats each: the groups of formats.def.
#pragma once

#include "common/blocks.cuh"
#include "common/tile/formats.cuh"
#include "common/types.cuh"

namespace reflex {

template <u32 TYPE> struct int8_format;
#define REFLEX_FORMAT(NAME, name, ...)     \
    template <> struct int8_format<NAME> { \
        using tile = tiles::name;          \
        using native = weight::name;       \
    };
REFLEX_BLOCK_FORMATS(REFLEX_FORMAT)
#undef REFLEX_FORMAT

// The last format of formats.def. Switches over all formats have it as their default: the way to the others, and where their code lies, are
// then as they would be without it.
__host__ __device__ constexpr u32 int8_last_format() {
    u32 last = 0;
#define REFLEX_LAST(NAME, ...) last = NAME;
    REFLEX_BLOCK_FORMATS(REFLEX_LAST)
#undef REFLEX_LAST
    return last;
}
constexpr u32 INT8_LAST = int8_last_format();

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
