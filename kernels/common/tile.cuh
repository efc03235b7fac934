// Packed block formats: one type each, made of where its quants lie (tile/quants.cuh) and where its scales do
// (tile/scales.cuh). A further format is one more line here.
#pragma once

#include "common/tile/quants.cuh"
#include "common/tile/scales.cuh"

namespace reflex::tiles {

template <class Q, class S, i32 OFF, i32 BLOCK_BYTES> struct format : Q {
    using scales = S;
    static constexpr i32 OFFSET = OFF;                           // subtracted from a quant
    static constexpr i32 GROUP = S::GROUP, GROUPS = 64 / GROUP;  // elements of a scale; scales of two blocks
    static constexpr bool MINIMA = S::MINIMA, ROW = S::ROW;
    // (1024 + byte) * scale and 1024 * scale are exact in f16, the latter below its largest: scales of six bits.
    static constexpr bool FUSED = ROW && OFF == 0 && !Q::SIGNED;
    static constexpr i32 TILE_BYTES = Q::QUANT_BYTES + S::BYTES;
    static constexpr bool PLANE = false, PLANE_BITS = false;
    static_assert(TILE_BYTES == TILE_ROWS * BLOCK_BYTES, "a tile is as large as what it packs");

    static __device__ __forceinline__ uint4 nibble_words(const char *tile, i32 lane, i32 j) {
        return words16(tile + j * 512, lane);
    }
    static __device__ __forceinline__ typename S::regs load_scales(const char *tile, i32 lane) {
        return S::load(tile + Q::QUANT_BYTES, lane);
    }
    // The eight bytes of a block of x that lane t of a quad multiplies: those that meet a[0] a[1], and those that meet a[2]
    // a[3].
    static __device__ __forceinline__ void x_words(const char *block, i32 t, u32 (&q)[2]) {
        if constexpr (GROUP == 32) {
            const uint2 v = *reinterpret_cast<const uint2 *>(block + 8 * t);
            q[0] = v.x, q[1] = v.y;
        } else {
            q[0] = *reinterpret_cast<const u32 *>(block + 4 * t);
            q[1] = *reinterpret_cast<const u32 *>(block + 16 + 4 * t);
        }
    }
    static __device__ __forceinline__ void x_words(const char *block, i32 t, u32 (&q)[2], u32 (&)[2]) {
        x_words(block, t, q);
    }
};

using iq4_quants = table_nibbles<0x26190d01u, 0x71594535u, 0x4153687fu, 0x0a162331u, true>;
using mxfp4_quants = table_nibbles<0x03020100u, 0x0c080604u, 0x03020100u, 0x0c080604u, false>;

// The last number is the bytes of 256 elements.
using q4_0 = format<nibbles, block_halves, 8, 144>;
using q4_1 = format<nibbles, block_pairs, 0, 160>;
using q5_0 = format<fives, block_halves, 16, 176>;
using q5_1 = format<fives, block_pairs, 0, 192>;
using q8_0 = format<bytes8, block_halves, 0, 272>;
using q2_k = format<pairs, q2_k_scales, 0, 84>;
using q3_k = format<threes, q3_k_scales, 4, 110>;
using q4_k = format<nibbles, q45_k_scales, 0, 144>;
using q5_k = format<fives, q45_k_scales, 0, 176>;
using q6_k = format<sixes, q6_k_scales, 32, 210>;
using iq4_nl = format<iq4_quants, block_halves, 0, 144>;
using iq4_xs = format<iq4_quants, iq4_xs_scales, 0, 136>;
using mxfp4 = format<mxfp4_quants, block_exponents, 0, 136>;

}  // namespace reflex::tiles
