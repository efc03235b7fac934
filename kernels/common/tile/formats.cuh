// The packed formats as products read them: one type each in reflex::tiles, made of its quants and of its scales.
//
// A lane has the scales of blocks 2t and 2t + 1 (t = lane % 4) of rows g and g + 8 (g = lane / 4):
// `load` fetches what it needs, `get` gives group c of row g + 8 half, so that
//   weight = scale * (q - OFFSET) - minimum
// Groups: c = 0, 1 are the two blocks where a scale is for 32 elements; c = 0..3 are the two halves of each where it is for
// 16. Where a row has factors of its own for all 256 elements (ROW), `get` leaves them out: both numbers are small integers,
// and `row` gives what scales and minima are multiplied with. `whole` is such a scale as an integer.
#pragma once

#include "common/tile/format.cuh"

namespace reflex::tiles {

__device__ __forceinline__ float half_of(u32 bits, i32 high) {
    return __half2float(__ushort_as_half((u16)(high ? bits >> 16 : bits)));
}

// Byte i of v as a float: its bits below 2^23.
__device__ __forceinline__ float byte_of(u32 v, i32 i) {
    return __uint_as_float(__byte_perm(v, 0x4b000000u, 0x7650 + i)) - 8388608.0f;
}

// Byte i of v, with its sign.
__device__ __forceinline__ i32 signed_byte(u32 v, i32 i) { return (i32)signed_permute(v, 0, 0x8880 + 0x1111 * i); }

// One f16 a block.
struct block_halves {
    static constexpr i32 BYTES = 256, GROUP = 32;
    static constexpr bool MINIMA = false, ROW = false;
    using regs = uint2;
    static __device__ __forceinline__ regs load(const char *p, i32 lane) {
        return reinterpret_cast<const uint2 *>(p)[lane];
    }
    static __device__ __forceinline__ void get(const regs &r, i32 half, i32 c, float &scale, float &minimum) {
        scale = half_of(half ? r.y : r.x, c);
        minimum = 0.0f;
    }
};

// f16 scale and f16 addend a block.
struct block_pairs {
    static constexpr i32 BYTES = 512, GROUP = 32;
    static constexpr bool MINIMA = true, ROW = false;
    using regs = uint4;
    static __device__ __forceinline__ regs load(const char *p, i32 lane) {
        return reinterpret_cast<const uint4 *>(p)[lane];
    }
    static __device__ __forceinline__ void get(const regs &r, i32 half, i32 c, float &scale, float &minimum) {
        const u32 v = half ? (c ? r.w : r.z) : (c ? r.y : r.x);
        scale = half_of(v, 0);
        minimum = -half_of(v, 1);
    }
};

// A power of two a block, halved: the quants are doubled.
struct block_exponents {
    static constexpr i32 BYTES = 128, GROUP = 32;
    static constexpr bool MINIMA = false, ROW = false;
    using regs = u32;
    static __device__ __forceinline__ regs load(const char *p, i32 lane) {
        return reinterpret_cast<const u32 *>(p)[lane];
    }
    static __device__ __forceinline__ void get(const regs &r, i32 half, i32 c, float &scale, float &minimum) {
        // (e - 1) << 23, or where that is no positive number 2^-128 or 2^-127: the second is less from e = 2 on.
        const i32 at = 16 * half + 8 * c, e = (i32)((at < 23 ? r << (23 - at) : r >> (at - 23)) & 0x7f800000u);
        scale = __int_as_float(max(e - 0x00800000, (e >> 2) + 0x00200000));
        minimum = 0.0f;
    }
};

// Four six-bit fields of two rows in 48 bits: byte i of `low` is field i of row g below bits 0 and 1 of that of row g + 8,
// nibble i of `high` has the rest.
__device__ __forceinline__ u32 six_bit_fields(u32 low, u32 high, i32 half) {
    if (!half) return low & 0x3f3f3f3fu;
    const u32 bytes = __byte_perm(high, 0, 0x4140);
    return ((bytes | bytes << 4) & 0x0f0f0f0fu) * 4 + (low >> 6 & 0x03030303u);
}

struct q45_k_scales {
    static constexpr i32 BYTES = 256, GROUP = 32;
    static constexpr bool MINIMA = true, ROW = true;
    struct regs {
        u32 low, high;
        uint2 d;
    };
    static __device__ __forceinline__ regs load(const char *p, i32 lane) {
        return {reinterpret_cast<const u32 *>(p)[lane], reinterpret_cast<const u16 *>(p + 128)[lane],
                reinterpret_cast<const uint2 *>(p + 192)[lane >> 2]};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 half, i32 c, float &scale, float &minimum) {
        const u32 fields = six_bit_fields(r.low, r.high, half);
        scale = byte_of(fields, c);
        minimum = byte_of(fields, 2 + c);
    }
    static __device__ __forceinline__ i32 whole(const regs &r, i32 half, i32 c) {
        return (i32)__byte_perm(six_bit_fields(r.low, r.high, half), 0, 0x4440 + c);
    }
    static __device__ __forceinline__ float minimum_of(const regs &r, i32 half, i32 c) {
        return byte_of(six_bit_fields(r.low, r.high, half), 2 + c);
    }
    static __device__ __forceinline__ void row(const regs &r, i32 half, float &scale, float &minimum) {
        scale = half_of(half ? r.d.y : r.d.x, 0);
        minimum = half_of(half ? r.d.y : r.d.x, 1);
    }
};

struct q3_k_scales {
    static constexpr i32 BYTES = 224, GROUP = 16;
    static constexpr bool MINIMA = false, ROW = true;
    struct regs {
        u32 low, high, d;
    };
    static __device__ __forceinline__ regs load(const char *p, i32 lane) {
        return {reinterpret_cast<const u32 *>(p)[lane], reinterpret_cast<const u16 *>(p + 128)[lane],
                reinterpret_cast<const u32 *>(p + 192)[lane >> 2]};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 half, i32 c, float &scale, float &minimum) {
        scale = __uint_as_float(__byte_perm(six_bit_fields(r.low, r.high, half), 0x4b000000u, 0x7650 + c)) - 8388640.0f;
        minimum = 0.0f;
    }
    // 32 less, in a byte of which the sum is 128 more.
    static __device__ __forceinline__ i32 whole(const regs &r, i32 half, i32 c) {
        return signed_byte((six_bit_fields(r.low, r.high, half) + 0x60606060u) ^ 0x80808080u, c);
    }
    static __device__ __forceinline__ void row(const regs &r, i32 half, float &scale, float &minimum) {
        scale = half_of(r.d, half);
        minimum = 0.0f;
    }
};

struct q6_k_scales {
    static constexpr i32 BYTES = 288, GROUP = 16;
    static constexpr bool MINIMA = false, ROW = true;
    struct regs {
        uint2 s;
        u32 d;
    };
    static __device__ __forceinline__ regs load(const char *p, i32 lane) {
        return {reinterpret_cast<const uint2 *>(p)[lane], reinterpret_cast<const u32 *>(p + 256)[lane >> 2]};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 half, i32 c, float &scale, float &minimum) {
        // Signed bytes, made 128 more.
        const u32 s = (half ? r.s.y : r.s.x) ^ 0x80808080u;
        scale = __uint_as_float(__byte_perm(s, 0x4b000000u, 0x7650 + c)) - 8388736.0f;
        minimum = 0.0f;
    }
    static __device__ __forceinline__ i32 whole(const regs &r, i32 half, i32 c) {
        return signed_byte(half ? r.s.y : r.s.x, c);
    }
    static __device__ __forceinline__ void row(const regs &r, i32 half, float &scale, float &minimum) {
        scale = half_of(r.d, half);
        minimum = 0.0f;
    }
};

struct q2_k_scales {
    static constexpr i32 BYTES = 320, GROUP = 16;
    static constexpr bool MINIMA = true, ROW = true;
    struct regs {
        uint2 s, d;
    };
    static __device__ __forceinline__ regs load(const char *p, i32 lane) {
        return {reinterpret_cast<const uint2 *>(p)[lane], reinterpret_cast<const uint2 *>(p + 256)[lane >> 2]};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 half, i32 c, float &scale, float &minimum) {
        const u32 s = half ? r.s.y : r.s.x;
        scale = byte_of(s & 0x0f0f0f0fu, c);
        minimum = byte_of(s >> 4 & 0x0f0f0f0fu, c);
    }
    static __device__ __forceinline__ i32 whole(const regs &r, i32 half, i32 c) {
        return (i32)__byte_perm((half ? r.s.y : r.s.x) & 0x0f0f0f0fu, 0, 0x4440 + c);
    }
    static __device__ __forceinline__ void row(const regs &r, i32 half, float &scale, float &minimum) {
        scale = half_of(half ? r.d.y : r.d.x, 0);
        minimum = half_of(half ? r.d.y : r.d.x, 1);
    }
    // Sum of a block's two minima, each times a sum of x: the two halves' in the halves of `sums`; an integer above `start`.
    static __device__ __forceinline__ i32 minima(const regs &r, i32 half, i32 column, i32 sums, i32 start) {
        const u32 m = (half ? r.s.y : r.s.x) >> 4 & 0x0f0f0f0fu;
        return column ? __dp2a_hi(sums, (i32)m, start) : __dp2a_lo(sums, (i32)m, start);
    }
};

struct iq4_xs_scales {
    static constexpr i32 BYTES = 128, GROUP = 32;
    static constexpr bool MINIMA = false, ROW = true;
    struct regs {
        u32 fields, d;
    };
    static __device__ __forceinline__ regs load(const char *p, i32 lane) {
        const u32 low = reinterpret_cast<const u16 *>(p)[lane], high = reinterpret_cast<const u8 *>(p + 64)[lane];
        // Multiplied, the upper bits of fields 0 and 2, or 1 and 3, lie where they belong.
        const u32 bytes = __byte_perm(low, 0, 0x4140), even = high * 0x00010010u, odd = high * 0x00400400u;
        return {((bytes | bytes << 4) & 0x0f0f0f0fu) | (even & 0x00300030u) | (odd & 0x30003000u),
                reinterpret_cast<const u32 *>(p + 96)[lane >> 2]};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 half, i32 c, float &scale, float &minimum) {
        scale = __uint_as_float(__byte_perm(r.fields, 0x4b000000u, 0x7650 + 2 * half + c)) - 8388640.0f;
        minimum = 0.0f;
    }
    static __device__ __forceinline__ void row(const regs &r, i32 half, float &scale, float &minimum) {
        scale = half_of(r.d, half);
        minimum = 0.0f;
    }
};

// One f16 for all 256 elements.
struct row_halves {
    static constexpr i32 BYTES = 32, GROUP = 32;
    static constexpr bool MINIMA = false, ROW = true;
    using regs = u32;
    static __device__ __forceinline__ regs load(const char *p, i32 lane) {
        return reinterpret_cast<const u32 *>(p)[lane >> 2];
    }
    static __device__ __forceinline__ void get(const regs &, i32, i32, float &scale, float &minimum) {
        scale = 1.0f, minimum = 0.0f;
    }
    static __device__ __forceinline__ i32 whole(const regs &, i32, i32) { return 1; }
    static __device__ __forceinline__ void row(const regs &r, i32 half, float &scale, float &minimum) {
        scale = half_of(r, half), minimum = 0.0f;
    }
};

using iq4_quants = table_nibbles<0x26190d01u, 0x71594535u, 0x4153687fu, 0x0a162331u, true>;
using mxfp4_quants = table_nibbles<0x03020100u, 0x0c080604u, 0x03020100u, 0x0c080604u, false>;

using q4_0 = format<nibbles, block_halves, 8>;
using q4_1 = format<nibbles, block_pairs, 0>;
using q5_0 = format<fives, block_halves, 16>;
using q5_1 = format<fives, block_pairs, 0>;
using q8_0 = format<bytes8, block_halves, 0>;
using q2_k = format<pairs, q2_k_scales, 0>;
using q3_k = format<threes, q3_k_scales, 4>;
using q4_k = format<nibbles, q45_k_scales, 0>;
using q5_k = format<fives, q45_k_scales, 0>;
using q6_k = format<sixes, q6_k_scales, 32>;
using iq4_nl = format<iq4_quants, block_halves, 0>;
using iq4_xs = format<iq4_quants, iq4_xs_scales, 0>;
using mxfp4 = format<mxfp4_quants, block_exponents, 0>;
using tq2_0 = format<pairs, row_halves, 1>;

#define REFLEX_AGREES(NAME, name, ggml, elements, bytes, bits, group, ...)                                             \
    static_assert(name::TILE_BYTES == TILE_ROWS * (TILE_K / elements * bytes), "a tile is as large as what it packs"); \
    static_assert(name::QUANT_BYTES == TILE_ROWS * TILE_K * bits / 8 && name::GROUP == group,                          \
                  "formats.def has "                                                                                   \
                  "others");
REFLEX_BLOCK_FORMATS(REFLEX_AGREES)
#undef REFLEX_AGREES

}  // namespace reflex::tiles
