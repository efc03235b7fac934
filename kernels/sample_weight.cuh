// Arithmetic of a draw: integer weights and counter-based random numbers, bit for bit what src/cpu/sample.rs computes.
// Nothing here may be contracted to fused multiply-adds, nor use a function whose result differs between devices.
#pragma once

#include "common/types.cuh"

namespace reflex {

constexpr float SAMPLE_LOG2E = 1.44269502f;
constexpr u64 SAMPLE_ONE = 1ull << 32;

// e^((l - top) * scale / log2(e)) in units of 2^-32, 0 from 2^-34 on. top is the greatest logit; with an infinite one
// the infinite logits alone have weight.
__device__ __forceinline__ u64 sample_weight(float top, float l, float scale) {
    if (l == top) return SAMPLE_ONE;
    const float u = __fmul_rn(top - l, scale);
    if (!(u < 34.0f)) return 0;
    const i32 whole = (i32)u;
    const float g = u - (float)whole;
    // 2^-g on [0, 1), relative error 2e-7; exactly 1 at 0.
    float p = 0.00010902324f;
    p = __fadd_rn(__fmul_rn(p, g), -0.0012747484f);
    p = __fadd_rn(__fmul_rn(p, g), 0.00957918f);
    p = __fadd_rn(__fmul_rn(p, g), -0.05549076f);
    p = __fadd_rn(__fmul_rn(p, g), 0.24022436f);
    p = __fadd_rn(__fmul_rn(p, g), -0.69314706f);
    p = __fadd_rn(__fmul_rn(p, g), 1.0f);
    const u64 weight = (u64)(u32)(p * 16777216.0f) << 8;
    return whole == 0 ? weight : (weight + (1ull << (whole - 1))) >> whole;
}

// The least weight that is `fraction` (in units of 2^-32) of `total` or more, and not 0.
__device__ __forceinline__ u64 sample_target(u64 fraction, u64 total) {
    const u64 high = __umul64hi(fraction, total), low = fraction * total;
    const u64 target = (high << 32 | low >> 32) + ((u32)low != 0);
    return target > 0 ? target : 1;
}

// A row's own top-p or min-p in units of 2^-32, clamped to 0..1, a NaN as 0. The product is exact, and rounded as the host
// rounds the call's own: halves away from zero.
__device__ __forceinline__ u64 sample_fraction(float v) {
    const float clamped = v > 0.0f ? fminf(v, 1.0f) : 0.0f;
    return (u64)roundf(__fmul_rn(clamped, 4294967296.0f));
}

// 0, which is off, for 0 and 1; however small, a number between them is not off.
__device__ __forceinline__ u64 sample_top_p(float v) {
    return v > 0.0f && v < 1.0f ? max(sample_fraction(v), 1ull) : 0;
}

// What the host computes from the call's temperature, from one that is greater than 0. The doubles are the host's own, for
// the same bits; one thread of a block takes two of them.
__device__ __forceinline__ float sample_scale(float temperature) {
    const double scale = 1.4426950408889634 / (double)fminf(temperature, 3.40282347e38f);
    return fminf((float)scale, 3.40282347e38f);
}

// 64 random bits of row (its number or its key) and step under a seed: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3").
__device__ __forceinline__ u64 sample_random(u64 key, u64 row, u32 step) {
    u32 c0 = (u32)row, c1 = (u32)(row >> 32), c2 = step, c3 = 0;
    u32 k0 = (u32)key, k1 = (u32)(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const u64 a = (u64)0xD2511F53u * c0, b = (u64)0xCD9E8D57u * c2;
        c0 = (u32)(b >> 32) ^ c1 ^ k0;
        c2 = (u32)(a >> 32) ^ c3 ^ k1;
        c1 = (u32)b;
        c3 = (u32)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (u64)c1 << 32 | c0;
}

}  // namespace reflex
