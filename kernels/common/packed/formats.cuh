// The packed formats: one type each in reflex::packed, made of how native rows code quants (native.cuh), how tiles do (planes.cuh), and
// where both keep scales. docs/packed-weights.md has the layout.
//
// A type of scales moves those of rows g and g + 8:
//   pack(run, section, g)     from the rows' 256 elements at run[0] and run[1] into the tile's scales at `section`
//   unpack(section, g, run)   back
//   read(section, g, half, x, scale, minimum)   of element x of the 256 of row g + 8 half, as the native type's scale8
// BYTES is the length of the section. lane = 4g + t has what belongs to blocks 2t and 2t + 1, or to the groups of 16
// elements 4t to 4t + 3, so that no two values of g share a word.
#pragma once

#include "common/packed/format.cuh"

namespace reflex::packed {

// One f16 at the start of each 32-element block.
template <u32 STEP> struct half_scales {
    static constexpr u32 BYTES = 256;
    static __device__ __forceinline__ void pack(const char *const (&run)[2], char *section, u32 g) {
        for (u32 t = 0; t < 4; t++) {
            u32 d[2];
#pragma unroll
            for (u32 half = 0; half < 2; half++) {
                const char *from = run[half] + 2 * t * STEP;
                d[half] = load_u16(from) | load_u16(from + STEP) << 16;
            }
            at<uint2>(section + (4 * g + t) * 8) = make_uint2(d[0], d[1]);
        }
    }
    static __device__ __forceinline__ void unpack(const char *section, u32 g, char *const (&run)[2]) {
        for (u32 t = 0; t < 4; t++) {
            const uint2 d = at<uint2>(section + (4 * g + t) * 8);
#pragma unroll
            for (u32 half = 0; half < 2; half++) {
                char *to = run[half] + 2 * t * STEP;
                store_u16(to, half ? d.y : d.x);
                store_u16(to + STEP, (half ? d.y : d.x) >> 16);
            }
        }
    }
    static __device__ __forceinline__ void read(const char *section, u32 g, u32 half, u32 x, float &scale,
                                                float &minimum) {
        const u32 b = x >> 5;
        scale = weight::half_at(section + (4 * g + (b >> 1)) * 8 + half * 4 + (b & 1) * 2);
        minimum = 0.0f;
    }
};

// A pair of f16 at the start of each 32-element block.
template <u32 STEP> struct pair_scales {
    static constexpr u32 BYTES = 512;
    static __device__ __forceinline__ void pack(const char *const (&run)[2], char *section, u32 g) {
        for (u32 t = 0; t < 4; t++) {
            const char *low = run[0] + 2 * t * STEP, *high = run[1] + 2 * t * STEP;
            at<uint4>(section + (4 * g + t) * 16) =
                make_uint4(load_word(low), load_word(low + STEP), load_word(high), load_word(high + STEP));
        }
    }
    static __device__ __forceinline__ void unpack(const char *section, u32 g, char *const (&run)[2]) {
        for (u32 t = 0; t < 4; t++) {
            const uint4 v = at<uint4>(section + (4 * g + t) * 16);
            store_word(run[0] + 2 * t * STEP, v.x);
            store_word(run[0] + (2 * t + 1) * STEP, v.y);
            store_word(run[1] + 2 * t * STEP, v.z);
            store_word(run[1] + (2 * t + 1) * STEP, v.w);
        }
    }
    static __device__ __forceinline__ void read(const char *section, u32 g, u32 half, u32 x, float &scale,
                                                float &minimum) {
        const u32 b = x >> 5, pair = at<u32>(section + (4 * g + (b >> 1)) * 16 + half * 8 + (b & 1) * 4);
        scale = weight::low_half(pair), minimum = -weight::high_half(pair);
    }
};

// An exponent byte at the start of each 32-element block.
template <u32 STEP> struct byte_scales {
    static constexpr u32 BYTES = 128;
    static __device__ __forceinline__ void pack(const char *const (&run)[2], char *section, u32 g) {
        for (u32 t = 0; t < 4; t++) {
            u32 word = 0;
#pragma unroll
            for (u32 i = 0; i < 4; i++) word |= (u32)(u8)run[i >> 1][(2 * t + (i & 1)) * STEP] << 8 * i;
            at<u32>(section + (4 * g + t) * 4) = word;
        }
    }
    static __device__ __forceinline__ void unpack(const char *section, u32 g, char *const (&run)[2]) {
        for (u32 t = 0; t < 4; t++) {
            const u32 word = at<u32>(section + (4 * g + t) * 4);
#pragma unroll
            for (u32 i = 0; i < 4; i++) run[i >> 1][(2 * t + (i & 1)) * STEP] = (char)(word >> 8 * i);
        }
    }
    static __device__ __forceinline__ void read(const char *section, u32 g, u32 half, u32 x, float &scale,
                                                float &minimum) {
        const u32 b = x >> 5;
        weight::mxfp4::piece piece = {};
        piece.e = at<u8>(section + (4 * g + (b >> 1)) * 4 + half * 2 + (b & 1));
        weight::mxfp4::scale8(piece, 0, scale, minimum);
    }
};

// Four 6-bit numbers of each row, one in each byte of f[half]: 128 bytes of words, then 64 bytes of half words.
__device__ __forceinline__ void put_six_bits(char *section, u32 lane, const u32 (&f)[2]) {
    at<u32>(section + lane * 4) = f[0] | (f[1] & PAIRS) << 6;
    at<u16>(section + 128 + lane * 2) = (u16)gather_nibbles(f[1] >> 2 & NIBBLES);
}
__device__ __forceinline__ u32 get_six_bits(const char *section, u32 lane, u32 half) {
    const u32 word = at<u32>(section + lane * 4);
    if (half == 0) return word & 0x3f3f3f3fu;
    return (word >> 6 & PAIRS) | spread_nibbles(at<u16>(section + 128 + lane * 2)) << 2;
}

// Q4_K, Q5_K: d and dmin in the first four bytes, then the twelve bytes of eight scales and eight minima: s[0..3] in x,
// m[0..3] in y, low nibbles of s[4..7] and m[4..7] in z, their upper two bits on top of x and y.
struct k4_scales {
    static constexpr u32 BYTES = 256;
    static __device__ __forceinline__ void pack(const char *const (&run)[2], char *section, u32 g) {
        u32 s[2][2], m[2][2];
#pragma unroll
        for (u32 half = 0; half < 2; half++) {
            const char *from = run[half];
            const u32 x = load_word(from + 4), y = load_word(from + 8), z = load_word(from + 12);
            s[half][0] = x & 0x3f3f3f3fu, s[half][1] = (z & NIBBLES) | (x >> 2 & 0x30303030u);
            m[half][0] = y & 0x3f3f3f3fu, m[half][1] = (z >> 4 & NIBBLES) | (y >> 2 & 0x30303030u);
            at<u32>(section + 192 + g * 8 + half * 4) = load_word(from);
        }
#pragma unroll
        for (u32 t = 0; t < 4; t++) {
            u32 f[2];
#pragma unroll
            for (u32 half = 0; half < 2; half++) {
                const u32 shift = 16 * (t & 1);
                f[half] = (s[half][t >> 1] >> shift & 0xffffu) | m[half][t >> 1] >> shift << 16;
            }
            put_six_bits(section, 4 * g + t, f);
        }
    }
    static __device__ __forceinline__ void unpack(const char *section, u32 g, char *const (&run)[2]) {
#pragma unroll
        for (u32 half = 0; half < 2; half++) {
            u32 s[2], m[2];
#pragma unroll
            for (u32 i = 0; i < 2; i++) {
                const u32 low = get_six_bits(section, 4 * g + 2 * i, half);
                const u32 high = get_six_bits(section, 4 * g + 2 * i + 1, half);
                s[i] = (low & 0xffffu) | high << 16;
                m[i] = low >> 16 | (high & 0xffff0000u);
            }
            store_word(run[half], at<u32>(section + 192 + g * 8 + half * 4));
            store_word(run[half] + 4, s[0] | (s[1] & 0x30303030u) << 2);
            store_word(run[half] + 8, m[0] | (m[1] & 0x30303030u) << 2);
            store_word(run[half] + 12, (s[1] & NIBBLES) | (m[1] & NIBBLES) << 4);
        }
    }
    static __device__ __forceinline__ void read(const char *section, u32 g, u32 half, u32 x, float &scale,
                                                float &minimum) {
        const u32 b = x >> 5, f = get_six_bits(section, 4 * g + (b >> 1), half) >> 8 * (b & 1);
        const u32 d = at<u32>(section + 192 + g * 8 + half * 4);
        scale = __fmul_rn(weight::low_half(d), (float)(f & 63));
        minimum = __fmul_rn(weight::high_half(d), (float)(f >> 16 & 63));
    }
};

// Q3_K: sixteen scales in the twelve bytes at AT: low nibbles of 4t.. in word t & 1, upper two bits in word 2; d at AT + 12.
template <u32 AT> struct k3_scales {
    static constexpr u32 BYTES = 224;
    static __device__ __forceinline__ void pack(const char *const (&run)[2], char *section, u32 g) {
        for (u32 t = 0; t < 4; t++) {
            u32 f[2];
#pragma unroll
            for (u32 half = 0; half < 2; half++) {
                const u32 low = load_word(run[half] + AT + 4 * (t & 1)), high = load_word(run[half] + AT + 8);
                f[half] = (low >> 4 * (t >> 1) & NIBBLES) | (high >> 2 * t & PAIRS) << 4;
            }
            put_six_bits(section, 4 * g + t, f);
        }
        at<u32>(section + 192 + g * 4) = load_u16(run[0] + AT + 12) | load_u16(run[1] + AT + 12) << 16;
    }
    static __device__ __forceinline__ void unpack(const char *section, u32 g, char *const (&run)[2]) {
        const u32 d = at<u32>(section + 192 + g * 4);
#pragma unroll
        for (u32 half = 0; half < 2; half++) {
            u32 word[3] = {0, 0, 0};
#pragma unroll
            for (u32 t = 0; t < 4; t++) {
                const u32 f = get_six_bits(section, 4 * g + t, half);
                word[t & 1] |= (f & NIBBLES) << 4 * (t >> 1);
                word[2] |= (f >> 4 & PAIRS) << 2 * t;
            }
#pragma unroll
            for (u32 i = 0; i < 3; i++) store_word(run[half] + AT + 4 * i, word[i]);
            store_u16(run[half] + AT + 12, half ? d >> 16 : d);
        }
    }
    static __device__ __forceinline__ void read(const char *section, u32 g, u32 half, u32 x, float &scale,
                                                float &minimum) {
        const u32 group = x >> 4, f = get_six_bits(section, 4 * g + (group >> 2), half) >> 8 * (group & 3) & 63;
        scale = __fmul_rn(weight::half_at(section + 192 + g * 4 + half * 2), (float)((i32)f - 32));
        minimum = 0.0f;
    }
};

// Q6_K: sixteen bytes at AT, then d.
template <u32 AT> struct k6_scales {
    static constexpr u32 BYTES = 288;
    static __device__ __forceinline__ void pack(const char *const (&run)[2], char *section, u32 g) {
        for (u32 t = 0; t < 4; t++)
            at<uint2>(section + (4 * g + t) * 8) =
                make_uint2(load_word(run[0] + AT + 4 * t), load_word(run[1] + AT + 4 * t));
        at<u32>(section + 256 + g * 4) = load_u16(run[0] + AT + 16) | load_u16(run[1] + AT + 16) << 16;
    }
    static __device__ __forceinline__ void unpack(const char *section, u32 g, char *const (&run)[2]) {
        for (u32 t = 0; t < 4; t++) {
            const uint2 v = at<uint2>(section + (4 * g + t) * 8);
            store_word(run[0] + AT + 4 * t, v.x);
            store_word(run[1] + AT + 4 * t, v.y);
        }
        const u32 d = at<u32>(section + 256 + g * 4);
        store_u16(run[0] + AT + 16, d);
        store_u16(run[1] + AT + 16, d >> 16);
    }
    static __device__ __forceinline__ void read(const char *section, u32 g, u32 half, u32 x, float &scale,
                                                float &minimum) {
        const u32 group = x >> 4;
        const i8 s = at<i8>(section + (4 * g + (group >> 2)) * 8 + half * 4 + (group & 3));
        scale = __fmul_rn(weight::half_at(section + 256 + g * 4 + half * 2), (float)s);
        minimum = 0.0f;
    }
};

// Q2_K: sixteen bytes of scale and minimum first; d and dmin at AT.
template <u32 AT> struct k2_scales {
    static constexpr u32 BYTES = 320;
    static __device__ __forceinline__ void pack(const char *const (&run)[2], char *section, u32 g) {
        for (u32 t = 0; t < 4; t++)
            at<uint2>(section + (4 * g + t) * 8) = make_uint2(load_word(run[0] + 4 * t), load_word(run[1] + 4 * t));
        at<uint2>(section + 256 + g * 8) = make_uint2(load_word(run[0] + AT), load_word(run[1] + AT));
    }
    static __device__ __forceinline__ void unpack(const char *section, u32 g, char *const (&run)[2]) {
        for (u32 t = 0; t < 4; t++) {
            const uint2 v = at<uint2>(section + (4 * g + t) * 8);
            store_word(run[0] + 4 * t, v.x);
            store_word(run[1] + 4 * t, v.y);
        }
        const uint2 d = at<uint2>(section + 256 + g * 8);
        store_word(run[0] + AT, d.x);
        store_word(run[1] + AT, d.y);
    }
    static __device__ __forceinline__ void read(const char *section, u32 g, u32 half, u32 x, float &scale,
                                                float &minimum) {
        const u32 group = x >> 4, d = at<u32>(section + 256 + g * 8 + half * 4);
        const u32 both = at<u8>(section + (4 * g + (group >> 2)) * 8 + half * 4 + (group & 3));
        scale = __fmul_rn(weight::low_half(d), (float)(both & 15));
        minimum = __fmul_rn(weight::high_half(d), (float)(both >> 4));
    }
};

// One f16 for 256 elements, at AT.
template <u32 AT> struct row_scales {
    static constexpr u32 BYTES = 32;
    static __device__ __forceinline__ void pack(const char *const (&run)[2], char *section, u32 g) {
        at<u32>(section + g * 4) = load_u16(run[0] + AT) | load_u16(run[1] + AT) << 16;
    }
    static __device__ __forceinline__ void unpack(const char *section, u32 g, char *const (&run)[2]) {
        const u32 d = at<u32>(section + g * 4);
        store_u16(run[0] + AT, d);
        store_u16(run[1] + AT, d >> 16);
    }
    static __device__ __forceinline__ void read(const char *section, u32 g, u32 half, u32, float &scale,
                                                float &minimum) {
        scale = weight::half_at(section + g * 4 + half * 2);
        minimum = 0.0f;
    }
};

// IQ4_XS: d, then eight pairs of bits (the scales' upper two), then eight nibbles (their lower four).
struct iq4_xs_scales {
    static constexpr u32 BYTES = 128;
    static __device__ __forceinline__ void pack(const char *const (&run)[2], char *section, u32 g) {
        const u32 head[2] = {load_word(run[0]), load_word(run[1])},
                  low[2] = {load_word(run[0] + 4), load_word(run[1] + 4)};
        for (u32 t = 0; t < 4; t++) {
            const u32 lane = 4 * g + t;
            at<u16>(section + lane * 2) = (u16)((low[0] >> 8 * t & 0xff) | (low[1] >> 8 * t & 0xff) << 8);
            at<u8>(section + 64 + lane) = (u8)((head[0] >> (16 + 4 * t) & 15) | (head[1] >> (16 + 4 * t) & 15) << 4);
        }
        at<u32>(section + 96 + g * 4) = (head[0] & 0xffffu) | head[1] << 16;
    }
    static __device__ __forceinline__ void unpack(const char *section, u32 g, char *const (&run)[2]) {
        const u32 d = at<u32>(section + 96 + g * 4);
        u32 head[2] = {d & 0xffffu, d >> 16}, low[2] = {0, 0};
#pragma unroll
        for (u32 t = 0; t < 4; t++) {
            const u32 lane = 4 * g + t, nibbles = at<u16>(section + lane * 2), pairs = at<u8>(section + 64 + lane);
#pragma unroll
            for (u32 half = 0; half < 2; half++) {
                low[half] |= (nibbles >> 8 * half & 0xff) << 8 * t;
                head[half] |= (pairs >> 4 * half & 15) << (16 + 4 * t);
            }
        }
#pragma unroll
        for (u32 half = 0; half < 2; half++) {
            store_word(run[half], head[half]);
            store_word(run[half] + 4, low[half]);
        }
    }
    static __device__ __forceinline__ void read(const char *section, u32 g, u32 half, u32 x, float &scale,
                                                float &minimum) {
        const u32 b = x >> 5, lane = 4 * g + (b >> 1), place = 2 * half + (b & 1);
        const u32 low = at<u16>(section + lane * 2) >> 4 * place & 15,
                  high = at<u8>(section + 64 + lane) >> 2 * place & 3;
        scale = __fmul_rn(weight::half_at(section + 96 + g * 4 + half * 2), (float)((i32)(low | high << 4) - 32));
        minimum = 0.0f;
    }
};

template <> __device__ __forceinline__ void look_up<weight::iq4_nl>(u32 &q0, u32 &q1) {
    weight::lookup_iq4(q0, q1, 0, q0, q1);
}
template <> __device__ __forceinline__ void look_up<weight::iq4_xs>(u32 &q0, u32 &q1) {
    weight::lookup_iq4(q0, q1, 0, q0, q1);
}
template <> __device__ __forceinline__ void look_up<weight::mxfp4>(u32 &q0, u32 &q1) {
    weight::lookup_e2m1(q0, q1, 0, q0, q1);
}

using q4_0 = format<weight::q4_0, nibbles<18, 2>, plane4, half_scales<18>>;
using q4_1 = format<weight::q4_1, nibbles<20, 4>, plane4, pair_scales<20>>;
using q5_0 = format<weight::q5_0, nibbles_and_bits<22, 6, 2>, plane5, half_scales<22>>;
using q5_1 = format<weight::q5_1, nibbles_and_bits<24, 8, 4>, plane5, pair_scales<24>>;
using q8_0 = format<weight::q8_0, bytes<34, 2>, plane8, half_scales<34>>;
using q2_k = format<weight::q2_k, k2<16>, plane2, k2_scales<80>>;
using q3_k = format<weight::q3_k, k3<32, 0>, plane3, k3_scales<96>>;
using q4_k = format<weight::q4_k, k4<16>, plane4, k4_scales>;
using q5_k = format<weight::q5_k, k5<48, 16>, plane5, k4_scales>;
using q6_k = format<weight::q6_k, k6<128>, plane6, k6_scales<192>>;
using iq4_nl = format<weight::iq4_nl, nibbles<18, 2>, plane4_selectors, half_scales<18>>;
using iq4_xs = format<weight::iq4_xs, nibbles<16, 8>, plane4_selectors, iq4_xs_scales>;
using mxfp4 = format<weight::mxfp4, nibbles<17, 1>, plane4_selectors, byte_scales<17>>;
using tq2_0 = format<weight::tq2_0, k2<0>, plane2, row_scales<64>>;

#define REFLEX_AGREES(NAME, name, ggml, elements, bytes, bits, ...) \
    static_assert(name::plane::CHUNKS == bits, "formats.def has others");
REFLEX_BLOCK_FORMATS(REFLEX_AGREES)
#undef REFLEX_AGREES

}  // namespace reflex::packed
