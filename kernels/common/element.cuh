// Loads and stores of f32, f16 and bf16 rows as f32. The type is a run-time value that is the same for the whole grid:
// for kernels bound by memory the branch is free, and one kernel serves every combination.
#pragma once

#include "common/types.cuh"

namespace reflex {

__device__ __forceinline__ u32 element_bytes(u32 type) { return type == F32 ? 4u : 2u; }

__device__ __forceinline__ float load1(const void *row, u32 type, i64 i) {
    if (type == F32) return static_cast<const float *>(row)[i];
    if (type == F16) return __half2float(static_cast<const __half *>(row)[i]);
    return __bfloat162float(static_cast<const __nv_bfloat16 *>(row)[i]);
}

__device__ __forceinline__ void store1(void *row, u32 type, i64 i, float v) {
    if (type == F32) static_cast<float *>(row)[i] = v;
    else if (type == F16) static_cast<__half *>(row)[i] = __float2half_rn(v);
    else static_cast<__nv_bfloat16 *>(row)[i] = __float2bfloat16_rn(v);
}

__device__ __forceinline__ float2 unpack2(u32 bits, u32 type) {
    if (type == F16) return __half22float2(*reinterpret_cast<__half2 *>(&bits));
    return __bfloat1622float2(*reinterpret_cast<__nv_bfloat162 *>(&bits));
}

__device__ __forceinline__ u32 pack2(float a, float b, u32 type) {
    u32 bits;
    if (type == F16) *reinterpret_cast<__half2 *>(&bits) = __floats2half2_rn(a, b);
    else *reinterpret_cast<__nv_bfloat162 *>(&bits) = __floats2bfloat162_rn(a, b);
    return bits;
}

// Eight elements from a 16-byte aligned address: one 16-byte access, two for f32.
__device__ __forceinline__ void load8(const void *row, u32 type, i64 i, float (&v)[8]) {
    if (type == F32) {
        const float4 *p = reinterpret_cast<const float4 *>(static_cast<const float *>(row) + i);
        const float4 a = p[0], b = p[1];
        v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
    } else {
        const uint4 w = *reinterpret_cast<const uint4 *>(static_cast<const u16 *>(row) + i);
        const u32 bits[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float2 f = unpack2(bits[k], type);
            v[2 * k] = f.x, v[2 * k + 1] = f.y;
        }
    }
}

__device__ __forceinline__ void store8(void *row, u32 type, i64 i, const float (&v)[8]) {
    if (type == F32) {
        float4 *p = reinterpret_cast<float4 *>(static_cast<float *>(row) + i);
        p[0] = make_float4(v[0], v[1], v[2], v[3]);
        p[1] = make_float4(v[4], v[5], v[6], v[7]);
    } else {
        uint4 w;
        w.x = pack2(v[0], v[1], type), w.y = pack2(v[2], v[3], type), w.z = pack2(v[4], v[5], type),
        w.w = pack2(v[6], v[7], type);
        *reinterpret_cast<uint4 *>(static_cast<u16 *>(row) + i) = w;
    }
}

// Of elements i to i + 4 those below n, the others as they were; rows of any alignment.
__device__ __forceinline__ void load4(const void *row, u32 type, i64 i, i64 n, float (&v)[4]) {
    const char *const at = static_cast<const char *>(row) + i * element_bytes(type);
    const u32 low = (u32) reinterpret_cast<u64>(at);
    if (i + 4 <= n && type == F32 && low % 16 == 0) {
        const float4 w = *reinterpret_cast<const float4 *>(at);
        v[0] = w.x, v[1] = w.y, v[2] = w.z, v[3] = w.w;
    } else if (i + 4 <= n && type != F32 && low % 8 == 0) {
        const uint2 w = *reinterpret_cast<const uint2 *>(at);
        const float2 a = unpack2(w.x, type), b = unpack2(w.y, type);
        v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y;
    } else {
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (i + e < n) v[e] = load1(row, type, i + e);
    }
}

// Of elements i to i + 4 those below n.
__device__ __forceinline__ void store4(void *row, u32 type, i64 i, i64 n, const float (&v)[4]) {
    char *const at = static_cast<char *>(row) + i * element_bytes(type);
    const u32 low = (u32) reinterpret_cast<u64>(at);
    if (i + 4 <= n && type == F32 && low % 16 == 0) {
        *reinterpret_cast<float4 *>(at) = make_float4(v[0], v[1], v[2], v[3]);
    } else if (i + 4 <= n && type != F32 && low % 8 == 0) {
        *reinterpret_cast<uint2 *>(at) = make_uint2(pack2(v[0], v[1], type), pack2(v[2], v[3], type));
    } else {
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (i + e < n) store1(row, type, i + e, v[e]);
    }
}

// N is 8 (aligned rows) or 1 (anything).
template <int N> __device__ __forceinline__ void load_n(const void *row, u32 type, i64 i, float (&v)[N]) {
    if constexpr (N == 8) load8(row, type, i, v);
    else v[0] = load1(row, type, i);
}

template <int N> __device__ __forceinline__ void store_n(void *row, u32 type, i64 i, const float (&v)[N]) {
    if constexpr (N == 8) store8(row, type, i, v);
    else store1(row, type, i, v[0]);
}

}  // namespace reflex
