// The quants of a packed tile: 16 rows x 256 elements of a weight matrix, arranged so that the registers a lane needs for
// an m16n8k32 (or k16) integer product are 16 contiguous bytes (docs/packed-weights.md has the layout in words).
//
// With g = lane / 4 and t = lane % 4 a lane holds of block b (32 elements) four words
//   a[0] a[1]: rows g, g + 8, first four elements      a[2] a[3]: the same rows, last four elements
// Each byte is SCALE(b) * q: fields are masked, never shifted, wherever the layout allows, and the power of two is divided
// out of the activations' scale instead.
#pragma once

#include "common/types.cuh"

namespace reflex::tiles {

constexpr i32 TILE_ROWS = 16, TILE_K = 256, TILE_BLOCKS = 8;

__device__ __forceinline__ uint4 words16(const char *p, i32 lane) { return reinterpret_cast<const uint4 *>(p)[lane]; }

__device__ __forceinline__ void masked(const uint4 &v, u32 mask, u32 (&a)[4]) {
    a[0] = v.x & mask, a[1] = v.y & mask, a[2] = v.z & mask, a[3] = v.w & mask;
}

// (v & mask) | (high rotated right by `turn` & field)
__device__ __forceinline__ void merged(const uint4 &v, u32 mask, const uint4 &high, i32 turn, u32 field, u32 (&a)[4]) {
    const u32 h[4] = {high.x, high.y, high.z, high.w};
    masked(v, mask, a);
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] |= (turn ? __funnelshift_r(h[i], h[i], turn) : h[i]) & field;
}

// Eight bits: Q8_0.
struct bytes8 {
    static constexpr i32 QUANT_BYTES = 4096;
    static constexpr bool SIGNED = true, NIBBLES = false, SPLIT = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32) { return 1; }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        const uint4 v = words16(tile + b * 512, lane);
        a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
    }
};

// Four bits: Q4_0, Q4_1, Q4_K. Even blocks are the low nibbles, odd ones the high.
struct nibbles {
    static constexpr i32 QUANT_BYTES = 2048;
    static constexpr bool SIGNED = false, NIBBLES = true, SPLIT = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return b & 1 ? 16 : 1; }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        masked(words16(tile + b / 2 * 512, lane), b & 1 ? 0xf0f0f0f0u : 0x0f0f0f0fu, a);
    }
};

// Five bits: Q5_0, Q5_1, Q5_K. Four in the nibbles (the low ones in even blocks, the high ones in odd blocks), one in a
// plane of single bits that a rotation brings to bit 4 or bit 3.
struct fives {
    static constexpr i32 QUANT_BYTES = 2560;
    static constexpr bool SIGNED = false, NIBBLES = false, SPLIT = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return b & 1 ? 8 : 1; }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        merged(words16(tile + b / 2 * 512, lane), b & 1 ? 0xf0f0f0f0u : 0x0f0f0f0fu, words16(tile + 2048, lane),
               b / 2 * 2, b & 1 ? 0x08080808u : 0x10101010u, a);
    }
};

// Six bits: Q6_K. As five, with a plane of pairs.
struct sixes {
    static constexpr i32 QUANT_BYTES = 3072;
    static constexpr bool SIGNED = false, NIBBLES = false, SPLIT = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return b & 1 ? 4 : 1; }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        merged(words16(tile + b / 2 * 512, lane), b & 1 ? 0xf0f0f0f0u : 0x0f0f0f0fu,
               words16(tile + 2048 + b / 4 * 512, lane), b & 2 ? 4 : 0, b & 1 ? 0x0c0c0c0cu : 0x30303030u, a);
    }
};

// Two bits: Q2_K.
struct pairs {
    static constexpr i32 QUANT_BYTES = 1024;
    static constexpr bool SIGNED = false, NIBBLES = false, SPLIT = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return 1 << 2 * (b & 3); }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        masked(words16(tile + b / 4 * 512, lane), 0x03030303u << 2 * (b & 3), a);
    }
};

// Three bits: Q3_K. A pair and a single bit, which lies below the pair or above it, whichever fits the byte.
struct threes {
    static constexpr i32 QUANT_BYTES = 1536;
    static constexpr bool SIGNED = false, NIBBLES = false, SPLIT = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) {
        return (b & 3) == 0 ? 1 : (b & 3) == 1 ? 4 : (b & 3) == 2 ? 8 : 32;
    }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        const u32 s = b & 3, bit = s == 0 ? 2 : s == 1 ? 4 : s == 2 ? 3 : 5;
        merged(words16(tile + b / 4 * 512, lane), 0x03030303u << 2 * s, words16(tile + 1024, lane), b & 4,
               0x01010101u << bit, a);
    }
};

// A byte permute whose selectors' top bits count: __byte_perm takes them away.
__device__ __forceinline__ u32 signed_permute(u32 a, u32 b, u32 selectors) {
    u32 v;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(b), "r"(selectors));
    return v;
}

// Four bits that index a table of sixteen signed bytes, eight of either sign: IQ4_NL, IQ4_XS, MXFP4. The low half of a word
// is four nibbles of the even block, the high half of the odd one: what a byte permute takes as its selector. One that has
// its top bit set gives the top bit of a byte eight times, 0 for magnitudes: so a permute of magnitudes leaves out the other
// sign. FLIP: the positive ones are the upper half of the table.
template <u32 P0, u32 P1, u32 N0, u32 N1, bool FLIP> struct table_nibbles {
    static constexpr i32 QUANT_BYTES = 2048;
    static constexpr bool SIGNED = true, NIBBLES = false, SPLIT = true;
    static __device__ __forceinline__ constexpr i32 scale_of(i32) { return 1; }
    // Magnitudes of the positive quants and of the negative ones, zeros in between.
    static __device__ __forceinline__ void halves(const char *tile, i32 lane, i32 b, u32 (&positive)[4],
                                                  u32 (&negative)[4]) {
        const uint4 v = words16(tile + b / 2 * 512, lane);
        const u32 q[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const u32 s = b & 1 ? q[i] >> 16 : q[i], flipped = s ^ 0x8888u;
            positive[i] = signed_permute(P0, P1, FLIP ? flipped : s);
            negative[i] = signed_permute(N0, N1, FLIP ? s : flipped);
        }
    }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        u32 positive[4], negative[4];
        halves(tile, lane, b, positive, negative);
        // 128 - v, with the top bit flipped, is -v, and 0 for 0.
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] = positive[i] | (((negative[i] ^ 0x7f7f7f7fu) + 0x01010101u) ^ 0x80808080u);
    }
};

}  // namespace reflex::tiles
