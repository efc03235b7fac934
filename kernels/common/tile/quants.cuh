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

constexpr i32 TILE_ROWS = PANEL_ROWS, TILE_K = PANEL_TILE, TILE_BLOCKS = 8;

__device__ __forceinline__ uint4 words16(const char *p, i32 lane) { return reinterpret_cast<const uint4 *>(p)[lane]; }

__device__ __forceinline__ void masked(const uint4 &v, u32 mask, u32 (&a)[4]) {
    a[0] = v.x & mask, a[1] = v.y & mask, a[2] = v.z & mask, a[3] = v.w & mask;
}

// Three-input logic with the table LUT, which the compiler does not always find: inputs are 0xf0, 0xcc, 0xaa.
template <u32 LUT> __device__ __forceinline__ u32 logic3(u32 a, u32 b, u32 c) {
    u32 v;
    asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(v) : "r"(a), "r"(b), "r"(c), "n"(LUT));
    return v;
}

// (v & mask) | (high rotated right by `turn` & field & ~mask): `field` is the same for all blocks that share a turn, so that
// each takes one operation.
__device__ __forceinline__ void merged(const uint4 &v, u32 mask, const uint4 &high, i32 turn, u32 field, u32 (&a)[4]) {
    const u32 q[4] = {v.x, v.y, v.z, v.w}, h[4] = {high.x, high.y, high.z, high.w};
#pragma unroll
    for (int i = 0; i < 4; i++)
        a[i] = logic3<0xe4>(q[i], (turn ? __funnelshift_r(h[i], h[i], turn) : h[i]) & field, mask);
}

// Eight bits: Q8_0.
struct bytes8 {
    static constexpr i32 QUANT_BYTES = 4096;
    static constexpr bool SIGNED = true, NIBBLES = false, SPLIT = false, TWOS = false, HIGH = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32) { return 1; }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        const uint4 v = words16(tile + b * 512, lane);
        a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
    }
};

// Four bits: Q4_0, Q4_1, Q4_K. Even blocks are the low nibbles, odd ones the high.
struct nibbles {
    static constexpr i32 QUANT_BYTES = 2048;
    static constexpr bool SIGNED = false, NIBBLES = true, SPLIT = false, TWOS = false, HIGH = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return b & 1 ? 16 : 1; }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        masked(words16(tile + b / 2 * 512, lane), b & 1 ? 0xf0f0f0f0u : 0x0f0f0f0fu, a);
    }
    // Of blocks 2j and 2j + 1: `whole` and `high` add up to something that with `rest` is 255 and the even block's quants;
    // `rest` is 255 less the odd one's.
    static __device__ __forceinline__ void pair(const char *tile, i32 lane, i32 j, u32 (&whole)[4], u32 (&rest)[4],
                                                u32 (&)[4]) {
        const uint4 v = words16(tile + j * 512, lane);
        whole[0] = v.x, whole[1] = v.y, whole[2] = v.z, whole[3] = v.w;
#pragma unroll
        for (int i = 0; i < 4; i++) rest[i] = logic3<0x3f>(whole[i], 0xf0f0f0f0u, 0);
    }
};

// Five bits: Q5_0, Q5_1, Q5_K. Four in the nibbles (the low ones in even blocks, the high ones in odd blocks), one in a
// plane of single bits that a rotation brings to bit 4 or bit 3.
struct fives {
    static constexpr i32 QUANT_BYTES = 2560;
    static constexpr bool SIGNED = false, NIBBLES = true, SPLIT = false, TWOS = false, HIGH = true;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return b & 1 ? 8 : 1; }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        merged(words16(tile + b / 2 * 512, lane), b & 1 ? 0xf0f0f0f0u : 0x0f0f0f0fu, words16(tile + 2048, lane),
               b / 2 * 2, 0x18181818u, a);
    }
    static __device__ __forceinline__ void pair(const char *tile, i32 lane, i32 j, u32 (&whole)[4], u32 (&rest)[4],
                                                u32 (&high)[4]) {
        const uint4 v = words16(tile + j * 512, lane), h = words16(tile + 2048, lane);
        const u32 q[4] = {v.x, v.y, v.z, v.w}, bits[4] = {h.x, h.y, h.z, h.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            whole[i] = q[i];
            high[i] = (j ? __funnelshift_r(bits[i], bits[i], 2 * j) : bits[i]) & 0x18181818u;
            rest[i] = logic3<0x1b>(q[i], high[i], 0xf0f0f0f0u);
        }
    }
};

// Six bits: Q6_K. As five, with a plane of pairs.
struct sixes {
    static constexpr i32 QUANT_BYTES = 3072;
    static constexpr bool SIGNED = false, NIBBLES = false, SPLIT = false, TWOS = false, HIGH = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return b & 1 ? 4 : 1; }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        merged(words16(tile + b / 2 * 512, lane), b & 1 ? 0xf0f0f0f0u : 0x0f0f0f0fu,
               words16(tile + 2048 + b / 4 * 512, lane), b & 2 ? 4 : 0, 0x3c3c3c3cu, a);
    }
};

// Two bits.
struct pairs {
    static constexpr i32 QUANT_BYTES = 1024;
    static constexpr bool SIGNED = false, NIBBLES = false, SPLIT = false, TWOS = false, HIGH = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return 1 << 2 * (b & 3); }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        masked(words16(tile + b / 4 * 512, lane), 0x03030303u << 2 * (b & 3), a);
    }
};

// Three bits: Q3_K. A pair and a single bit, which lies below the pair or above it, whichever fits the byte.
struct threes {
    static constexpr i32 QUANT_BYTES = 1536;
    static constexpr bool SIGNED = false, NIBBLES = false, SPLIT = false, TWOS = true, HIGH = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) {
        return (b & 3) == 0 ? 1 : (b & 3) == 1 ? 4 : (b & 3) == 2 ? 8 : 32;
    }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        two(tile, lane, b >> 1 & 2 | b & 1, a);
        const u32 s = b & 3, mask = s == 0 ? 0x07070707u : s == 1 ? 0x1c1c1c1cu : s == 2 ? 0x38383838u : 0xe0e0e0e0u;
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] &= mask;
    }
    // Blocks 0 and 2 (p = 0) side by side, 1 and 3 (p = 1), 4 and 6, 5 and 7.
    static __device__ __forceinline__ void two(const char *tile, i32 lane, i32 p, u32 (&a)[4]) {
        merged(words16(tile + p / 2 * 512, lane), p & 1 ? 0xccccccccu : 0x33333333u, words16(tile + 1024, lane),
               p & 2 ? 4 : 0, 0x3c3c3c3cu, a);
    }
    // `rest` is 255 less the second one's quants.
    static __device__ __forceinline__ void pair(const char *tile, i32 lane, i32 p, u32 (&whole)[4], u32 (&rest)[4]) {
        two(tile, lane, p, whole);
#pragma unroll
        for (int i = 0; i < 4; i++) rest[i] = logic3<0x3f>(whole[i], p & 1 ? 0xe0e0e0e0u : 0x38383838u, 0);
    }
};

// A byte permute whose selectors' top bits count: __byte_perm takes them away.
__device__ __forceinline__ u32 signed_permute(u32 a, u32 b, u32 selectors) {
    u32 v;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(b), "r"(selectors));
    return v;
}

// Four bits that index a table of sixteen signed bytes, eight of either sign. The low half of a word
// is four nibbles of the even block, the high half of the odd one: what a byte permute takes as its selector. One that has
// its top bit set gives the top bit of a byte eight times, 0 for magnitudes, 0xff for their complements: so a permute leaves
// out the other sign. FLIP: the positive ones are the upper half of the table.
template <u32 P0, u32 P1, u32 N0, u32 N1, bool FLIP> struct table_nibbles {
    static constexpr i32 QUANT_BYTES = 2048;
    static constexpr bool SIGNED = true, NIBBLES = false, SPLIT = true, TWOS = false, HIGH = false;
    static __device__ __forceinline__ constexpr i32 scale_of(i32) { return 1; }

    // Half of each table, in registers: `zero` is one that the compiler does not know. It would write the constant anew for
    // every permute.
    struct halved {
        u32 positive, rest;
        __device__ __forceinline__ explicit halved(u32 zero) : positive(P0 ^ zero), rest(~N0 ^ zero) {}
    };
    // Magnitudes of the positive quants, 0 for others; 255 less magnitudes of the negative ones, 255 for others.
    static __device__ __forceinline__ void halves(const halved &table, const char *tile, i32 lane, i32 b,
                                                  u32 (&positive)[4], u32 (&rest)[4]) {
        const uint4 v = words16(tile + b / 2 * 512, lane);
        const u32 q[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            u32 s = q[i], flipped = q[i] ^ 0x88888888u;
            // The upper halves, without the pipe that permutes.
            if (b & 1) s = __dp2a_lo(s, 0x0100u, 0u), flipped = __dp2a_lo(flipped, 0x0100u, 0u);
            positive[i] = signed_permute(table.positive, P1, FLIP ? flipped : s);
            rest[i] = signed_permute(table.rest, ~N1, FLIP ? s : flipped);
        }
    }
    static __device__ __forceinline__ void words(const char *tile, i32 lane, i32 b, u32 (&a)[4]) {
        u32 positive[4], rest[4];
        halves(halved(0), tile, lane, b, positive, rest);
        // 1 more, which is 0 for none; the sum of a byte stays in it without its top bit.
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] = positive[i] | (((rest[i] ^ 0x80808080u) + 0x01010101u) ^ 0x80808080u);
    }
};

}  // namespace reflex::tiles
