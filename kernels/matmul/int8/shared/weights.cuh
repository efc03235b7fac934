// A block of a packed tile as the f16 tensor cores take it: its quants alone, or times its scales, in units of a factor that
// the row has for all 256 elements (tile_factors).
#pragma once

#include "matmul/int8/columns.cuh"

namespace reflex {

// (v & mask) | 1024 in both halves, in one instruction: the compiler makes two of it.
__device__ __forceinline__ u32 field_above_1024(u32 v, u32 mask) {
    u32 out;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(out) : "r"(v), "r"(mask), "r"(0x64006400u));
    return out;
}

// Formats of four bits and no more.
template <class F> constexpr bool FOURS = F::NIBBLES && !F::HIGH;

// Elements of block b that go with even and odd bytes of word w, above 1024 (1152 where signed).
template <class F> struct raw_block {
    u32 v[4];
    raw_block() = default;
    __device__ __forceinline__ raw_block(const char *tile, i32 lane, i32 b) {
        if constexpr (FOURS<F>) {
            const uint4 q = tiles::words16(tile + b / 2 * 512, lane);
            v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
        } else {
            F::words(tile, lane, b, v);
        }
    }
    __device__ __forceinline__ __half2 get(i32 b, i32 i, i32 odd) const {
        // A nibble of two bytes is one masking away from being an f16.
        if constexpr (FOURS<F>)
            return half2_of(field_above_1024(odd ? v[i] >> 8 : v[i], b & 1 ? 0x00f000f0u : 0x000f000fu));
        else return bytes_above_1024<F::SIGNED>(v[i], odd);
    }
};

// A step's block b, even or odd alike: what is known of b when compiling is b % 4.
template <class F>
__device__ __forceinline__ void half_block(const raw_block<F> &raw, i32 b, const u32 (&s)[F::GROUPS], u32 (&a)[2][4]) {
    constexpr int CHAINS = F::GROUPS / 2;
    const __half2 zero = __float2half2_rn((F::SIGNED ? 1152.0f : 1024.0f) + (float)(F::OFFSET * F::scale_of(b)));
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
        for (int w = 0; w < 2; w++) {
            const __half2 factor = twice(s[(b & 1) * CHAINS + (CHAINS == 2 ? w : 0)], half);
#pragma unroll
            for (int odd = 0; odd < 2; odd++) {
                const __half2 q = raw.get(b, 2 * w + half, odd);
                const __half2 value = F::FUSED ? __hfma2(q, factor, __hneg2(__hmul2_rn(zero, factor)))
                                               : __hmul2_rn(__hsub2_rn(q, zero), factor);
                a[w][2 * odd + half] = bits_of(value);
            }
        }
}

// The same without scales, in units of 2^-24: an f16 below 1024 of these is an integer, and the tensor cores take it as
// it is.
constexpr float TINY_UNITS = 16777216.0f;

template <class F>
__device__ __forceinline__ void tiny_block(const char *tile, i32 lane, i32 b, u32 (&a)[2][4]) {
    const raw_block<F> raw(tile, lane, b);
    const u32 field = FOURS<F> ? (b & 1 ? 0x00f000f0u : 0x000f000fu) : 0x00ff00ffu;
    const u32 zero = ((F::SIGNED ? 128 : 0) + F::OFFSET * F::scale_of(b)) * 0x00010001u;
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
        for (int w = 0; w < 2; w++) {
            const u32 v = F::SIGNED ? raw.v[2 * w + half] ^ 0x80808080u : raw.v[2 * w + half];
#pragma unroll
            for (int odd = 0; odd < 2; odd++) {
                const u32 q = (odd ? v >> 8 : v) & field;
                a[w][2 * odd + half] =
                    F::SIGNED || F::OFFSET != 0 ? bits_of(__hsub2_rn(half2_of(q), half2_of(zero))) : q;
            }
        }
}

}  // namespace reflex
