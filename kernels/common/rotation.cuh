// The angles of the rotary position embedding, and the norm and the rotation of a head that a group of lanes holds: what
// reflex_rope and reflex_attention_decode share. Sums and products are spelled out, so that both give the same bits.
#pragma once

#include "common/types.cuh"

namespace reflex {

struct rope_angles {
    const float *freq_factors;  // [rotary_dim / 2] or NULL
    // Turns per position of pair 16 a + b are coarse[a] * fine[b]; each is the sum of two floats.
    float2 coarse[32], fine[16];
    i32 rotary_dim;
    float magnitude;
};

// x modulo 1 in units of 2^-64. Whole turns do not matter, also not after a product with an integer position.
__device__ __forceinline__ u64 rope_fixed(float x) {
    return (u64)__float2ll_rn((x - rintf(x)) * 18446744073709551616.0f);
}

// Cosine and sine of pair i. An f32 angle would be off by 0.03 at position 1e6 and be reduced by slow code; here the
// frequency has 46 bits or more, and the product with the position wraps exactly at whole turns.
__device__ __forceinline__ float2 rope_rotation(const rope_angles &a, i32 position, i32 i) {
    const float2 c = a.coarse[i >> 4], f = a.fine[i & 15];
    // Not contracted: lo is the error of this very product.
    float hi = __fmul_rn(c.x, f.x);
    float lo = __fadd_rn(__fmaf_rn(c.x, f.x, -hi), __fmaf_rn(c.x, f.y, __fmul_rn(c.y, f.x)));
    if (a.freq_factors) {
        const float factor = a.freq_factors[i];
        const float quotient = __fdiv_rn(hi, factor);
        lo = __fdiv_rn(__fadd_rn(__fmaf_rn(-quotient, factor, hi), lo), factor);
        hi = quotient;
    }
    const u64 turns = (rope_fixed(hi) + rope_fixed(lo)) * (u64)(i64)position;
    // The last term is 0, or NaN where the factor gave no frequency.
    const float half_turns =
        __fmaf_rn((float)(i64)turns, 1.0f / 9223372036854775808.0f, __fmul_rn(__fadd_rn(hi, lo), 0.0f));
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
