// Rows of native blocks in shared memory, as a matrix product takes them from there: 256 elements of a row at an address
// that is a multiple of A, the power of two (up to 16) that divides the format's block.
//
// A format's `staged` type (behind the format, in its file) says, for lane t of the four that share a row:
//   words(row, b, t, w0, w1)        two words of four quants of block b (32 elements), times scale_of(b).
//   ORDER                           which elements these are: ORDERED 8t + 4w + i, SPREAD 16w + 4t + i, or PAIRED, which is
//                                   what a byte permute makes of nibbles: 4t + 2w + i / 2 + 16 (i % 2).
//   nibbles(row, j, t)              where NIBBLES, instead: blocks 2j (low) and 2j + 1 (high) in the same two words.
//   signs(row, b, t, p, n)          where SPLIT, instead: magnitudes of positive and of negative quants.
//   planes(row, b, t, w0, w1)       where PLANE: bits above these quants, left where they lie. Their sum times
//                                   plane_weight(b) is added to that of the words: fields of a byte cost a mask each, and
//                                   products are cheaper than putting them together. PLANE_BITS: elements 8i + 2t + w.
//   load(row, t), get, row          scales as in tile/formats.cuh, of blocks 2t and 2t + 1 of one row.
#pragma once

#include "common/blocks/format.cuh"

namespace reflex::weight {

enum class element_order { ORDERED, SPREAD, PAIRED };

// Offsets `at` are constants; `lane` is a multiple of 4 (of 2 for halves) that differs between lanes.
template <int A> struct staged_row {
    const char *base;  // a multiple of 16
    u32 first;         // where the row begins from there

    __device__ __forceinline__ u32 word(u32 at, u32 lane = 0, u32 turn = 0) const {
        if constexpr (A >= 4) {
            const u32 v = *reinterpret_cast<const u32 *>(base + (first + lane) + at);
            return v >> turn;
        } else if constexpr (A == 2) {
            const u32 odd = at & 2, from = (first + odd & ~3u) + lane, shift = (first + odd & 2) * 8;
            const u32 *p = reinterpret_cast<const u32 *>(base + from + (at - odd));
            return __funnelshift_r(p[0], p[1], shift + turn);
        } else {
            const u32 from = first + at;
            const u32 *p = reinterpret_cast<const u32 *>(base + (from & ~3u) + lane);
            return __funnelshift_r(p[0], p[1], from * 8);
        }
    }
    __device__ __forceinline__ uint2 words2(u32 at, u32 lane = 0) const {
        if constexpr (A >= 8) return *reinterpret_cast<const uint2 *>(base + (first + lane) + at);
        else return make_uint2(word(at, lane), word(at + 4, lane));
    }
    __device__ __forceinline__ uint4 words4(u32 at) const {
        static_assert(A == 16, "one load");
        return *reinterpret_cast<const uint4 *>(base + first + at);
    }
    __device__ __forceinline__ u32 half(u32 at, u32 lane = 0) const {
        return *reinterpret_cast<const u16 *>(base + (first + lane) + at);
    }
    __device__ __forceinline__ u32 byte(u32 at, u32 lane = 0) const {
        return *reinterpret_cast<const u8 *>(base + (first + lane) + at);
    }
};

// What most formats leave as it is.
template <class F> struct staged_format {
    static constexpr int ALIGN = F::BYTES % 16 == 0 ? 16 : F::BYTES & -F::BYTES;
    static constexpr bool NIBBLES = false, SPLIT = false, PLANE = false, PLANE_BITS = false, ROW = false;
    static constexpr element_order ORDER = element_order::SPREAD;
    using bytes = staged_row<ALIGN>;
    static __device__ __forceinline__ constexpr i32 scale_of(i32) { return 1; }
};

// Scales of blocks 2t and 2t + 1, each in a block of its own.
struct staged_halves {
    u32 d[2];
};
template <class F> struct staged_block_halves : staged_format<F> {
    using regs = staged_halves;
    static __device__ __forceinline__ regs load(const staged_row<staged_format<F>::ALIGN> &row, i32 t) {
        return {{row.half(0, 2 * F::BYTES * t), row.half(F::BYTES, 2 * F::BYTES * t)}};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 c, float &scale, float &minimum) {
        scale = low_half(r.d[c]), minimum = 0.0f;
    }
};
// And addends.
template <class F> struct staged_block_pairs : staged_format<F> {
    using regs = staged_halves;
    static __device__ __forceinline__ regs load(const staged_row<staged_format<F>::ALIGN> &row, i32 t) {
        return {{row.word(0, 2 * F::BYTES * t), row.word(F::BYTES, 2 * F::BYTES * t)}};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 c, float &scale, float &minimum) {
        scale = low_half(r.d[c]), minimum = -high_half(r.d[c]);
    }
};

__device__ __forceinline__ void nibble_words(u32 v, u32 &low, u32 &high) {
    low = v & 0x0f0f0f0fu, high = v >> 4 & 0x0f0f0f0fu;
}

// A byte permute whose selectors' top bits count: __byte_perm takes them away.
__device__ __forceinline__ u32 permute_or_sign(u32 a, u32 b, u32 selectors) {
    u32 v;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(b), "r"(selectors));
    return v;
}

// Byte i of v as a float.
__device__ __forceinline__ float byte_value(u32 v, i32 i, float less = 0.0f) {
    return __uint_as_float(__byte_perm(v, 0x4b000000u, 0x7650 + i)) - (8388608.0f + less);
}

}  // namespace reflex::weight
