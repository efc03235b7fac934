// The packed formats: one traits type each in reflex::packed, made of how the native rows code quants, how tiles do, and
// where both keep scales. docs/packed-weights.md has the layout.
#pragma once

#include "common/packed/scales.cuh"

namespace reflex::packed {

// Eight quants and what they share, to be expanded as the native type W expands them.
template <class W> struct expanded : weight::block_format<expanded<W>, 1, 8> {
    static constexpr bool SIGNED = W::SIGNED, MINIMUM = W::MINIMUM;
    static constexpr int OFFSET = W::OFFSET;
    struct piece {
        u32 q0, q1;
        float scale, minimum;
    };
    static __device__ __forceinline__ void quants8(const piece &p, i32, u32 &q0, u32 &q1) { q0 = p.q0, q1 = p.q1; }
    static __device__ __forceinline__ void scale8(const piece &p, i32, float &scale, float &minimum) {
        scale = p.scale, minimum = p.minimum;
    }
};

// What the codes of a format with a table stand for; other formats' quants stand for themselves.
template <class W> __device__ __forceinline__ void look_up(u32 &, u32 &) {}
template <> __device__ __forceinline__ void look_up<weight::iq4_nl>(u32 &q0, u32 &q1) {
    weight::lookup_iq4(q0, q1, 0, q0, q1);
}
template <> __device__ __forceinline__ void look_up<weight::iq4_xs>(u32 &q0, u32 &q1) {
    weight::lookup_iq4(q0, q1, 0, q0, q1);
}
template <> __device__ __forceinline__ void look_up<weight::mxfp4>(u32 &q0, u32 &q1) {
    weight::lookup_e2m1(q0, q1, 0, q0, q1);
}

// W: the native type. RUN: bytes of 256 elements of a row. SPLIT: a scale for every 16 elements.
template <class W, class Native, class Plane, class Scales> struct format {
    static constexpr u32 RUN = 256 / W::ELEMENTS * W::BYTES, TILE = 16 * RUN, QUANTS = Plane::CHUNKS * CHUNK;
    static constexpr bool SPLIT = W::GROUP == 16;
    using weight = W;
    using native = Native;
    using plane = Plane;
    using scales = Scales;
    static_assert(QUANTS + Scales::BYTES == TILE, "a tile has the bytes of its rows");

    // Elements x.. of the 256 of row g + 8 half, x a multiple of 8, bit for bit as W expands them.
    static __device__ __forceinline__ void exact8(const char *tile, u32 g, u32 half, u32 x, float (&w)[8]) {
        const char *first = tile + word_offset<SPLIT>(g, half, x & 31),
                   *second = tile + word_offset<SPLIT>(g, half, x + 4 & 31);
        typename expanded<W>::piece p;
        p.q0 = Plane::get([&](u32 c) { return at<u32>(first + c * CHUNK); }, x >> 5);
        p.q1 = Plane::get([&](u32 c) { return at<u32>(second + c * CHUNK); }, x >> 5);
        look_up<W>(p.q0, p.q1);
        Scales::read(tile + QUANTS, g, half, x, p.scale, p.minimum);
        expanded<W>::exact8(p, 0, w);
    }
};

using q4_0 = format<weight::q4_0, nibbles<18, 2>, plane4, half_scales<18>>;
using q4_1 = format<weight::q4_1, nibbles<20, 4>, plane4, pair_scales<20>>;
using q5_0 = format<weight::q5_0, nibbles_and_bits<22, 6, 2>, plane5, half_scales<22>>;
using q5_1 = format<weight::q5_1, nibbles_and_bits<24, 8, 4>, plane5, pair_scales<24>>;
using q8_0 = format<weight::q8_0, bytes<34, 2>, plane8, half_scales<34>>;
using q2_k = format<weight::q2_k, k2<16>, plane2, k2_scales<80>>;
using q3_k = format<weight::q3_k, k3<32, 0>, plane3, k3_scales<96>>;
using q4_k = format<weight::q4_k, k4<16>, plane4, k4_scales>;
using q5_k = format<weight::q5_k, k5<48, 16>, plane5, k4_scales>;
using q6_k = format<weight::q6_k, k6<128>, plane6, k6_scales<192>>;
using iq4_nl = format<weight::iq4_nl, nibbles<18, 2>, plane4_selectors, half_scales<18>>;
using iq4_xs = format<weight::iq4_xs, nibbles<16, 8>, plane4_selectors, iq4_xs_scales>;
using mxfp4 = format<weight::mxfp4, nibbles<17, 1>, plane4_selectors, byte_scales<17>>;

}  // namespace reflex::packed
