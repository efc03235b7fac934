// Blocks of 32 elements, each with a scale of its own: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
#pragma once

#include "common/blocks/staged.cuh"

namespace reflex::weight {

// d: f16, then 16 bytes of nibbles: element l is the low nibble of byte l, element l + 16 the high one. w = d * (q - 8).
struct q4_0 : block_format<q4_0, 2, 16> {
    using staged = struct q4_0_staged;
    static constexpr bool SIGNED = false, MINIMUM = false;
    static constexpr int BYTES = 18, ELEMENTS = 32, GROUP = 32, BITS = 4, OFFSET = 8, STAGES = 4;
    struct piece {
        u32 q[2];
        float d;
    };
    using chunk = piece;

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        piece p;
        load_words(block + 2 + (i & 8), p.q);
        p.d = half_at(block);
        return p;
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        nibbles8(p.q[0], p.q[1], i >> 4 & 1, q0, q1);
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32, float &scale, float &minimum) {
        scale = p.d, minimum = 0.0f;
    }
};
struct q4_0_staged : staged_block_halves<q4_0> {
    static __device__ __forceinline__ void words(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        nibble_words(row.word(q4_0::BYTES * b + 2, 4 * t), w0, w1);
    }
};

// d, m: f16, then nibbles as in Q4_0. w = d * q + m.
struct q4_1 : block_format<q4_1, 2, 16> {
    using staged = struct q4_1_staged;
    static constexpr bool SIGNED = false, MINIMUM = true;
    static constexpr int BYTES = 20, ELEMENTS = 32, GROUP = 32, BITS = 4, OFFSET = 0, STAGES = 4;
    struct piece {
        u32 h, q[2];
    };
    using chunk = piece;

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        piece p;
        p.h = *reinterpret_cast<const u32 *>(block);
        load_aligned_words(block + 4 + (i & 8), p.q);
        return p;
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        nibbles8(p.q[0], p.q[1], i >> 4 & 1, q0, q1);
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32, float &scale, float &minimum) {
        scale = low_half(p.h), minimum = -high_half(p.h);
    }
};
struct q4_1_staged : staged_block_pairs<q4_1> {
    static __device__ __forceinline__ void words(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        nibble_words(row.word(q4_1::BYTES * b + 4, 4 * t), w0, w1);
    }
};

// Nibbles, and for element l of a block bit l of `qh` as a fifth bit. The product puts four bits a byte apart.
__device__ __forceinline__ void five_bits8(u32 w0, u32 w1, u32 qh, i32 i, u32 &q0, u32 &q1) {
    nibbles8(w0, w1, i >> 4 & 1, q0, q1);
    const u32 bits = qh >> (i & 24);
    q0 |= (bits & 15) * 0x02040810u & 0x10101010u;
    q1 |= (bits >> 4 & 15) * 0x02040810u & 0x10101010u;
}

// d: f16, qh: 32 bits, then nibbles as in Q4_0. w = d * (q - 16).
struct q5_0 : block_format<q5_0, 2, 16> {
    using staged = struct q5_0_staged;
    static constexpr bool SIGNED = false, MINIMUM = false;
    static constexpr int BYTES = 22, ELEMENTS = 32, GROUP = 32, BITS = 5, OFFSET = 16, STAGES = 4;
    struct piece {
        u32 qh[1], q[2];
        float d;
    };
    using chunk = piece;

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        piece p;
        load_words(block + 2, p.qh);
        load_words(block + 6 + (i & 8), p.q);
        p.d = half_at(block);
        return p;
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        five_bits8(p.q[0], p.q[1], p.qh[0], i, q0, q1);
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32, float &scale, float &minimum) {
        scale = p.d, minimum = 0.0f;
    }
};
struct q5_0_staged : staged_block_halves<q5_0> {
    static constexpr bool PLANE = true, PLANE_BITS = true;
    static __device__ __forceinline__ void words(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        nibble_words(row.word(q5_0::BYTES * b + 6, 4 * t), w0, w1);
    }
    static __device__ __forceinline__ void planes(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        const u32 qh = row.word(q5_0::BYTES * b + 2, 0, 2 * t);
        w0 = qh & 0x01010101u, w1 = qh >> 1 & 0x01010101u;
    }
    static __device__ __forceinline__ i32 plane_weight(i32) { return 16; }
};

// d, m: f16, qh: 32 bits, then nibbles as in Q4_0. w = d * q + m.
struct q5_1 : block_format<q5_1, 2, 16> {
    using staged = struct q5_1_staged;
    static constexpr bool SIGNED = false, MINIMUM = true;
    static constexpr int BYTES = 24, ELEMENTS = 32, GROUP = 32, BITS = 5, OFFSET = 0, STAGES = 4;
    struct piece {
        uint2 h, q;
    };
    using chunk = piece;

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        const uint2 *words = reinterpret_cast<const uint2 *>(block);
        return {words[0], words[1 + (i >> 3 & 1)]};
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        five_bits8(p.q.x, p.q.y, p.h.y, i, q0, q1);
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32, float &scale, float &minimum) {
        scale = low_half(p.h.x), minimum = -high_half(p.h.x);
    }
};
struct q5_1_staged : staged_block_pairs<q5_1> {
    static constexpr bool PLANE = true, PLANE_BITS = true;
    static __device__ __forceinline__ void words(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        nibble_words(row.word(q5_1::BYTES * b + 8, 4 * t), w0, w1);
    }
    static __device__ __forceinline__ void planes(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        const u32 qh = row.word(q5_1::BYTES * b + 4, 0, 2 * t);
        w0 = qh & 0x01010101u, w1 = qh >> 1 & 0x01010101u;
    }
    static __device__ __forceinline__ i32 plane_weight(i32) { return 16; }
};

// d: f16, then 32 signed bytes. w = d * q.
struct q8_0 : block_format<q8_0, 1, 8> {
    using staged = struct q8_0_staged;
    static constexpr bool SIGNED = true, MINIMUM = false;
    static constexpr int BYTES = 34, ELEMENTS = 32, GROUP = 32, BITS = 8, OFFSET = 0, STAGES = 4;
    struct piece {
        u32 q[2];
        float d;
    };
    using chunk = piece;

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        piece p;
        load_words(block + 2 + (i & 31), p.q);
        p.d = half_at(block);
        return p;
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32, u32 &q0, u32 &q1) { q0 = p.q[0], q1 = p.q[1]; }
    static __device__ __forceinline__ void scale8(const piece &p, i32, float &scale, float &minimum) {
        scale = p.d, minimum = 0.0f;
    }
};
struct q8_0_staged : staged_block_halves<q8_0> {
    static __device__ __forceinline__ void words(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        w0 = row.word(q8_0::BYTES * b + 2, 4 * t), w1 = row.word(q8_0::BYTES * b + 18, 4 * t);
    }
};

}  // namespace reflex::weight
