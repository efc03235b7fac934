// A packed tile as the f16 tensor cores take it: quants times their blocks' scales, in units of a factor that the row
// has for all 256 elements.
//
// Where rows have no factor of their own they get one as the columns of x do: the power of two that takes the tile's
// largest scale to [128, 256). Small scales beside a large one lose bits only below 2^-24 of it.
//
// Bytes become f16 as 1024 + byte, of two bytes at a time, the even ones and the odd ones of a word.
#pragma once

#include "matmul/int8/columns.cuh"

namespace reflex {

// One panel's: the scales of a lane's two blocks, and what is left for the sums.
template <class F> struct tile_factors {
    static constexpr int CHAINS = F::GROUPS / 2;
    u32 scales[F::GROUPS];                  // of rows g and g + 8, divided by what the bytes have too much
    u32 minima[F::MINIMA ? CHAINS : 1][2];  // of rows g, g + 8: two neighbouring groups of the lane's
    // What the sums and the minima's are multiplied with: where rows have factors, these, as they lie in memory.
    u32 factors[2];

    __device__ __forceinline__ float row(i32 half) const {
        return F::ROW ? half_of_pair(factors[0], half) : __uint_as_float(factors[half]);
    }
    __device__ __forceinline__ float less(i32 half) const { return F::ROW ? half_of_pair(factors[1], half) : 1.0f; }
    static __device__ __forceinline__ float half_of_pair(u32 pair, i32 high) {
        return high ? __high2float(half2_of(pair)) : __low2float(half2_of(pair));
    }

    __device__ __forceinline__ void load(const char *tile, i32 lane) {
        const i32 t = lane & 3;
        const typename F::scales::regs regs = F::scales::load(tile + F::QUANT_BYTES, lane);
        float scale[2][F::GROUPS], minimum[2][F::GROUPS];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            u32 largest = 0;
#pragma unroll
            for (int c = 0; c < F::GROUPS; c++) {
                F::scales::get(regs, half, c, scale[half][c], minimum[half][c]);
                largest = max(largest, magnitude_bits(scale[half][c]));
            }
            if constexpr (!F::ROW) {
                const unit_of unit(quad_max(largest));
                factors[half] = __float_as_uint(unit.up);
#pragma unroll
                for (int c = 0; c < F::GROUPS; c++) scale[half][c] *= unit.down;
            }
            if constexpr (F::MINIMA)
#pragma unroll
                for (int c = 0; c < CHAINS; c++)
                    minima[c][half] = half2_bits(minimum[half][2 * c], minimum[half][2 * c + 1]);
        }
        if constexpr (F::ROW) {
            float d[2], m[2];
#pragma unroll
            for (int half = 0; half < 2; half++) F::scales::row(regs, half, d[half], m[half]);
            factors[0] = half2_bits(d[0], d[1]), factors[1] = half2_bits(m[0], m[1]);
        }
#pragma unroll
        for (int c = 0; c < F::GROUPS; c++) {
            const float inverse = 1.0f / (float)F::scale_of(2 * t + c / CHAINS);
            scales[c] = half2_bits(scale[0][c] * inverse, scale[1][c] * inverse);
        }
    }

    // Scales of blocks 2j and 2j + 1, for every lane of a row.
    __device__ __forceinline__ void of_pair(i32 j, i32 lane, u32 (&s)[F::GROUPS]) const {
#pragma unroll
        for (int c = 0; c < F::GROUPS; c++) s[c] = __shfl_sync(FULL_MASK, scales[c], (lane & ~3) + j);
    }
};

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
__device__ __forceinline__ void half_block(const char *tile, i32 lane, i32 b, const u32 (&s)[F::GROUPS],
                                           u32 (&a)[2][4]) {
    constexpr int CHAINS = F::GROUPS / 2;
    const raw_block<F> raw(tile, lane, b);
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
