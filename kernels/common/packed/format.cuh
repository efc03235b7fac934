// What follows for a packed format from the types that it is made of (formats.cuh).
#pragma once

#include "common/blocks.cuh"
#include "common/packed/native.cuh"

namespace reflex::packed {

template <class T> __device__ __forceinline__ T &at(char *p) { return *reinterpret_cast<T *>(p); }
template <class T> __device__ __forceinline__ const T &at(const char *p) { return *reinterpret_cast<const T *>(p); }

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

}  // namespace reflex::packed
