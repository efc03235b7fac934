// Quants of packed weights (docs/packed-weights.md): where a lane of a tile finds them, and how they are coded there.
//
// A tile is 16 rows by 256 elements. lane = 4g + t has elements of rows g and g + 8; its words lie in chunks of 512 bytes,
// 16 bytes for each lane: word 2w + half is about four elements of row g + 8 half, in every 32-element block b = 0..7.
//
// Each plane type codes the four quants of a lane's word in eight blocks as CHUNKS words, one in each chunk:
//   get(word, b)    four quants of block b, one in each byte; word(c) is the word in chunk c
//   put(q, words)   the other way, q[b] for all eight blocks
#pragma once

#include "common/types.cuh"

namespace reflex::packed {

constexpr u32 CHUNK = 512;  // bytes
constexpr u32 NIBBLES = 0x0f0f0f0fu, PAIRS = 0x03030303u, BITS = 0x01010101u;

// Of the elements of a 32-element block, word w of lane 4g + t holds four from this one on. SPLIT: formats that have a
// scale for every 16 elements, where word w is about the elements of scale w.
template <bool SPLIT> __device__ __forceinline__ u32 element(u32 t, u32 w) {
    return SPLIT ? 16 * w + 4 * t : 8 * t + 4 * w;
}

// Byte offset in a chunk of the word with elements e.. of row g + 8 half.
template <bool SPLIT> __device__ __forceinline__ u32 word_offset(u32 g, u32 half, u32 e) {
    const u32 t = SPLIT ? e >> 2 & 3 : e >> 3, w = SPLIT ? e >> 4 : e >> 2 & 1;
    return (4 * g + t) * 16 + (2 * w + half) * 4;
}

__device__ __forceinline__ u32 rotate_left(u32 v, u32 n) { return __funnelshift_l(v, v, n); }
__device__ __forceinline__ u32 rotate_right(u32 v, u32 n) { return __funnelshift_r(v, v, n); }

// Four nibbles, lowest first, to four bytes, and back; the bytes are below 16.
__device__ __forceinline__ u32 spread_nibbles(u32 v) {
    v = (v | v << 8) & 0x00ff00ffu;
    return (v | v << 4) & NIBBLES;
}
__device__ __forceinline__ u32 gather_nibbles(u32 v) {
    v = (v | v >> 4) & 0x00ff00ffu;
    return (v | v >> 8) & 0xffffu;
}

struct plane8 {
    static constexpr u32 CHUNKS = 8;
    template <class W> static __device__ __forceinline__ u32 get(W word, u32 b) { return word(b); }
    static __device__ __forceinline__ void put(const u32 (&q)[8], u32 (&words)[CHUNKS]) {
#pragma unroll
        for (u32 b = 0; b < 8; b++) words[b] = q[b];
    }
};

// Byte i of chunk j: element i of block 2j low, of block 2j + 1 high.
struct plane4 {
    static constexpr u32 CHUNKS = 4;
    template <class W> static __device__ __forceinline__ u32 get(W word, u32 b) {
        return word(b >> 1) >> 4 * (b & 1) & NIBBLES;
    }
    static __device__ __forceinline__ void put(const u32 (&q)[8], u32 (&words)[CHUNKS]) {
#pragma unroll
        for (u32 j = 0; j < 4; j++) words[j] = q[2 * j] | q[2 * j + 1] << 4;
    }
};

// Nibble i of chunk j: element i of block 2j; nibble 4 + i: of block 2j + 1. Selectors of a byte permute that way.
struct plane4_selectors {
    static constexpr u32 CHUNKS = 4;
    template <class W> static __device__ __forceinline__ u32 get(W word, u32 b) {
        return spread_nibbles(word(b >> 1) >> 16 * (b & 1) & 0xffffu);
    }
    static __device__ __forceinline__ void put(const u32 (&q)[8], u32 (&words)[CHUNKS]) {
#pragma unroll
        for (u32 j = 0; j < 4; j++) words[j] = gather_nibbles(q[2 * j]) | gather_nibbles(q[2 * j + 1]) << 16;
    }
};

// A nibble as in plane4: the low bits of an even block's element, the high ones of an odd block's. The bit that is left
// lies in chunk 4.
struct plane5 {
    static constexpr u32 CHUNKS = 5;
    static __device__ __forceinline__ u32 bit(u32 b) { return b & 1 ? 2 + b : 4 + b; }
    template <class W> static __device__ __forceinline__ u32 get(W word, u32 b) {
        const u32 nibble = word(b >> 1) >> 4 * (b & 1) & NIBBLES, rest = rotate_right(word(4), bit(b)) & BITS;
        return b & 1 ? nibble << 1 | rest : nibble | rest << 4;
    }
    static __device__ __forceinline__ void put(const u32 (&q)[8], u32 (&words)[CHUNKS]) {
        words[4] = 0;
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            words[j] = (q[2 * j] & NIBBLES) | (q[2 * j + 1] >> 1 & NIBBLES) << 4;
            words[4] |= rotate_left(q[2 * j] >> 4 & BITS, bit(2 * j));
            words[4] |= rotate_left(q[2 * j + 1] & BITS, bit(2 * j + 1));
        }
    }
};

// As plane5; the two bits that are left lie in chunk 4 for blocks 0 to 3, in chunk 5 for blocks 4 to 7.
struct plane6 {
    static constexpr u32 CHUNKS = 6;
    static __device__ __forceinline__ u32 bit(u32 b) { return b & 1 ? 2 * (b & 3) : 4 + 2 * (b & 3); }
    template <class W> static __device__ __forceinline__ u32 get(W word, u32 b) {
        const u32 nibble = word(b >> 1) >> 4 * (b & 1) & NIBBLES,
                  rest = rotate_right(word(4 + (b >> 2)), bit(b)) & PAIRS;
        return b & 1 ? nibble << 2 | rest : nibble | rest << 4;
    }
    static __device__ __forceinline__ void put(const u32 (&q)[8], u32 (&words)[CHUNKS]) {
        words[4] = words[5] = 0;
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            words[j] = (q[2 * j] & NIBBLES) | (q[2 * j + 1] >> 2 & NIBBLES) << 4;
            words[4 + (j >> 1)] |= rotate_left(q[2 * j] >> 4 & PAIRS, bit(2 * j));
            words[4 + (j >> 1)] |= rotate_left(q[2 * j + 1] & PAIRS, bit(2 * j + 1));
        }
    }
};

// Two bits of element i of block 4 jj + s at bit 8i + 2s of chunk jj.
struct plane2 {
    static constexpr u32 CHUNKS = 2;
    template <class W> static __device__ __forceinline__ u32 get(W word, u32 b) {
        return word(b >> 2) >> 2 * (b & 3) & PAIRS;
    }
    static __device__ __forceinline__ void put(const u32 (&q)[8], u32 (&words)[CHUNKS]) {
#pragma unroll
        for (u32 jj = 0; jj < 2; jj++)
            words[jj] = q[4 * jj] | q[4 * jj + 1] << 2 | q[4 * jj + 2] << 4 | q[4 * jj + 3] << 6;
    }
};

// A pair as in plane2: the low bits of blocks s = 0 and 1, the high ones of blocks s = 2 and 3. The bit that is left lies
// in chunk 2.
struct plane3 {
    static constexpr u32 CHUNKS = 3;
    static __device__ __forceinline__ u32 bit(u32 b) { return 4 * (b >> 2) + 2 + 2 * (b & 1) + (b >> 1 & 1); }
    template <class W> static __device__ __forceinline__ u32 get(W word, u32 b) {
        const u32 pair = word(b >> 2) >> 2 * (b & 3) & PAIRS, rest = rotate_right(word(2), bit(b)) & BITS;
        return b & 2 ? pair << 1 | rest : pair | rest << 2;
    }
    static __device__ __forceinline__ void put(const u32 (&q)[8], u32 (&words)[CHUNKS]) {
        words[0] = words[1] = words[2] = 0;
#pragma unroll
        for (u32 b = 0; b < 8; b++) {
            const bool high = b & 2;
            words[b >> 2] |= (q[b] >> (high ? 1 : 0) & PAIRS) << 2 * (b & 3);
            words[2] |= rotate_left(q[b] >> (high ? 0 : 2) & BITS, bit(b));
        }
    }
};

}  // namespace reflex::packed
