// The scales of a packed tile. A lane has those of blocks 2t and 2t + 1 (t = lane % 4) of rows g and g + 8 (g = lane / 4):
// `load` fetches what it needs, `get` gives group c of row g + 8 half, so that
//   weight = scale * (q - OFFSET) - minimum
// Groups: c = 0, 1 are the two blocks where a scale is for 32 elements; c = 0..3 are the two halves of each where it is for
// 16. Where a row has factors of its own for all 256 elements (ROW), `get` leaves them out: both numbers are small integers,
// and `row` gives what scales and minima are multiplied with.
#pragma once

#include "common/types.cuh"

namespace reflex::tiles {

__device__ __forceinline__ float half_of(u32 bits, i32 high) {
    return __half2float(__ushort_as_half((u16)(high ? bits >> 16 : bits)));
}

// Byte i of v as a float: its bits below 2^23.
__device__ __forceinline__ float byte_of(u32 v, i32 i) {
    return __uint_as_float(__byte_perm(v, 0x4b000000u, 0x7650 + i)) - 8388608.0f;
}

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
        const u32 e = r >> (16 * half + 8 * c) & 0xff;
        scale = __uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
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
        u32 low, high, d;
    };
    static __device__ __forceinline__ regs load(const char *p, i32 lane) {
        return {reinterpret_cast<const u16 *>(p)[lane], reinterpret_cast<const u8 *>(p + 64)[lane],
                reinterpret_cast<const u32 *>(p + 96)[lane >> 2]};
    }
    static __device__ __forceinline__ void get(const regs &r, i32 half, i32 c, float &scale, float &minimum) {
        const i32 f = 2 * half + c;
        const i32 s = (i32)((r.low >> 4 * f & 15) | (r.high >> 2 * f & 3) << 4) - 32;
        scale = (float)s;
        minimum = 0.0f;
    }
    static __device__ __forceinline__ void row(const regs &r, i32 half, float &scale, float &minimum) {
        scale = half_of(r.d, half);
        minimum = 0.0f;
    }
};

}  // namespace reflex::tiles
