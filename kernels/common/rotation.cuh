// The angles of the rotary position embedding, and the norm and the rotation of a head that a group of lanes holds: what
// reflex_rope and reflex_attention_decode share. Sums and products are spelled out, so that both give the same bits.
#pragma once

#include "common/types.cuh"

namespace reflex {

struct rope_angles {
    const float *freq_factors;  // [rotary_dim / 2] or NULL
    // Turns per position of pair 16 a + b are coarse[a] * fine[b]. Each number is the 53 bits of a double's mantissa above
    // the 11 bits of its biased exponent.
    u64 coarse[ROPE_COARSE], fine[ROPE_FINE];
    i32 rotary_dim;
    float magnitude;
};

// mantissa * 2^exponent turns per position, in units of 2^-64 turns. The mantissa is not normalized.
struct rope_frequency {
    u64 mantissa;
    i32 exponent;
};

// Off by less than 2^-60 of itself: the product of the lower halves is left out.
__device__ __forceinline__ rope_frequency rope_product(u64 a, u64 b) {
    constexpr u32 EXPONENT = 2047;
    const u32 a0 = (u32)a & ~EXPONENT, a1 = (u32)(a >> 32), b0 = (u32)b & ~EXPONENT, b1 = (u32)(b >> 32);
    rope_frequency f;
    f.mantissa = (u64)a1 * b1 + __umulhi(a1, b0) + __umulhi(a0, b1);
    // A number's mantissa has 64 bits here: it is 2^(1086 - exponent) times the number.
    f.exponent = (i32)(((u32)a & EXPONENT) + ((u32)b & EXPONENT)) - (2 * 1086 - 64 - 64);
    return f;
}

// Divided by the size of a factor that is finite and not 0, off by less than 2^-55 of itself: a step of Newton's makes the
// reciprocal of the factor's mantissa good to 2^-30, and what is left of its error is known exactly.
__device__ __forceinline__ rope_frequency rope_quotient(rope_frequency f, float factor) {
    const bool subnormal = fabsf(factor) < 1.17549435e-38f;
    const u32 bits = __float_as_uint(subnormal ? __fmul_rn(factor, 16777216.0f) : factor);
    const u32 mantissa = (bits & 0x7fffffu) | 0x800000u;
    float inverse;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(__uint_as_float((bits & 0x7fffffu) | 0x3f800000u)));
    const u32 r24 = (u32)__float2int_rn(__fmul_rn(inverse, 16777216.0f));  // about 2^47 / mantissa
    const i32 error24 = (i32)(0u - mantissa * r24);                        // 1 - mantissa * r24 / 2^47, times 2^47
    const u32 r31 = (r24 << 7) + (u32)(__mulhi((i32)r24, error24) >> 8);   // about 2^54 / mantissa
    const i32 error31 = (i32)(0u - mantissa * r31);                        // 1 - mantissa * r31 / 2^54, times 2^54
    const u64 q = (f.mantissa >> 32) * r31 + __umulhi((u32)f.mantissa, r31);
    f.mantissa = q + (u64)((i64)__mulhi((i32)(q >> 32), error31 << 6) * 16);
    f.exponent += 1 + 127 + (subnormal ? 24 : 0) - (i32)(bits >> 23 & 255);
    return f;
}

// Cosine and sine of pair i. An f32 angle would be off by 0.03 at position 1e6 and be reduced by slow code. Here the
// frequency is good to 2^-50 of itself, which is what the host's doubles give, and its product with the position wraps
// exactly at whole turns.
__device__ __forceinline__ float2 rope_rotation(const rope_angles &a, i32 position, i32 i) {
    static_assert(ROPE_FINE == 16, "four bits of a pair's number");
    rope_frequency f = rope_product(a.coarse[i >> 4], a.fine[i & 15]);
    i64 times = position;
    float none = 0.0f;  // NaN where there is no frequency
    if (a.freq_factors) {
        const float factor = a.freq_factors[i];
        f = rope_quotient(f, factor);
        if (factor < 0.0f) times = -times;
        if (!(fabsf(factor) > 0.0f && fabsf(factor) <= 3.40282347e38f)) none = __int_as_float(0x7fffffff);
    }
    // From 63 on nothing is left, or nothing that means anything.
    u64 turns = f.exponent < 0 ? f.mantissa >> min(-f.exponent, 63) : f.mantissa << min(f.exponent, 63);
    turns *= (u64)times;
    const float half_turns = __fmaf_rn((float)(i64)turns, 1.0f / 9223372036854775808.0f, none);
    float2 r;
    sincospif(half_turns, &r.y, &r.x);
    r.x = __fmul_rn(r.x, a.magnitude), r.y = __fmul_rn(r.y, a.magnitude);
    return r;
}

// By the whole block; a barrier is to follow.
__device__ __forceinline__ void rope_rotations(const rope_angles &a, i32 position, float2 *rotation) {
    for (i32 i = threadIdx.x; i < a.rotary_dim / 2; i += blockDim.x) rotation[i] = rope_rotation(a, position, i);
}

__device__ __forceinline__ float rope_norm_scale(float epsilon, i32 dim, float squares) {
    return rsqrtf(__fadd_rn(__fdiv_rn(squares, (float)dim), epsilon));
}

// Pairs of neighbours, the first of which is number `pair`.
template <int PAIRS> __device__ __forceinline__ void rope_rotate_pairs(float (&v)[2 * PAIRS], const float2 *rotation,
                                                                       i32 pair) {
#pragma unroll
    for (int k = 0; k < PAIRS; k++) {
        const float2 r = rotation[pair + k];
        const float first = __fmaf_rn(v[2 * k], r.x, -__fmul_rn(v[2 * k + 1], r.y));
        v[2 * k + 1] = __fmaf_rn(v[2 * k + 1], r.x, __fmul_rn(v[2 * k], r.y));
        v[2 * k] = first;
    }
}

// A head in `lanes` neighbouring lanes, a power of two, eight elements each, zeros beyond its end. All lanes of the warp
// come to the functions below together; each says for the head that it holds part of whether there is something to do.

__device__ __forceinline__ void rope_lanes_norm(float (&v)[8], const float (&weight)[8], i32 lanes, i32 dim,
                                                float epsilon, bool normed) {
    float squares = 0.0f;
#pragma unroll
    for (int k = 0; k < 8; k++) squares = __fmaf_rn(v[k], v[k], squares);
    for (i32 offset = lanes / 2; offset > 0; offset /= 2)
        squares = __fadd_rn(squares, __shfl_xor_sync(FULL_MASK, squares, offset));
    if (!normed) return;
    const float scale = rope_norm_scale(epsilon, dim, squares);
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] = __fmul_rn(v[k], __fmul_rn(scale, weight[k]));
}

// `i` is the first of this lane's elements; rotary_dim is a multiple of 16 (NeoX) or 8.
template <bool NEOX> __device__ __forceinline__ void rope_lanes_rotate(float (&v)[8], const float2 *rotation,
                                                                       i32 rotary_dim, i32 i, bool rotated) {
    rotated = rotated && i < rotary_dim;
    if constexpr (NEOX) {
        // The lane that holds the other elements of this one's pairs.
        const i32 half = rotary_dim / 2;
        const bool second = i >= half;
        const i32 other = (i32)(threadIdx.x % WARP) + (rotated ? (second ? -half : half) / 8 : 0);
        float pair[8];
#pragma unroll
        for (int k = 0; k < 8; k++) pair[k] = __shfl_sync(FULL_MASK, v[k], other);
        if (!rotated) return;
        const float2 *r = rotation + i - (second ? half : 0);
#pragma unroll
        for (int k = 0; k < 8; k++) v[k] = __fmaf_rn(v[k], r[k].x, __fmul_rn(second ? pair[k] : -pair[k], r[k].y));
    } else {
        if (rotated) rope_rotate_pairs<4>(v, rotation, i / 2);
    }
}

}  // namespace reflex
