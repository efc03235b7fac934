// What follows for a packed format, as products read it, from where its quants lie (quants.cuh) and where its scales do (formats.cuh).
#pragma once

#include "common/tile/quants.cuh"

namespace reflex::tiles {

template <class Q, class S, i32 OFF> struct format : Q {
    using scales = S;
    static constexpr i32 OFFSET = OFF;                           // subtracted from a quant
    static constexpr i32 GROUP = S::GROUP, GROUPS = 64 / GROUP;  // elements of a scale; scales of two blocks
    static constexpr bool MINIMA = S::MINIMA, ROW = S::ROW;
    // (1024 + byte) * scale and 1024 * scale are exact in f16, the latter below its largest: scales of six bits.
    static constexpr bool FUSED = ROW && OFF == 0 && !Q::SIGNED;
    static constexpr i32 TILE_BYTES = Q::QUANT_BYTES + S::BYTES;
    static constexpr bool PLANE = false, PLANE_BITS = false;

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

}  // namespace reflex::tiles
