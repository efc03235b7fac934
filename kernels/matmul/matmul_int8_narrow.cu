#include "matmul/int8/narrow.cuh"

using namespace reflex;

// Where a launch may begin before the one in front has ended, room for its blocks is worth more than registers.
#if __CUDA_ARCH__ >= 900
#define NARROW_REGISTERS 80
#else
#define NARROW_REGISTERS 128
#endif

// The formats that files mix in one launch share a kernel; src/ops/matmul/int8.rs has the same list.
#define REFLEX_FORMAT(type, format) int8_format<type, tiles::format>
#define REFLEX_KERNEL(name, ...)                                                \
    extern "C" __global__ void __maxnreg__(NARROW_REGISTERS)                    \
        reflex_matmul_int8_narrow_##name(const __grid_constant__ int8_args a) { \
        int8_narrow_product<int8_formats<__VA_ARGS__>>(a);                      \
    }

REFLEX_KERNEL(q4_k_q6_k, REFLEX_FORMAT(Q4_K, q4_k), REFLEX_FORMAT(Q6_K, q6_k))
REFLEX_KERNEL(q5_k_q6_k, REFLEX_FORMAT(Q5_K, q5_k), REFLEX_FORMAT(Q6_K, q6_k))
REFLEX_KERNEL(q3_k_q5_k, REFLEX_FORMAT(Q3_K, q3_k), REFLEX_FORMAT(Q5_K, q5_k))
REFLEX_KERNEL(q2_k_q3_k, REFLEX_FORMAT(Q2_K, q2_k), REFLEX_FORMAT(Q3_K, q3_k))
REFLEX_KERNEL(iq4_xs_q5_k, REFLEX_FORMAT(IQ4_XS, iq4_xs), REFLEX_FORMAT(Q5_K, q5_k))
REFLEX_KERNEL(iq4_nl, REFLEX_FORMAT(IQ4_NL, iq4_nl))
REFLEX_KERNEL(mxfp4, REFLEX_FORMAT(MXFP4, mxfp4))
REFLEX_KERNEL(q4_0, REFLEX_FORMAT(Q4_0, q4_0))
REFLEX_KERNEL(q4_1, REFLEX_FORMAT(Q4_1, q4_1))
REFLEX_KERNEL(q5_0, REFLEX_FORMAT(Q5_0, q5_0))
REFLEX_KERNEL(q5_1, REFLEX_FORMAT(Q5_1, q5_1))
REFLEX_KERNEL(q8_0, REFLEX_FORMAT(Q8_0, q8_0))
REFLEX_KERNEL(q4_k, REFLEX_FORMAT(Q4_K, q4_k))
