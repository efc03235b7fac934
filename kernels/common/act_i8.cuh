// Quantised activations (REFLEX_DTYPE_ACT_I8), bit for bit as src/cpu/act_i8.rs makes them.
//
// A row of k elements (a multiple of 32) is k signed bytes q, then k / 32 records, one for each 32 elements. A row is
// 16-byte aligned. An element is d * q: with a = max |x| of its block, d = a / 127 and q = x * (127 / a), rounded to
// nearest even.
#pragma once

#include "common/element.cuh"

namespace reflex {

struct act_i8_record {
    float d;
    short s0, s1;  // sums of the block's first 16 q and of its last 16
};
static_assert(sizeof(act_i8_record) == ACT_I8_RECORD, "two words");

// The quant of element i and the record of its block, in a row of k elements, at most 2^30.
__device__ __forceinline__ i8 *act_i8_quants(void *row, u32 i) { return static_cast<i8 *>(row) + i; }
__device__ __forceinline__ const i8 *act_i8_quants(const void *row, u32 i) { return static_cast<const i8 *>(row) + i; }
__device__ __forceinline__ act_i8_record *act_i8_records(void *row, u32 k, u32 i) {
    return reinterpret_cast<act_i8_record *>(static_cast<char *>(row) + k) + i / ACT_I8_BLOCK;
}
__device__ __forceinline__ const act_i8_record *act_i8_records(const void *row, u32 k, u32 i) {
    return reinterpret_cast<const act_i8_record *>(static_cast<const char *>(row) + k) + i / ACT_I8_BLOCK;
}

// Bits of the magnitude. Magnitudes are ordered as their bits are, NaN above infinity: one integer maximum finds both the
// largest and a NaN.
__device__ __forceinline__ u32 act_i8_magnitude(float x) { return __float_as_uint(x) & 0x7fffffffu; }

// Scale of a block from the bits of its largest magnitude. `x` are any of its elements: where the block has no finite
// scale they become what `inverse` is then right for.
template <int N> __device__ __forceinline__ float act_i8_scale(u32 amax_bits, float (&x)[N], float &inverse) {
    const float amax = __uint_as_float(amax_bits);
    inverse = __fdiv_rn(127.0f, amax);
    float d = __fdiv_rn(amax, 127.0f);
    // Not finite, or so small that the inverse is not: rare, and the same for all lanes of a block.
    if (amax_bits >= 0x7f800000u || inverse == REFLEX_INF) {
        const bool infinite = amax_bits == 0x7f800000u;
        inverse = infinite ? 127.0f : 0.0f;
        d = infinite ? REFLEX_INF : amax_bits > 0x7f800000u ? __uint_as_float(0x7fc00000u) : 0.0f;
#pragma unroll
        for (int k = 0; k < N; k++)
            x[k] = infinite && act_i8_magnitude(x[k]) == 0x7f800000u ? copysignf(1.0f, x[k]) : 0.0f;
    }
    return d;
}

// q in the low byte; the other bytes hold something else. Adding 1.5 * 2^23 leaves an integer, rounded to nearest even, in
// the low bits. Rounding takes x * inverse above 127 by less than 2^-15: nothing to clamp.
__device__ __forceinline__ u32 act_i8_round(float x, float inverse) {
    return __float_as_uint(__fadd_rn(__fmul_rn(x, inverse), 12582912.0f));
}

// Four quants, from such words.
__device__ __forceinline__ u32 act_i8_pack(u32 a, u32 b, u32 c, u32 d) {
    return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}

// Over each LANES neighbouring lanes of a whole warp.
template <int LANES> __device__ __forceinline__ u32 act_i8_max(u32 v) {
#if __CUDA_ARCH__ >= 800
    if constexpr (LANES == 32) return __reduce_max_sync(FULL_MASK, v);
    else
#endif
    {
#pragma unroll
        for (int offset = LANES / 2; offset > 0; offset >>= 1) v = max(v, __shfl_xor_sync(FULL_MASK, v, offset));
        return v;
    }
}

template <int LANES> __device__ __forceinline__ u32 act_i8_sum(u32 v) {
#if __CUDA_ARCH__ >= 800
    if constexpr (LANES == 32) return __reduce_add_sync(FULL_MASK, v);
    else
#endif
    {
#pragma unroll
        for (int offset = LANES / 2; offset > 0; offset >>= 1) v += __shfl_xor_sync(FULL_MASK, v, offset);
        return v;
    }
}

// Quantises and stores elements i .. i + N of a row of k. Each block is held by 32 / N neighbouring lanes in its order, the
// first of them a multiple of 32 / N. All lanes of the warp come here together: a mask of some would cost more than the
// shuffles do. `there` is false for the lanes of a block that is not; they store nothing. Thread blocks are
// one-dimensional.
template <int N>
__device__ __forceinline__ void act_i8_store(void *row, u32 k, u32 i, const float (&v)[N], bool there = true) {
    static_assert(N == 1 || N == 4 || N == 8, "1, 4 or 8 elements a lane");
    constexpr int LANES = ACT_I8_BLOCK / N;
    float x[N];
    u32 amax = 0;
#pragma unroll
    for (int e = 0; e < N; e++) x[e] = v[e], amax = max(amax, act_i8_magnitude(v[e]));
    float inverse;
    const float d = act_i8_scale<N>(act_i8_max<LANES>(amax), x, inverse);

    i32 sum = 0;
    if constexpr (N == 1) {
        const i8 q = (i8)act_i8_round(x[0], inverse);
        if (there) *act_i8_quants(row, i) = q;
        sum = q;
    } else {
        u32 q[N / 4];
#pragma unroll
        for (int w = 0; w < N / 4; w++) {
            q[w] = act_i8_pack(act_i8_round(x[4 * w], inverse), act_i8_round(x[4 * w + 1], inverse),
                               act_i8_round(x[4 * w + 2], inverse), act_i8_round(x[4 * w + 3], inverse));
            sum = __dp4a((i32)q[w], 0x01010101, sum);
        }
        if (there) {
            if constexpr (N == 8) *reinterpret_cast<uint2 *>(act_i8_quants(row, i)) = make_uint2(q[0], q[1]);
            else *reinterpret_cast<u32 *>(act_i8_quants(row, i)) = q[0];
        }
    }
    // Both sums of the block in one word: lanes of its second half add to the upper 16 bits.
    u32 sums = act_i8_sum<LANES>((u32)sum << (i % ACT_I8_BLOCK < 16 ? 0 : 16));
    if (there && i % ACT_I8_BLOCK == 0) {
        sums += (sums & 0x8000u) << 1;  // what a negative lower sum took from the upper one
        *reinterpret_cast<uint2 *>(act_i8_records(row, k, i)) = make_uint2(__float_as_uint(d), sums);
    }
}

// Elements i .. i + N of a row of n activations of any type, where `there`. N is 8 (aligned rows), 4 (where ACT_I8 is not, those
// below n) or 1. All lanes of the warp come here together, as for act_i8_store.
template <int N>
__device__ __forceinline__ void store_activations(void *row, u32 type, i32 n, i32 i, const float (&v)[N], bool there) {
    if (type == ACT_I8) act_i8_store<N>(row, n, i, v, there);
    else if (there) {
        if constexpr (N == 4) store4(row, type, i, n, v);
        else store_n<N>(row, type, i, v);
    }
}

}  // namespace reflex
