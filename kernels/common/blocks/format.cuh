// What block formats share: loads of words that are not aligned, bytes as floats, and all that follows from a format's
// quants and scales.
//
// Integers become floats without a conversion instruction (those run at a fraction of the arithmetic rate). Exactly: a byte
// goes to the bottom of the mantissa of a float whose exponent says [2^23, 2^24). For one fused multiply-add: a field of b
// bits goes to the top of the mantissa of a float whose exponent says [1, 2), and reads as u = 1 + q / 2^b.
#pragma once

#include "common/types.cuh"

namespace reflex::weight {

// N words from an address that is a multiple of 2. Where it is 2 modulo 4 the two bytes before it are read too: they
// belong to the same tensor, whose data is a multiple of 4.
template <int N> __device__ __forceinline__ void load_words(const char *p, u32 (&w)[N]) {
    const u32 odd = (u32) reinterpret_cast<u64>(p) & 2u;
    const u32 *from = reinterpret_cast<const u32 *>(p - odd);
    u32 t[N + 1];
#pragma unroll
    for (int i = 0; i < N; i++) t[i] = from[i];
    t[N] = odd ? *reinterpret_cast<const u16 *>(p + 4 * N - 2) : 0;
#pragma unroll
    for (int i = 0; i < N; i++) w[i] = __funnelshift_r(t[i], t[i + 1], odd * 8);
}

// N words from any address. Up to three bytes before it are read, as above, and none behind.
template <int N> __device__ __forceinline__ void load_words_anywhere(const char *p, u32 (&w)[N]) {
    const u32 odd = (u32) reinterpret_cast<u64>(p) & 3u;
    const char *from = p - odd, *tail = from + 4 * N;
    u32 t[N + 1];
#pragma unroll
    for (int i = 0; i < N; i++) t[i] = reinterpret_cast<const u32 *>(from)[i];
    t[N] = odd & 2 ? *reinterpret_cast<const u16 *>(tail) : 0;
    if (odd & 1) t[N] |= (u32) * reinterpret_cast<const u8 *>(tail + (odd & 2)) << (odd & 2) * 8;
#pragma unroll
    for (int i = 0; i < N; i++) w[i] = __funnelshift_r(t[i], t[i + 1], odd * 8);
}

// N words from a multiple of 4.
template <int N> __device__ __forceinline__ void load_aligned_words(const char *p, u32 (&w)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) w[i] = reinterpret_cast<const u32 *>(p)[i];
}

__device__ __forceinline__ float half_at(const char *p) { return __half2float(*reinterpret_cast<const __half *>(p)); }
__device__ __forceinline__ float low_half(u32 bits) { return __half2float(__ushort_as_half((u16)bits)); }
__device__ __forceinline__ float high_half(u32 bits) { return __half2float(__ushort_as_half((u16)(bits >> 16))); }

// Eight bytes less `offset`, exactly.
__device__ __forceinline__ void bytes8(u32 q0, u32 q1, i32 offset, float (&w)[8]) {
    const float zero = (float)((1 << 23) + offset);
#pragma unroll
    for (int e = 0; e < 4; e++) {
        w[e] = __uint_as_float(__byte_perm(q0, 0x4b000000u, 0x7650 + e)) - zero;
        w[4 + e] = __uint_as_float(__byte_perm(q1, 0x4b000000u, 0x7650 + e)) - zero;
    }
}

// Eight mantissa bytes (top bit set) as floats in [1, 2).
__device__ __forceinline__ void mantissa8(u32 t0, u32 t1, float (&u)[8]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        u[i] = __uint_as_float(__byte_perm(t0, 0x3f000000u, 0x7044 | i << 8));
        u[4 + i] = __uint_as_float(__byte_perm(t1, 0x3f000000u, 0x7044 | i << 8));
    }
}

// The low (plane 0) or high (plane 1) nibbles of eight bytes.
__device__ __forceinline__ void nibbles8(u32 w0, u32 w1, u32 plane, u32 &q0, u32 &q1) {
    q0 = w0 >> 4 * plane & 0x0f0f0f0fu, q1 = w1 >> 4 * plane & 0x0f0f0f0fu;
}

// Of a power of two.
__device__ constexpr i32 log2_of(i32 n) { return n > 1 ? 1 + log2_of(n / 2) : 0; }

// The base of a format F. A piece holds the quants of RUNS runs of eight that lie APART elements from one another.
template <class F, int RUNS, int APART> struct block_format {
    static constexpr bool BLOCKS = true;
    static constexpr int PIECES = RUNS, CHUNK = 8 * RUNS;
    // So many pieces of a chunk in a row have one scale. They ask for it by the same element, lest it be unpacked for each.
    static constexpr int SAME_SCALE = APART < 32 ? 32 / APART : 1;

    static __device__ __forceinline__ auto load8(const char *row, i32 i, i32, bool) {
        return F::at(row + (i64)(i >> log2_of(F::ELEMENTS)) * F::BYTES, i & (F::ELEMENTS - 1));
    }
    template <class P> static __device__ __forceinline__ void exact8(const P &p, i32 i, float (&w)[8]) {
        expand8(p, i, i, w);
    }
    // `same` is any element that shares its scale with i.
    template <class P> static __device__ __forceinline__ void expand8(const P &p, i32 i, i32 same, float (&w)[8]) {
        u32 q0, q1;
        float scale, minimum;
        F::quants8(p, i, q0, q1);
        F::scale8(p, same, scale, minimum);
        if constexpr (F::SIGNED) bytes8(q0 ^ 0x80808080u, q1 ^ 0x80808080u, 128 + F::OFFSET, w);
        else bytes8(q0, q1, F::OFFSET, w);
#pragma unroll
        for (int e = 0; e < 8; e++) {
            w[e] = __fmul_rn(scale, w[e]);
            if constexpr (F::MINIMUM) w[e] = __fsub_rn(w[e], minimum);
        }
    }

    // A chunk is a piece. Formats for which it is not have a `load` and a `part` of their own, or `element` too.
    static __device__ __forceinline__ auto load(const char *row, i32 c, i32, bool) {
        return F::at(row + (i64)(c >> log2_of(F::ELEMENTS / CHUNK)) * F::BYTES,
                     F::element(c & (F::ELEMENTS / CHUNK - 1), 0));
    }
    static __device__ __forceinline__ i32 element(i32 c, int p) {
        constexpr i32 STARTS = APART / 8;
        return (c >> log2_of(STARTS)) * (APART * RUNS) + (c & (STARTS - 1)) * 8 + p * APART;
    }
    template <class C> static __device__ __forceinline__ const C &part(const C &v, i32, int) { return v; }

    template <class C> static __device__ __forceinline__ void weights(const C &v, i32 c, int p, float (&w)[8]) {
        const auto &piece = F::part(v, c, p);
        const i32 i = F::element(c, p), first = F::element(c, p / F::SAME_SCALE * F::SAME_SCALE);
        if constexpr (F::SIGNED) {
            // Eight bits do not fit above: one instruction more, and exact.
            expand8(piece, i, first, w);
        } else {
            u32 q0, q1;
            float scale, minimum;
            F::quants8(piece, i, q0, q1);
            F::scale8(piece, first, scale, minimum);
            constexpr float ONE = 1 << F::BITS, ZERO = ONE + F::OFFSET;
            constexpr u32 LEFT = 7 - F::BITS;
            mantissa8(q0 << LEFT | 0x80808080u, q1 << LEFT | 0x80808080u, w);
            const float a = ONE * scale, b = F::MINIMUM ? fmaf(-ZERO, scale, -minimum) : -ZERO * scale;
#pragma unroll
            for (int e = 0; e < 8; e++) w[e] = fmaf(a, w[e], b);
        }
    }
};

}  // namespace reflex::weight
