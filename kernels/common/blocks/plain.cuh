// F32, F16 and BF16 weights.
#pragma once

#include "common/blocks/format.cuh"
#include "common/memory.cuh"

namespace reflex::weight {

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

}  // namespace reflex::weight
