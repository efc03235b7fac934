// Formats whose four-bit codes are places in a table of sixteen signed bytes: IQ4_NL, IQ4_XS, MXFP4.
#pragma once

#include "common/blocks/staged.cuh"

namespace reflex::weight {

// What the low (plane 0) or high nibbles of eight bytes choose in a table, whose bytes are those of t0 to t3 in order.
// A byte permute looks four codes up in eight entries: each half of the table is asked, and bit 3 of a code picks the answer.
template <u32 t0, u32 t1, u32 t2, u32 t3>
__device__ __forceinline__ void lookup8(u32 w0, u32 w1, u32 plane, u32 &q0, u32 &q1) {
    const u32 m = 0x0f0f0f0fu;
    // Nibbles of w0 and w1 by turns.
    const u32 codes = plane ? (w0 >> 4 & m) | (w1 & ~m) : (w0 & m) | (w1 << 4 & ~m);
    const u32 place = codes & 0x77777777u, pick = 0x32103210u | (codes & 0x88888888u) >> 1;
    const u32 a = __byte_perm(__byte_perm(t0, t1, place), __byte_perm(t2, t3, place), pick);
    const u32 b = __byte_perm(__byte_perm(t0, t1, place >> 16), __byte_perm(t2, t3, place >> 16), pick >> 16);
    q0 = __byte_perm(a, b, 0x6420), q1 = __byte_perm(a, b, 0x7531);
}

// -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
__device__ __forceinline__ void lookup_iq4(u32 w0, u32 w1, u32 plane, u32 &q0, u32 &q1) {
    lookup8<0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u>(w0, w1, plane, q0, q1);
}

// Twice E2M1: 0, 1, 2, 3, 4, 6, 8, 12 and their negatives.
__device__ __forceinline__ void lookup_e2m1(u32 w0, u32 w1, u32 plane, u32 &q0, u32 &q1) {
    lookup8<0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu>(w0, w1, plane, q0, q1);
}

// A table's positive entries and its negative ones, as magnitudes below 128, by a code's lower three bits. A byte permute
// takes four codes as they lie, 16 bits of them, and where the fourth bit of one is set gives the top bit of an entry eight
// times, 0: so it leaves out the other sign.
__device__ __forceinline__ void signs_iq4(u32 codes, u32 &positive, u32 &negative) {
    positive = permute_or_sign(0x26190d01u, 0x71594535u, codes ^ 0x8888u);
    negative = permute_or_sign(0x4153687fu, 0x0a162331u, codes);
}
__device__ __forceinline__ void signs_e2m1(u32 codes, u32 &positive, u32 &negative) {
    positive = permute_or_sign(0x03020100u, 0x0c080604u, codes);
    negative = permute_or_sign(0x03020100u, 0x0c080604u, codes ^ 0x8888u);
}

// d: f16, then 16 bytes of codes: element l is the low nibble of byte l, element l + 16 the high one. w = d * value.
struct iq4_nl : block_format<iq4_nl, 2, 16> {
    using staged = struct iq4_nl_staged;
    static constexpr bool SIGNED = true, MINIMUM = false;
    static constexpr int BYTES = 18, ELEMENTS = 32, GROUP = 32, BITS = 8, OFFSET = 0, STAGES = 4;
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
        lookup_iq4(p.q[0], p.q[1], i >> 4 & 1, q0, q1);
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32, float &scale, float &minimum) {
        scale = p.d, minimum = 0.0f;
    }
};
struct iq4_nl_staged : staged_block_halves<iq4_nl> {
    static constexpr bool SPLIT = true;
    static constexpr element_order ORDER = element_order::PAIRED;
    static __device__ __forceinline__ void signs(const bytes &row, i32 b, i32 t, u32 (&positive)[2],
                                                 u32 (&negative)[2]) {
#pragma unroll
        for (int w = 0; w < 2; w++) signs_iq4(row.half(iq4_nl::BYTES * b + 2 + 2 * w, 4 * t), positive[w], negative[w]);
    }
};

// d: f16, 16 bits of upper scale bits, 4 bytes of lower ones, 128 bytes of codes. Sub-block j of 32 has 16 of these, laid
// out as in IQ4_NL; its scale has nibble j of the lower and bits 2 j of the upper ones. w = d * (scale[j] - 32) * value.
struct iq4_xs : block_format<iq4_xs, 2, 16> {
    using staged = struct iq4_xs_staged;
    static constexpr bool SIGNED = true, MINIMUM = false;
    static constexpr int BYTES = 136, ELEMENTS = 256, GROUP = 32, BITS = 8, OFFSET = 0, STAGES = 4;
    struct piece {
        uint2 h, q;
    };
    using chunk = piece;

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        const uint2 *words = reinterpret_cast<const uint2 *>(block);
        return {words[0], words[1 + 2 * (i >> 5 & 7) + (i >> 3 & 1)]};
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        lookup_iq4(p.q.x, p.q.y, i >> 4 & 1, q0, q1);
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32 i, float &scale, float &minimum) {
        const i32 j = i >> 5 & 7;
        const u32 s = (p.h.y >> 4 * j & 15) | (p.h.x >> (16 + 2 * j) & 3) << 4;
        scale = __fmul_rn(low_half(p.h.x), (float)((i32)s - 32));
        minimum = 0.0f;
    }
};
struct iq4_xs_staged : staged_format<iq4_xs> {
    static constexpr bool SPLIT = true, ROW = true;
    static constexpr element_order ORDER = element_order::PAIRED;
    struct regs {
        u32 d, scales;  // six bits and six bits
    };
    static __device__ __forceinline__ void signs(const bytes &row, i32 b, i32 t, u32 (&positive)[2],
                                                 u32 (&negative)[2]) {
#pragma unroll
        for (int w = 0; w < 2; w++) signs_iq4(row.half(8 + 16 * b + 2 * w, 4 * t), positive[w], negative[w]);
    }
    static __device__ __forceinline__ regs load(const bytes &row, i32 t) {
        const uint2 h = row.words2(0);
        const u32 low = h.y >> 8 * t, high = h.x >> (16 + 4 * t);
        return {h.x, (low & 15) | (low & 0xf0) << 4 | (high & 3) << 4 | (high & 12) << 10};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 c, float &scale, float &minimum) {
        scale = byte_value(r.scales, c, 32.0f), minimum = 0.0f;
    }
    static __device__ __forceinline__ void row(const regs &r, float &scale, float &minimum) {
        scale = low_half(r.d), minimum = 0.0f;
    }
};

// e: a byte, then 16 bytes of codes as in IQ4_NL. w = 2^(e - 127) / 2 * value, for the table's values are doubled.
struct mxfp4 : block_format<mxfp4, 2, 16> {
    using staged = struct mxfp4_staged;
    static constexpr bool SIGNED = true, MINIMUM = false;
    static constexpr int BYTES = 17, ELEMENTS = 32, GROUP = 32, BITS = 8, OFFSET = 0, STAGES = 4;
    struct piece {
        u32 q[2], e;
    };
    using chunk = piece;

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        piece p;
        load_words_anywhere(block + 1 + (i & 8), p.q);
        p.e = *reinterpret_cast<const u8 *>(block);
        return p;
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        lookup_e2m1(p.q[0], p.q[1], i >> 4 & 1, q0, q1);
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32, float &scale, float &minimum) {
        // Below 2^-126 an f32 is subnormal: its top mantissa bits are the powers of two.
        scale = __uint_as_float(p.e < 2 ? 0x00200000u << p.e : (p.e - 1) << 23);
        minimum = 0.0f;
    }
};
struct mxfp4_staged : staged_format<mxfp4> {
    static constexpr bool SPLIT = true;
    static constexpr element_order ORDER = element_order::PAIRED;
    struct regs {
        u32 e[2];
    };
    static __device__ __forceinline__ void signs(const bytes &row, i32 b, i32 t, u32 (&positive)[2],
                                                 u32 (&negative)[2]) {
        const u32 v = row.word(mxfp4::BYTES * b + 1, 4 * t);
        signs_e2m1(v, positive[0], negative[0]);
        signs_e2m1(v >> 16, positive[1], negative[1]);
    }
    static __device__ __forceinline__ regs load(const bytes &row, i32 t) {
        return {{row.byte(0, 2 * mxfp4::BYTES * t), row.byte(mxfp4::BYTES, 2 * mxfp4::BYTES * t)}};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 c, float &scale, float &minimum) {
        scale = __uint_as_float(r.e[c] < 2 ? 0x00200000u << r.e[c] : (r.e[c] - 1) << 23), minimum = 0.0f;
    }
};

}  // namespace reflex::weight
