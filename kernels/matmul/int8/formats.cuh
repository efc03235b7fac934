// Formats that files mix in one launch share a kernel: its instructions come with it, and are few. src/ops/matmul/int8/shape.rs has the
// same list.
#pragma once

#include "common/tile.cuh"
#include "common/types.cuh"

#define REFLEX_FORMAT(type, format) int8_format<type, tiles::format>
#define REFLEX_INT8_KERNEL(kernel, registers, product, group, ...)                   \
    extern "C" __global__ void __maxnreg__(registers)                                \
        reflex_matmul_int8_##kernel##_##group(const __grid_constant__ int8_args a) { \
        product(a, int8_formats<__VA_ARGS__>());                                     \
    }
#define REFLEX_INT8_KERNELS(kernel, registers, product)                                                             \
    REFLEX_INT8_KERNEL(kernel, registers, product, q4_k_q6_k, REFLEX_FORMAT(Q4_K, q4_k), REFLEX_FORMAT(Q6_K, q6_k)) \
    REFLEX_INT8_KERNEL(kernel, registers, product, q5_k_q6_k, REFLEX_FORMAT(Q5_K, q5_k), REFLEX_FORMAT(Q6_K, q6_k)) \
    REFLEX_INT8_KERNEL(kernel, registers, product, q3_k_q5_k, REFLEX_FORMAT(Q3_K, q3_k), REFLEX_FORMAT(Q5_K, q5_k)) \
    REFLEX_INT8_KERNEL(kernel, registers, product, q2_k_q3_k, REFLEX_FORMAT(Q2_K, q2_k), REFLEX_FORMAT(Q3_K, q3_k)) \
    REFLEX_INT8_KERNEL(kernel, registers, product, iq4_xs_q5_k, REFLEX_FORMAT(IQ4_XS, iq4_xs),                      \
                       REFLEX_FORMAT(Q5_K, q5_k))                                                                   \
    REFLEX_INT8_KERNEL(kernel, registers, product, iq4_nl, REFLEX_FORMAT(IQ4_NL, iq4_nl))                           \
    REFLEX_INT8_KERNEL(kernel, registers, product, mxfp4, REFLEX_FORMAT(MXFP4, mxfp4))                              \
    REFLEX_INT8_KERNEL(kernel, registers, product, q4_0, REFLEX_FORMAT(Q4_0, q4_0))                                 \
    REFLEX_INT8_KERNEL(kernel, registers, product, q4_1, REFLEX_FORMAT(Q4_1, q4_1))                                 \
    REFLEX_INT8_KERNEL(kernel, registers, product, q5_0, REFLEX_FORMAT(Q5_0, q5_0))                                 \
    REFLEX_INT8_KERNEL(kernel, registers, product, q5_1, REFLEX_FORMAT(Q5_1, q5_1))                                 \
    REFLEX_INT8_KERNEL(kernel, registers, product, q8_0, REFLEX_FORMAT(Q8_0, q8_0))

namespace reflex {

// FORMATS: those among which a launch's are. `work.run<T>()` does what there is to do with one of them.
template <class... FORMATS> struct int8_formats;
template <> struct int8_formats<> {
    template <class Work> static __device__ __forceinline__ void run(u32, Work &&) {}
};
template <class F, class... MORE> struct int8_formats<F, MORE...> {
    template <class Work> static __device__ __forceinline__ void run(u32 type, Work &&work) {
        if (sizeof...(MORE) > 0 && type != F::TYPE) return int8_formats<MORE...>::run(type, work);
        work.template run<typename F::tile>();
    }
};
template <u32 T, class Tile> struct int8_format {
    static constexpr u32 TYPE = T;
    using tile = Tile;
};

}  // namespace reflex
