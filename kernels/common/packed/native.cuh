// Quants of native GGUF rows: 256 elements of one row, at `run`, that start at a block.
//
// Each type reads and writes them four at a time, one quant in each byte of a word:
//   get(run, b, e)                  elements e..e+3 of 32-element block b; e is a multiple of 4
//   put(run, e, low, high, carry)   elements e.. (low) and e + 16.. (high) of all eight blocks, e = 0, 4, 8, 12
//   finish(run, carry)              after the four calls of put: what they could not write in whole words
//
// Blocks lie at any even address, those of MXFP4 at any address.
#pragma once

#include "common/packed/planes.cuh"

namespace reflex::packed {

// Reads no aligned word but those that hold one of the four bytes.
__device__ __forceinline__ u32 load_word(const char *p) {
    const u32 odd = (u32) reinterpret_cast<u64>(p) & 3u;
    const u32 *from = reinterpret_cast<const u32 *>(p - odd);
    const u32 low = from[0];
    return odd ? __funnelshift_r(low, from[1], odd * 8) : low;
}

// Writes the four bytes alone: the ones around them may be another thread's.
__device__ __forceinline__ void store_word(char *p, u32 v) {
    const u64 address = reinterpret_cast<u64>(p);
    if (address % 4 == 0) {
        *reinterpret_cast<u32 *>(p) = v;
    } else if (address % 2 == 0) {
        reinterpret_cast<u16 *>(p)[0] = (u16)v;
        reinterpret_cast<u16 *>(p)[1] = (u16)(v >> 16);
    } else {
#pragma unroll
        for (u32 i = 0; i < 4; i++) p[i] = (char)(v >> 8 * i);
    }
}

__device__ __forceinline__ u32 load_u16(const char *p) { return *reinterpret_cast<const u16 *>(p); }
__device__ __forceinline__ void store_u16(char *p, u32 v) { *reinterpret_cast<u16 *>(p) = (u16)v; }

// Four bits, lowest first, to bit 0 of four bytes, and back.
__device__ __forceinline__ u32 spread_bits(u32 v) { return (v & 15) * 0x00204081u & BITS; }
__device__ __forceinline__ u32 gather_bits(u32 v) { return (v & BITS) * 0x01020408u >> 24 & 15; }

// Q8_0: bytes at QS of blocks of STEP bytes.
template <u32 STEP, u32 QS> struct bytes {
    static __device__ __forceinline__ u32 get(const char *run, u32 b, u32 e) {
        return load_word(run + b * STEP + QS + e);
    }
    static __device__ __forceinline__ void put(char *run, u32 e, const u32 (&low)[8], const u32 (&high)[8],
                                               u32 (&)[8]) {
#pragma unroll
        for (u32 b = 0; b < 8; b++) {
            store_word(run + b * STEP + QS + e, low[b]);
            store_word(run + b * STEP + QS + e + 16, high[b]);
        }
    }
    static __device__ __forceinline__ void finish(char *, const u32 (&)[8]) {}
};

// Blocks of 32: byte l at QS holds element l low, element l + 16 high.
template <u32 STEP, u32 QS> struct nibbles {
    static __device__ __forceinline__ u32 get(const char *run, u32 b, u32 e) {
        return load_word(run + b * STEP + QS + (e & 15)) >> (e & 16) / 4 & NIBBLES;
    }
    static __device__ __forceinline__ void put(char *run, u32 e, const u32 (&low)[8], const u32 (&high)[8],
                                               u32 (&)[8]) {
#pragma unroll
        for (u32 b = 0; b < 8; b++) store_word(run + b * STEP + QS + e, (low[b] & NIBBLES) | (high[b] & NIBBLES) << 4);
    }
    static __device__ __forceinline__ void finish(char *, const u32 (&)[8]) {}
};

// The same with a fifth bit: bit e of the word at QH.
template <u32 STEP, u32 QS, u32 QH> struct nibbles_and_bits {
    static __device__ __forceinline__ u32 get(const char *run, u32 b, u32 e) {
        return nibbles<STEP, QS>::get(run, b, e) | spread_bits(load_word(run + b * STEP + QH) >> e) << 4;
    }
    static __device__ __forceinline__ void put(char *run, u32 e, const u32 (&low)[8], const u32 (&high)[8],
                                               u32 (&carry)[8]) {
        nibbles<STEP, QS>::put(run, e, low, high, carry);
#pragma unroll
        for (u32 b = 0; b < 8; b++) carry[b] |= gather_bits(low[b] >> 4) << e | gather_bits(high[b] >> 4) << (e + 16);
    }
    static __device__ __forceinline__ void finish(char *run, const u32 (&carry)[8]) {
#pragma unroll
        for (u32 b = 0; b < 8; b++) store_word(run + b * STEP + QH, carry[b]);
    }
};

// Blocks of 256 have every quant's bits in the same byte l of a section for the same element l of several 32-element
// blocks, so that `half(run, l, q)` can write four of them for each block at a time.
template <class K> struct superblock {
    static __device__ __forceinline__ void put(char *run, u32 e, const u32 (&low)[8], const u32 (&high)[8],
                                               u32 (&)[8]) {
        K::half(run, e, low);
        K::half(run, e + 16, high);
    }
    static __device__ __forceinline__ void finish(char *, const u32 (&)[8]) {}
};

// Q4_K: byte l of 32 bytes j holds element l of block 2j low, of block 2j + 1 high.
template <u32 QS> struct k4 : superblock<k4<QS>> {
    static __device__ __forceinline__ u32 get(const char *run, u32 b, u32 e) {
        return load_word(run + QS + 32 * (b >> 1) + e) >> 4 * (b & 1) & NIBBLES;
    }
    static __device__ __forceinline__ void half(char *run, u32 e, const u32 (&q)[8]) {
#pragma unroll
        for (u32 j = 0; j < 4; j++)
            store_word(run + QS + 32 * j + e, (q[2 * j] & NIBBLES) | (q[2 * j + 1] & NIBBLES) << 4);
    }
};

// Q5_K: the same with a fifth bit, bit b of byte l at QH.
template <u32 QS, u32 QH> struct k5 : superblock<k5<QS, QH>> {
    static __device__ __forceinline__ u32 get(const char *run, u32 b, u32 e) {
        return k4<QS>::get(run, b, e) | (load_word(run + QH + e) >> b & BITS) << 4;
    }
    static __device__ __forceinline__ void half(char *run, u32 e, const u32 (&q)[8]) {
        k4<QS>::half(run, e, q);
        u32 bits = 0;
#pragma unroll
        for (u32 b = 0; b < 8; b++) bits |= (q[b] >> 4 & BITS) << b;
        store_word(run + QH + e, bits);
    }
};

// Q6_K: half n of the block has blocks 4n + j: low nibbles of j and j + 2 at 64n + 32 (j & 1), pairs of all four at QH + 32n.
template <u32 QH> struct k6 : superblock<k6<QH>> {
    static __device__ __forceinline__ u32 get(const char *run, u32 b, u32 e) {
        const u32 n = b >> 2, j = b & 3;
        return (load_word(run + 64 * n + 32 * (j & 1) + e) >> 4 * (j >> 1) & NIBBLES) |
               (load_word(run + QH + 32 * n + e) >> 2 * j & PAIRS) << 4;
    }
    static __device__ __forceinline__ void half(char *run, u32 e, const u32 (&q)[8]) {
#pragma unroll
        for (u32 n = 0; n < 2; n++) {
            u32 pairs = 0;
#pragma unroll
            for (u32 j = 0; j < 4; j++) pairs |= (q[4 * n + j] >> 4 & PAIRS) << 2 * j;
            store_word(run + QH + 32 * n + e, pairs);
#pragma unroll
            for (u32 j = 0; j < 2; j++)
                store_word(run + 64 * n + 32 * j + e, (q[4 * n + j] & NIBBLES) | (q[4 * n + j + 2] & NIBBLES) << 4);
        }
    }
};

// Two bits: byte l of 32 bytes n holds element l of blocks 4n + s at bit 2s.
template <u32 QS> struct k2 : superblock<k2<QS>> {
    static __device__ __forceinline__ u32 get(const char *run, u32 b, u32 e) {
        return load_word(run + QS + 32 * (b >> 2) + e) >> 2 * (b & 3) & PAIRS;
    }
    static __device__ __forceinline__ void half(char *run, u32 e, const u32 (&q)[8]) {
#pragma unroll
        for (u32 n = 0; n < 2; n++) {
            u32 pairs = 0;
#pragma unroll
            for (u32 s = 0; s < 4; s++) pairs |= (q[4 * n + s] & PAIRS) << 2 * s;
            store_word(run + QS + 32 * n + e, pairs);
        }
    }
};

// Q3_K: the same with a third bit, bit b of byte l at QH.
template <u32 QS, u32 QH> struct k3 : superblock<k3<QS, QH>> {
    static __device__ __forceinline__ u32 get(const char *run, u32 b, u32 e) {
        return k2<QS>::get(run, b, e) | (load_word(run + QH + e) >> b & BITS) << 2;
    }
    static __device__ __forceinline__ void half(char *run, u32 e, const u32 (&q)[8]) {
        k2<QS>::half(run, e, q);
        u32 bits = 0;
#pragma unroll
        for (u32 b = 0; b < 8; b++) bits |= (q[b] >> 2 & BITS) << b;
        store_word(run + QH + e, bits);
    }
};

}  // namespace reflex::packed
