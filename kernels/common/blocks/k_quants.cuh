// Blocks of 256 elements. All but TQ2_0 have a quantised scale, and in some formats a minimum, for each 16 or 32 of them.
#pragma once

#include "common/blocks/staged.cuh"
#include "common/memory.cuh"

namespace reflex::weight {

// 16 bytes of scales (low nibble) and minima (high), 64 bytes of quants, d, dmin: f16. Half n of the block holds four runs
// j of 32: element l of run j is bits 2 j of qs[32 n + l]. Scale g is that of elements 16 g and on.
// w = d * scale[g] * q - dmin * minimum[g].
struct q2_k : block_format<q2_k, 4, 32> {
    using staged = struct q2_k_staged;
    static constexpr bool SIGNED = false, MINIMUM = true;
    static constexpr int BYTES = 84, ELEMENTS = 256, GROUP = 16, BITS = 2, OFFSET = 0, STAGES = 2;
    struct piece {
        u32 q[2], scales[2], d;
    };
    using chunk = piece;

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        const i32 n = i >> 7 & 1;
        piece p;
        load_aligned_words(block + 16 + 32 * n + (i & 24), p.q);
        load_aligned_words(block + 8 * n, p.scales);
        p.d = *reinterpret_cast<const u32 *>(block + 80);
        return p;
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        const i32 j = i >> 5 & 3;
        q0 = p.q[0] >> 2 * j & 0x03030303u, q1 = p.q[1] >> 2 * j & 0x03030303u;
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32 i, float &scale, float &minimum) {
        const i32 g = i >> 4 & 7;
        const u32 both = (g & 4 ? p.scales[1] : p.scales[0]) >> 8 * (g & 3);
        scale = __fmul_rn(low_half(p.d), (float)(both & 15));
        minimum = __fmul_rn(high_half(p.d), (float)(both >> 4 & 15));
    }
};
struct q2_k_staged : staged_format<q2_k> {
    static constexpr bool ROW = true;
    struct regs {
        u32 s, d;  // bytes of groups 4t to 4t + 3
    };
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return 1 << 2 * (b & 3); }
    static __device__ __forceinline__ void words(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        const u32 at = 16 + 32 * (b >> 2), mask = 0x03030303u << 2 * (b & 3);
        w0 = row.word(at, 4 * t) & mask, w1 = row.word(at + 16, 4 * t) & mask;
    }
    static __device__ __forceinline__ regs load(const bytes &row, i32 t) { return {row.word(0, 4 * t), row.word(80)}; }
    static __device__ __forceinline__ void get(const regs &r, i32 c, float &scale, float &minimum) {
        scale = byte_value(r.s & 0x0f0f0f0fu, c), minimum = byte_value(r.s >> 4 & 0x0f0f0f0fu, c);
    }
    // As tiles::q2_k_scales.
    static __device__ __forceinline__ i32 minima(const regs &r, i32 column, i32 sums, i32 start) {
        const i32 m = (i32)(r.s >> 4 & 0x0f0f0f0fu);
        return column ? __dp2a_hi(sums, m, start) : __dp2a_lo(sums, m, start);
    }
    static __device__ __forceinline__ void row(const regs &r, float &scale, float &minimum) {
        scale = low_half(r.d), minimum = high_half(r.d);
    }
};

// 64 bytes of quants as in Q2_K, d: f16. w = d * (q - 1): three values, and a fourth that files do not hold.
struct tq2_0 : block_format<tq2_0, 4, 32> {
    using staged = struct tq2_0_staged;
    static constexpr bool SIGNED = false, MINIMUM = false;
    static constexpr int BYTES = 66, ELEMENTS = 256, GROUP = 32, BITS = 2, OFFSET = 1, STAGES = 4;
    struct piece {
        u32 q[2];
        float d;
    };
    using chunk = piece;

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        piece p;
        load_words(block + 32 * (i >> 7 & 1) + (i & 24), p.q);
        p.d = half_at(block + 64);
        return p;
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        const i32 j = i >> 5 & 3;
        q0 = p.q[0] >> 2 * j & 0x03030303u, q1 = p.q[1] >> 2 * j & 0x03030303u;
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32, float &scale, float &minimum) {
        scale = p.d, minimum = 0.0f;
    }
};
struct tq2_0_staged : staged_format<tq2_0> {
    static constexpr bool ROW = true;
    using regs = u32;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return 1 << 2 * (b & 3); }
    static __device__ __forceinline__ void words(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        const u32 at = 32 * (b >> 2), mask = 0x03030303u << 2 * (b & 3);
        w0 = row.word(at, 4 * t) & mask, w1 = row.word(at + 16, 4 * t) & mask;
    }
    static __device__ __forceinline__ regs load(const bytes &row, i32) { return row.half(64); }
    static __device__ __forceinline__ void get(const regs &, i32, float &scale, float &minimum) {
        scale = 1.0f, minimum = 0.0f;
    }
    static __device__ __forceinline__ void row(const regs &r, float &scale, float &minimum) {
        scale = low_half(r), minimum = 0.0f;
    }
};

// 32 bytes hmask, 64 bytes of quants, 12 bytes of scales, d: f16. Two bits of a quant lie as in Q2_K; the third, of run r
// of eight, is bit r of hmask[l]. Of scale g the low nibble is half g / 8 of byte g % 8, the upper two bits are bits
// 2 (g / 4) of byte 8 + g % 4. w = d * (scale[g] - 32) * (q - 4).
struct q3_k : block_format<q3_k, 4, 32> {
    using staged = struct q3_k_staged;
    static constexpr bool SIGNED = false, MINIMUM = false;
    static constexpr int BYTES = 110, ELEMENTS = 256, GROUP = 16, BITS = 3, OFFSET = 4, STAGES = 2;
    struct piece {
        u32 q[2], hmask[2], scales[3];
        float d;
    };
    using chunk = piece;

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        piece p;
        load_words(block + (i & 24), p.hmask);
        load_words(block + 32 + 32 * (i >> 7 & 1) + (i & 24), p.q);
        load_words(block + 96, p.scales);
        p.d = half_at(block + 108);
        return p;
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        const i32 r = i >> 5 & 7, j = r & 3;
        q0 = (p.q[0] >> 2 * j & 0x03030303u) | (p.hmask[0] >> r & 0x01010101u) << 2;
        q1 = (p.q[1] >> 2 * j & 0x03030303u) | (p.hmask[1] >> r & 0x01010101u) << 2;
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32 i, float &scale, float &minimum) {
        const i32 g = i >> 4 & 15, byte = 8 * (g & 3);
        const u32 low = (g & 4 ? p.scales[1] : p.scales[0]) >> (byte + 4 * (g >> 3)) & 15;
        const u32 high = p.scales[2] >> (byte + 2 * (g >> 2)) & 3;
        scale = __fmul_rn(p.d, (float)((i32)(low | high << 4) - 32));
        minimum = 0.0f;
    }
};
struct q3_k_staged : staged_format<q3_k> {
    static constexpr bool PLANE = true, ROW = true;
    struct regs {
        u32 s, d;  // scales of groups 4t to 4t + 3
    };
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return 1 << 2 * (b & 3); }
    static __device__ __forceinline__ void words(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        const u32 at = 32 + 32 * (b >> 2), mask = 0x03030303u << 2 * (b & 3);
        w0 = row.word(at, 4 * t) & mask, w1 = row.word(at + 16, 4 * t) & mask;
    }
    static __device__ __forceinline__ void planes(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        const u32 turn = b & 4, mask = 0x01010101u << (b & 3);
        w0 = row.word(0, 4 * t, turn) & mask, w1 = row.word(16, 4 * t, turn) & mask;
    }
    static __device__ __forceinline__ i32 plane_weight(i32 b) { return 4 << (b & 3); }
    static __device__ __forceinline__ regs load(const bytes &row, i32 t) {
        const u32 low = row.word(96, 4 * (t & 1)) >> 4 * (t >> 1), high = row.word(104) >> 2 * t;
        return {(low & 0x0f0f0f0fu) | (high << 4 & 0x30303030u), row.half(108)};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 c, float &scale, float &minimum) {
        scale = byte_value(r.s, c, 32.0f), minimum = 0.0f;
    }
    static __device__ __forceinline__ void row(const regs &r, float &scale, float &minimum) {
        scale = low_half(r.d), minimum = 0.0f;
    }
};

// Scale and minimum of sub-block j (32 elements) of Q4_K and Q5_K: 6 bits each, packed in the twelve bytes h.y, h.z, h.w.
__device__ __forceinline__ void k_scale(const uint4 &h, i32 j, float &scale, float &minimum) {
    const u32 shift = (j & 3) * 8, a = h.y >> shift, b = h.z >> shift, c = h.w >> shift;
    const u32 s = j < 4 ? a & 63 : (c & 15) | (a >> 2 & 0x30);
    const u32 m = j < 4 ? b & 63 : (c >> 4 & 15) | (b >> 2 & 0x30);
    scale = __fmul_rn(low_half(h.x), (float)s);
    minimum = __fmul_rn(high_half(h.x), (float)m);
}

// Of sub-blocks 2t and 2t + 1 as bytes: two scales, two minima.
struct k_scales {
    u32 d, fields;
    k_scales() = default;
    __device__ __forceinline__ k_scales(const uint4 &h, i32 t) : d(h.x) {
        const u32 pick = t & 1 ? 0x7632 : 0x5410;
        const u32 low = __byte_perm(h.y, h.z, pick), high = __byte_perm(h.w, h.w >> 4, pick);
        fields = t < 2 ? low & 0x3f3f3f3fu : (high & 0x0f0f0f0fu) | (low >> 2 & 0x30303030u);
    }
};
struct staged_k_scales {
    using regs = k_scales;
    static constexpr bool ROW = true;
    static __device__ __forceinline__ regs load(const staged_row<16> &row, i32 t) { return {row.words4(0), t}; }
    static __device__ __forceinline__ void get(const regs &r, i32 c, float &scale, float &minimum) {
        scale = byte_value(r.fields, c), minimum = byte_value(r.fields, 2 + c);
    }
    static __device__ __forceinline__ void row(const regs &r, float &scale, float &minimum) {
        scale = low_half(r.d), minimum = high_half(r.d);
    }
};

__device__ __forceinline__ uint2 half_of(const uint4 &v, int p) {
    return p & 1 ? make_uint2(v.z, v.w) : make_uint2(v.x, v.y);
}

// d, dmin: f16; 12 bytes of scales; 128 bytes of nibbles: 32 bytes hold sub-block 2g (low) and 2g + 1 (high).
// w = d * scale[j] * q - dmin * minimum[j].
struct q4_k : block_format<q4_k, 4, 32> {
    using staged = struct q4_k_staged;
    static constexpr bool SIGNED = false, MINIMUM = true;
    static constexpr int BYTES = 144, ELEMENTS = 256, GROUP = 32, BITS = 4, OFFSET = 0, STAGES = 2, SAME_SCALE = 2;
    struct piece {
        uint4 h;
        uint2 q;
    };
    // Sixteen bytes of nibbles: sixteen elements in each of two sub-blocks.
    struct chunk {
        uint4 h, q;
    };

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        const i32 g = i >> 6 & 3, l = i & 31;
        return {*reinterpret_cast<const uint4 *>(block), *reinterpret_cast<const uint2 *>(block + 16 + 32 * g + l)};
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        nibbles8(p.q.x, p.q.y, i >> 5 & 1, q0, q1);
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32 i, float &scale, float &minimum) {
        k_scale(p.h, i >> 5 & 7, scale, minimum);
    }
    static __device__ __forceinline__ chunk load(const char *row, i32 c, i32, bool) {
        const char *block = row + (i64)(c >> 3) * BYTES;
        return {*reinterpret_cast<const uint4 *>(block), load_stream(block + 16 + 16 * (c & 7))};
    }
    static __device__ __forceinline__ i32 element(i32 c, int p) {
        return (c >> 1) * 64 + (c & 1) * 16 + (p >> 1) * 32 + (p & 1) * 8;
    }
    static __device__ __forceinline__ piece part(const chunk &v, i32, int p) { return {v.h, half_of(v.q, p)}; }
};
struct q4_k_staged : staged_format<q4_k>, staged_k_scales {
    static constexpr bool NIBBLES = true, ROW = true;
    static constexpr element_order ORDER = element_order::ORDERED;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return b & 1 ? 16 : 1; }
    // Of blocks 2j (low nibbles) and 2j + 1 (high).
    static __device__ __forceinline__ uint2 nibbles(const bytes &row, i32 j, i32 t) {
        return row.words2(16 + 32 * j, 8 * t);
    }
};

// As Q4_K with a fifth bit: bit j of byte l of the 32 bytes `qh` belongs to element l of sub-block j.
struct q5_k : block_format<q5_k, 4, 32> {
    using staged = struct q5_k_staged;
    static constexpr bool SIGNED = false, MINIMUM = true;
    static constexpr int BYTES = 176, ELEMENTS = 256, GROUP = 32, BITS = 5, OFFSET = 0, STAGES = 2, SAME_SCALE = 2;
    struct piece {
        uint4 h;
        uint2 q, qh;
    };
    struct chunk {
        uint4 h, q, qh;
    };

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        const i32 g = i >> 6 & 3, l = i & 31;
        return {*reinterpret_cast<const uint4 *>(block), *reinterpret_cast<const uint2 *>(block + 48 + 32 * g + l),
                *reinterpret_cast<const uint2 *>(block + 16 + l)};
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        const i32 j = i >> 5 & 7;
        nibbles8(p.q.x, p.q.y, j & 1, q0, q1);
        q0 |= (p.qh.x >> j & 0x01010101u) << 4, q1 |= (p.qh.y >> j & 0x01010101u) << 4;
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32 i, float &scale, float &minimum) {
        k_scale(p.h, i >> 5 & 7, scale, minimum);
    }
    static __device__ __forceinline__ chunk load(const char *row, i32 c, i32, bool) {
        const char *block = row + (i64)(c >> 3) * BYTES;
        return {*reinterpret_cast<const uint4 *>(block), load_stream(block + 48 + 16 * (c & 7)),
                *reinterpret_cast<const uint4 *>(block + 16 + 16 * (c & 1))};
    }
    static __device__ __forceinline__ i32 element(i32 c, int p) { return q4_k::element(c, p); }
    static __device__ __forceinline__ piece part(const chunk &v, i32, int p) {
        return {v.h, half_of(v.q, p), half_of(v.qh, p)};
    }
};
struct q5_k_staged : staged_format<q5_k>, staged_k_scales {
    static constexpr bool NIBBLES = true, ROW = true, PLANE = true;
    static constexpr element_order ORDER = element_order::ORDERED;
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return b & 1 ? 16 : 1; }
    // Of blocks 2j (low nibbles) and 2j + 1 (high).
    static __device__ __forceinline__ uint2 nibbles(const bytes &row, i32 j, i32 t) {
        return row.words2(48 + 32 * j, 8 * t);
    }
    static __device__ __forceinline__ void planes(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        const uint2 v = row.words2(16, 8 * t);
        // The seventh comes to where its nibble's fifth bit is: it weighs less than one of a scaled nibble.
        const u32 turn = b == 6 ? 2 : 0, mask = b == 6 ? 0x10101010u : 0x01010101u << b;
        w0 = v.x >> turn & mask, w1 = v.y >> turn & mask;
    }
    static __device__ __forceinline__ i32 plane_weight(i32 b) { return b & 1 ? 256 >> b : b == 6 ? 1 : 16 >> b; }
};

// 128 bytes ql, 64 bytes qh, 16 signed scales, d: f16. Half n of the block holds four runs j of 32: element l of run j has
// the nibble j / 2 of ql[64 n + 32 (j & 1) + l] and bits 2 j of qh[32 n + l]. w = d * scale[8 n + 2 j + l / 16] * (q - 32).
struct q6_k : block_format<q6_k, 4, 32> {
    using staged = struct q6_k_staged;
    static constexpr bool SIGNED = false, MINIMUM = false;
    static constexpr int BYTES = 210, ELEMENTS = 256, GROUP = 16, BITS = 6, OFFSET = 32, STAGES = 2;
    struct piece {
        u32 q[2], qh[2];
        float d, scale;
    };
    // Eight values of l in one half: eight elements in each of the four runs.
    struct chunk {
        u32 q0[2], q1[2], qh[2], scales[2];
        float d;
    };

    static __device__ __forceinline__ piece at(const char *block, i32 i) {
        const i32 n = i >> 7 & 1, j = i >> 5 & 3, l = i & 31;
        piece p;
        load_words(block + 64 * n + 32 * (j & 1) + l, p.q);
        load_words(block + 128 + 32 * n + l, p.qh);
        p.scale = (float)*reinterpret_cast<const i8 *>(block + 192 + 8 * n + 2 * j + (l >> 4));
        p.d = half_at(block + 208);
        return p;
    }
    static __device__ __forceinline__ void quants8(const piece &p, i32 i, u32 &q0, u32 &q1) {
        const i32 j = i >> 5 & 3;
        nibbles8(p.q[0], p.q[1], j >> 1, q0, q1);
        q0 |= (p.qh[0] >> 2 * j & 0x03030303u) << 4, q1 |= (p.qh[1] >> 2 * j & 0x03030303u) << 4;
    }
    static __device__ __forceinline__ void scale8(const piece &p, i32, float &scale, float &minimum) {
        scale = __fmul_rn(p.d, p.scale), minimum = 0.0f;
    }
    static __device__ __forceinline__ chunk load(const char *row, i32 c, i32, bool) {
        const char *block = row + (i64)(c >> 3) * BYTES;
        const i32 n = c >> 2 & 1, l = (c & 3) * 8;
        chunk v;
        load_words(block + 64 * n + l, v.q0);
        load_words(block + 64 * n + 32 + l, v.q1);
        load_words(block + 128 + 32 * n + l, v.qh);
        load_words(block + 192 + 8 * n, v.scales);
        v.d = half_at(block + 208);
        return v;
    }
    static __device__ __forceinline__ piece part(const chunk &v, i32 c, int p) {
        const u32 byte = 2 * (p & 1) + (c >> 1 & 1);
        const float scale = (float)(i8)(v.scales[p >> 1] >> 8 * byte);
        return {{p & 1 ? v.q1[0] : v.q0[0], p & 1 ? v.q1[1] : v.q0[1]}, {v.qh[0], v.qh[1]}, v.d, scale};
    }
};
struct q6_k_staged : staged_format<q6_k> {
    static constexpr bool PLANE = true, ROW = true;
    struct regs {
        u32 s, d;  // scales of groups 4t to 4t + 3
    };
    static __device__ __forceinline__ constexpr i32 scale_of(i32 b) { return b & 2 ? 16 : 1; }
    static __device__ __forceinline__ void words(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        const u32 at = 64 * (b >> 2) + 32 * (b & 1), mask = b & 2 ? 0xf0f0f0f0u : 0x0f0f0f0fu;
        w0 = row.word(at, 4 * t) & mask, w1 = row.word(at + 16, 4 * t) & mask;
    }
    static __device__ __forceinline__ void planes(const bytes &row, i32 b, i32 t, u32 &w0, u32 &w1) {
        const u32 at = 128 + 32 * (b >> 2), mask = 0x03030303u << 2 * (b & 3);
        w0 = row.word(at, 4 * t) & mask, w1 = row.word(at + 16, 4 * t) & mask;
    }
    static __device__ __forceinline__ i32 plane_weight(i32 b) { return b & 1 ? 4 : 16; }
    static __device__ __forceinline__ regs load(const bytes &row, i32 t) {
        return {row.word(192, 4 * t) ^ 0x80808080u, row.half(208)};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 c, float &scale, float &minimum) {
        scale = byte_value(r.s, c, 128.0f), minimum = 0.0f;
    }
    static __device__ __forceinline__ void row(const regs &r, float &scale, float &minimum) {
        scale = low_half(r.d), minimum = 0.0f;
    }
};

}  // namespace reflex::weight
