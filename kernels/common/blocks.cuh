// Weight formats: one traits type each in reflex::weight, plain (F32, F16, BF16) and GGUF blocks (Q4_0, Q8_0, Q4_K, Q5_K, Q6_K).
//
// Each type reads a weight row in two ways:
//   chunk  what one lane of a matrix-vector product takes at a time: CHUNK elements in PIECES runs of eight.
//          `load` keeps the bytes, `element` says where a run lies in the row, `weights` expands one run with one fused
//          multiply-add per element (within 4 units in the last place of the format's largest partial value).
//   piece  eight elements from a multiple of eight. `load8` keeps the bytes, `exact8` expands them bit for bit as the
//          format's reference does: every product and difference is rounded to f32.
//
// Integers become floats without a conversion instruction (those run at a fraction of the arithmetic rate): a field of b
// bits goes to the top of the mantissa of a float whose exponent says [1, 2), one byte permute for each element, and
// reads as u = 1 + q / 2^b.
//
// Q4_K (144 bytes) and Q5_K (176) are read in 16-byte words: data and row stride must be multiples of 16. Q4_0 (18), Q8_0
// (34) and Q6_K (210) leave every second block at 2 modulo 4: `load_words` reads 4-byte words and shifts.
#pragma once

#include "common/memory.cuh"
#include "common/types.cuh"

namespace reflex::weight {

// N words from an address that is a multiple of 2. Where it is 2 modulo 4 the two bytes before it are read too: they
// belong to the same tensor, whose data is a multiple of 4.
template <int N> __device__ __forceinline__ void load_words(const char *p, u32 (&w)[N]) {
    const u32 odd = (u32) reinterpret_cast<u64>(p) & 2u;
    const u32 *from = reinterpret_cast<const u32 *>(p - odd);
    u32 t[N + 1];
#pragma unroll
    for (int i = 0; i < N; i++) t[i] = from[i];
    t[N] = odd ? *reinterpret_cast<const u16 *>(p + 4 * N - 2) : 0;
#pragma unroll
    for (int i = 0; i < N; i++) w[i] = __funnelshift_r(t[i], t[i + 1], odd * 8);
}

__device__ __forceinline__ float half_at(const char *p) { return __half2float(*reinterpret_cast<const __half *>(p)); }
__device__ __forceinline__ float low_half(u32 bits) { return __half2float(__ushort_as_half((u16)bits)); }
__device__ __forceinline__ float high_half(u32 bits) { return __half2float(__ushort_as_half((u16)(bits >> 16))); }

// Eight mantissa bytes (top bit set) as floats in [1, 2).
__device__ __forceinline__ void mantissa8(u32 t0, u32 t1, float (&u)[8]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        u[i] = __uint_as_float(__byte_perm(t0, 0x3f000000u, 0x7044 | i << 8));
        u[4 + i] = __uint_as_float(__byte_perm(t1, 0x3f000000u, 0x7044 | i << 8));
    }
}

// 1 + q / 16 of the low (plane 0) or high (plane 1) nibbles of eight bytes.
__device__ __forceinline__ void nibbles8(u32 q0, u32 q1, u32 plane, float (&u)[8]) {
    const u32 m = 0x78787878u, one = 0x80808080u;
    if (plane) mantissa8((q0 >> 1 & m) | one, (q1 >> 1 & m) | one, u);
    else mantissa8((q0 << 3 & m) | one, (q1 << 3 & m) | one, u);
}

__device__ __forceinline__ void scale8(float a, float b, float (&w)[8]) {
#pragma unroll
    for (int i = 0; i < 8; i++) w[i] = fmaf(a, w[i], b);
}

// scale * q, rounded once; q = a * u + b is exact.
__device__ __forceinline__ void exact_scale8(float a, float b, float scale, float (&w)[8]) {
#pragma unroll
    for (int i = 0; i < 8; i++) w[i] = __fmul_rn(scale, fmaf(a, w[i], b));
}

// --- plain types -----------------------------------------------------------------------------------------------------

// Run-time alignment: `vec` says that rows are 16-byte aligned and their length is a multiple of 8.
template <typename T> struct plain16 {
    static constexpr bool BLOCKS = false;
    static constexpr int CHUNK = 8, PIECES = 1, STAGES = 4;
    struct piece {
        u32 q[4];
    };
    using chunk = piece;

    static __device__ __forceinline__ piece load8(const char *row, i32 i, i32 k, bool vec) {
        piece p;
        const u16 *from = reinterpret_cast<const u16 *>(row) + i;
        if (vec) {
            const uint4 v = load_stream(from);
            p.q[0] = v.x, p.q[1] = v.y, p.q[2] = v.z, p.q[3] = v.w;
        } else {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const u32 low = i + 2 * e < k ? from[2 * e] : 0, high = i + 2 * e + 1 < k ? from[2 * e + 1] : 0;
                p.q[e] = low | high << 16;
            }
        }
        return p;
    }
    static __device__ __forceinline__ void exact8(const piece &p, i32, float (&w)[8]) {
#pragma unroll
        for (int e = 0; e < 4; e++) w[2 * e] = T::low(p.q[e]), w[2 * e + 1] = T::high(p.q[e]);
    }
    static __device__ __forceinline__ chunk load(const char *row, i32 c, i32 k, bool vec) {
        return load8(row, c * 8, k, vec);
    }
    static __device__ __forceinline__ i32 element(i32 c, int) { return c * 8; }
    static __device__ __forceinline__ void weights(const chunk &p, i32, int, float (&w)[8]) { exact8(p, 0, w); }
};

struct half_bits {
    static __device__ __forceinline__ float low(u32 bits) { return low_half(bits); }
    static __device__ __forceinline__ float high(u32 bits) { return high_half(bits); }
};
struct bfloat_bits {
    static __device__ __forceinline__ float low(u32 bits) { return __uint_as_float(bits << 16); }
    static __device__ __forceinline__ float high(u32 bits) { return __uint_as_float(bits & 0xffff0000u); }
};
struct f16 : plain16<half_bits> {};
struct bf16 : plain16<bfloat_bits> {};

struct f32 {
    static constexpr bool BLOCKS = false;
    static constexpr int CHUNK = 8, PIECES = 1, STAGES = 2;
    struct piece {
        float q[8];
    };
    using chunk = piece;

    static __device__ __forceinline__ piece load8(const char *row, i32 i, i32 k, bool vec) {
        piece p;
        const float *from = reinterpret_cast<const float *>(row) + i;
        if (vec) {
            const uint4 a = load_stream(from), b = load_stream(from + 4);
            const u32 bits[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
            for (int e = 0; e < 8; e++) p.q[e] = __uint_as_float(bits[e]);
        } else {
#pragma unroll
            for (int e = 0; e < 8; e++) p.q[e] = i + e < k ? from[e] : 0.0f;
        }
        return p;
    }
    static __device__ __forceinline__ void exact8(const piece &p, i32, float (&w)[8]) {
#pragma unroll
        for (int e = 0; e < 8; e++) w[e] = p.q[e];
    }
    static __device__ __forceinline__ chunk load(const char *row, i32 c, i32 k, bool vec) {
        return load8(row, c * 8, k, vec);
    }
    static __device__ __forceinline__ i32 element(i32 c, int) { return c * 8; }
    static __device__ __forceinline__ void weights(const chunk &p, i32, int, float (&w)[8]) { exact8(p, 0, w); }
};

// --- 32-element blocks -----------------------------------------------------------------------------------------------

// d: f16, then 16 bytes of nibbles: element l is the low nibble of byte l, element l + 16 the high one. w = d * (q - 8).
struct q4_0 {
    static constexpr bool BLOCKS = true;
    static constexpr int BYTES = 18, CHUNK = 16, PIECES = 2, STAGES = 4;
    struct piece {
        u32 q[2];
        float d;
    };
    using chunk = piece;  // half of a block's bytes, both nibbles of each

    static __device__ __forceinline__ piece load_at(const char *block, i32 half) {
        piece p;
        load_words(block + 2 + 8 * half, p.q);
        p.d = half_at(block);
        return p;
    }
    static __device__ __forceinline__ piece load8(const char *row, i32 i, i32, bool) {
        return load_at(row + (i64)(i >> 5) * BYTES, i >> 3 & 1);
    }
    static __device__ __forceinline__ void exact8(const piece &p, i32 i, float (&w)[8]) {
        nibbles8(p.q[0], p.q[1], i >> 4 & 1, w);
        exact_scale8(16.0f, -24.0f, p.d, w);
    }
    static __device__ __forceinline__ chunk load(const char *row, i32 c, i32, bool) {
        return load_at(row + (i64)(c >> 1) * BYTES, c & 1);
    }
    static __device__ __forceinline__ i32 element(i32 c, int p) { return (c >> 1) * 32 + (c & 1) * 8 + p * 16; }
    static __device__ __forceinline__ void weights(const chunk &v, i32, int p, float (&w)[8]) {
        nibbles8(v.q[0], v.q[1], p, w);
        scale8(16.0f * v.d, -24.0f * v.d, w);
    }
};

// d: f16, then 32 signed bytes. w = d * q.
struct q8_0 {
    static constexpr bool BLOCKS = true;
    static constexpr int BYTES = 34, CHUNK = 8, PIECES = 1, STAGES = 4;
    struct piece {
        u32 q[2];
        float d;
    };
    using chunk = piece;

    static __device__ __forceinline__ piece load8(const char *row, i32 i, i32, bool) {
        const char *block = row + (i64)(i >> 5) * BYTES;
        piece p;
        load_words(block + 2 + (i & 31), p.q);
        p.d = half_at(block);
        return p;
    }
    static __device__ __forceinline__ void exact8(const piece &p, i32, float (&w)[8]) {
        // q + 128 as the low byte of 2^23's mantissa: all eight bits are exact there.
        const u32 t0 = p.q[0] ^ 0x80808080u, t1 = p.q[1] ^ 0x80808080u;
#pragma unroll
        for (int e = 0; e < 4; e++) {
            w[e] = __fmul_rn(p.d, __uint_as_float(__byte_perm(t0, 0x4b000000u, 0x7650 + e)) - 8388736.0f);
            w[4 + e] = __fmul_rn(p.d, __uint_as_float(__byte_perm(t1, 0x4b000000u, 0x7650 + e)) - 8388736.0f);
        }
    }
    static __device__ __forceinline__ chunk load(const char *row, i32 c, i32 k, bool vec) {
        return load8(row, c * 8, k, vec);
    }
    static __device__ __forceinline__ i32 element(i32 c, int) { return c * 8; }
    static __device__ __forceinline__ void weights(const chunk &p, i32, int, float (&w)[8]) { exact8(p, 0, w); }
};

// --- 256-element blocks ----------------------------------------------------------------------------------------------

// Scale and minimum of sub-block j (32 elements) of Q4_K and Q5_K: 6 bits each, packed in the twelve bytes h.y, h.z, h.w.
__device__ __forceinline__ void k_scale(const uint4 &h, i32 j, float &scale, float &minimum) {
    const u32 shift = (j & 3) * 8, a = h.y >> shift, b = h.z >> shift, c = h.w >> shift;
    const u32 s = j < 4 ? a & 63 : (c & 15) | (a >> 2 & 0x30);
    const u32 m = j < 4 ? b & 63 : (c >> 4 & 15) | (b >> 2 & 0x30);
    scale = __fmul_rn(low_half(h.x), (float)s);
    minimum = __fmul_rn(high_half(h.x), (float)m);
}

// scale * q - minimum, rounded twice; q = a * u + b is exact.
__device__ __forceinline__ void exact_scale_minimum8(float a, float b, float scale, float minimum, float (&w)[8]) {
#pragma unroll
    for (int i = 0; i < 8; i++) w[i] = __fsub_rn(__fmul_rn(scale, fmaf(a, w[i], b)), minimum);
}

// d, dmin: f16; 12 bytes of scales; 128 bytes of nibbles: 32 bytes hold sub-block 2g (low) and 2g + 1 (high).
// w = d * scale[j] * q - dmin * minimum[j].
struct q4_k {
    static constexpr bool BLOCKS = true;
    static constexpr int BYTES = 144, CHUNK = 32, PIECES = 4, STAGES = 2;
    struct piece {
        uint4 h;
        uint2 q;
    };
    struct chunk {
        uint4 h, q;
    };

    static __device__ __forceinline__ piece load8(const char *row, i32 i, i32, bool) {
        const char *block = row + (i64)(i >> 8) * BYTES;
        const i32 g = i >> 6 & 3, l = i & 31;
        return {*reinterpret_cast<const uint4 *>(block), *reinterpret_cast<const uint2 *>(block + 16 + 32 * g + l)};
    }
    static __device__ __forceinline__ void exact8(const piece &p, i32 i, float (&w)[8]) {
        const i32 j = i >> 5 & 7;
        float scale, minimum;
        k_scale(p.h, j, scale, minimum);
        nibbles8(p.q.x, p.q.y, j & 1, w);
        exact_scale_minimum8(16.0f, -16.0f, scale, minimum, w);
    }
    // Sixteen bytes of nibbles: sixteen elements in each of two sub-blocks.
    static __device__ __forceinline__ chunk load(const char *row, i32 c, i32, bool) {
        const char *block = row + (i64)(c >> 3) * BYTES;
        return {*reinterpret_cast<const uint4 *>(block), load_stream(block + 16 + 16 * (c & 7))};
    }
    static __device__ __forceinline__ i32 element(i32 c, int p) {
        return (c >> 3) * 256 + (c >> 1 & 3) * 64 + (c & 1) * 16 + (p >> 1) * 32 + (p & 1) * 8;
    }
    static __device__ __forceinline__ void weights(const chunk &v, i32 c, int p, float (&w)[8]) {
        float scale, minimum;
        k_scale(v.h, (c >> 1 & 3) * 2 + (p >> 1), scale, minimum);
        nibbles8(p & 1 ? v.q.z : v.q.x, p & 1 ? v.q.w : v.q.y, p >> 1, w);
        scale8(16.0f * scale, fmaf(-16.0f, scale, -minimum), w);
    }
};

// As Q4_K with a fifth bit: bit j of byte l of the 32 bytes `qh` belongs to element l of sub-block j.
struct q5_k {
    static constexpr bool BLOCKS = true;
    static constexpr int BYTES = 176, CHUNK = 32, PIECES = 4, STAGES = 2;
    struct piece {
        uint4 h;
        uint2 q, qh;
    };
    struct chunk {
        uint4 h, q, qh;
    };

    // 1 + q / 32.
    static __device__ __forceinline__ void unpack8(u32 q0, u32 q1, u32 h0, u32 h1, u32 j, float (&u)[8]) {
        const u32 m = 0x3c3c3c3cu, one = 0x80808080u;
        const u32 n0 = j & 1 ? q0 >> 2 & m : q0 << 2 & m, n1 = j & 1 ? q1 >> 2 & m : q1 << 2 & m;
        mantissa8(n0 | (h0 >> j & 0x01010101u) << 6 | one, n1 | (h1 >> j & 0x01010101u) << 6 | one, u);
    }
    static __device__ __forceinline__ piece load8(const char *row, i32 i, i32, bool) {
        const char *block = row + (i64)(i >> 8) * BYTES;
        const i32 g = i >> 6 & 3, l = i & 31;
        return {*reinterpret_cast<const uint4 *>(block), *reinterpret_cast<const uint2 *>(block + 48 + 32 * g + l),
                *reinterpret_cast<const uint2 *>(block + 16 + l)};
    }
    static __device__ __forceinline__ void exact8(const piece &p, i32 i, float (&w)[8]) {
        const i32 j = i >> 5 & 7;
        float scale, minimum;
        k_scale(p.h, j, scale, minimum);
        unpack8(p.q.x, p.q.y, p.qh.x, p.qh.y, j, w);
        exact_scale_minimum8(32.0f, -32.0f, scale, minimum, w);
    }
    static __device__ __forceinline__ chunk load(const char *row, i32 c, i32, bool) {
        const char *block = row + (i64)(c >> 3) * BYTES;
        return {*reinterpret_cast<const uint4 *>(block), load_stream(block + 48 + 16 * (c & 7)),
                *reinterpret_cast<const uint4 *>(block + 16 + 16 * (c & 1))};
    }
    static __device__ __forceinline__ i32 element(i32 c, int p) { return q4_k::element(c, p); }
    static __device__ __forceinline__ void weights(const chunk &v, i32 c, int p, float (&w)[8]) {
        const i32 j = (c >> 1 & 3) * 2 + (p >> 1);
        float scale, minimum;
        k_scale(v.h, j, scale, minimum);
        const bool high = p & 1;
        unpack8(high ? v.q.z : v.q.x, high ? v.q.w : v.q.y, high ? v.qh.z : v.qh.x, high ? v.qh.w : v.qh.y, j, w);
        scale8(32.0f * scale, fmaf(-32.0f, scale, -minimum), w);
    }
};

// 128 bytes ql, 64 bytes qh, 16 signed scales, d: f16. Half n of the block holds four runs j of 32: element l of run j has
// the nibble j / 2 of ql[64 n + 32 (j & 1) + l] and bits 2 j of qh[32 n + l]. w = d * scale[8 n + 2 j + l / 16] * (q - 32).
struct q6_k {
    static constexpr bool BLOCKS = true;
    static constexpr int BYTES = 210, CHUNK = 32, PIECES = 4, STAGES = 2;
    struct piece {
        u32 q[2], qh[2];
        float d, scale;
    };
    struct chunk {
        u32 q0[2], q1[2], qh[2], scales[2];
        float d;
    };

    // 1 + q / 64.
    static __device__ __forceinline__ void unpack8(const u32 (&q)[2], const u32 (&qh)[2], u32 j, float (&u)[8]) {
        u32 t[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const u32 nibble = (j & 2 ? q[i] >> 3 : q[i] << 1) & 0x1e1e1e1eu;
            t[i] = nibble | (qh[i] >> 2 * j & 0x03030303u) << 5 | 0x80808080u;
        }
        mantissa8(t[0], t[1], u);
    }
    static __device__ __forceinline__ piece load8(const char *row, i32 i, i32, bool) {
        const char *block = row + (i64)(i >> 8) * BYTES;
        const i32 n = i >> 7 & 1, j = i >> 5 & 3, l = i & 31;
        piece p;
        load_words(block + 64 * n + 32 * (j & 1) + l, p.q);
        load_words(block + 128 + 32 * n + l, p.qh);
        p.scale = (float)*reinterpret_cast<const i8 *>(block + 192 + 8 * n + 2 * j + (l >> 4));
        p.d = half_at(block + 208);
        return p;
    }
    static __device__ __forceinline__ void exact8(const piece &p, i32 i, float (&w)[8]) {
        unpack8(p.q, p.qh, i >> 5 & 3, w);
        exact_scale8(64.0f, -96.0f, __fmul_rn(p.d, p.scale), w);
    }
    // Eight values of l in one half: eight elements in each of the four runs.
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
    static __device__ __forceinline__ i32 element(i32 c, int p) {
        return (c >> 3) * 256 + (c >> 2 & 1) * 128 + (c & 3) * 8 + p * 32;
    }
    static __device__ __forceinline__ void weights(const chunk &v, i32 c, int p, float (&w)[8]) {
        const u32 byte = 2 * (p & 1) + (c >> 1 & 1);
        const float scale = __fmul_rn(v.d, (float)(i8)(v.scales[p >> 1] >> 8 * byte));
        unpack8(p & 1 ? v.q1 : v.q0, v.qh, p, w);
        scale8(64.0f * scale, -96.0f * scale, w);
    }
};

}  // namespace reflex::weight
