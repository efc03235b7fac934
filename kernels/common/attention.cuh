// What the attention kernels share: lengths from device memory, and softmax weights relative to a running maximum.
#pragma once

#include "common/element.cuh"

namespace reflex {

// Row of the first key in K or V; strides are of batch, key and head.
__device__ __forceinline__ const char *kv_rows(const void *cache, const row_stride &stride, i32 batch, i32 kv_head) {
    return static_cast<const char *>(cache) + batch * stride.bytes[0] + kv_head * stride.bytes[2];
}

// Keys that sequence b holds. The value lies in device memory, where nothing checked it.
__device__ __forceinline__ i32 kv_length(const i32 *kv_lengths, i32 b, i32 capacity) {
    return kv_lengths ? min(max(kv_lengths[b], 0), capacity) : capacity;
}

// A weight is exp2(scale * (s - max) + 15), not e^(s - max): the factor 2^15 cancels in the division by the sum, and
// keeps weights down to 2^-29 of the largest normal numbers when they are rounded to f16 for the tensor cores, so that
// many small weights do not vanish together.
constexpr float WEIGHT_SHIFT = 15.0f;

// What to take off scale * s. Where nothing was seen, any finite number gives weights of 0 instead of NaN.
__device__ __forceinline__ float weight_offset(float max, float scale) {
    return max == -REFLEX_INF ? 0.0f : max * scale - WEIGHT_SHIFT;
}

// e^x is 2^(x log2 e).
constexpr float LOG2_E = 1.44269504f;

// 2^x with a relative error of 2^-22; below 2^-126, 0.
__device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float weight(float s, float scale, float offset) {
    return exp2_approx(fmaf(s, scale, -offset));
}

// Factor of sums made under `max` once the maximum is `new_max`. Sums of nothing stay 0.
__device__ __forceinline__ float rescale(float max, float new_max, float scale) {
    if (max == new_max) return 1.0f;
    return max == -REFLEX_INF ? 0.0f : exp2_approx((max - new_max) * scale);
}

// Of what the four lanes that share the rows of an mma result have.
__device__ __forceinline__ float quad_max(float v) {
    v = fmaxf(v, __shfl_xor_sync(FULL_MASK, v, 1));
    return fmaxf(v, __shfl_xor_sync(FULL_MASK, v, 2));
}
__device__ __forceinline__ float quad_sum(float v) {
    v += __shfl_xor_sync(FULL_MASK, v, 1);
    return v + __shfl_xor_sync(FULL_MASK, v, 2);
}

// Raises the running maxima of the two rows of an mma result that a thread has part of, and brings their sums of weights
// there; scale_row(h, factor) is to do it to the sums of values.
template <typename ScaleRow>
__device__ __forceinline__ void raise_maxima(float (&max)[2], float (&sum)[2], const float (&new_max)[2], float scale,
                                             ScaleRow scale_row) {
    // The maximum soon stops growing.
    if (__any_sync(FULL_MASK, new_max[0] != max[0] || new_max[1] != max[1])) {
#pragma unroll
        for (i32 h = 0; h < 2; h++) {
            const float factor = rescale(max[h], new_max[h], scale);
            max[h] = new_max[h];
            sum[h] *= factor;
            scale_row(h, factor);
        }
    }
}

// Eight elements of a row, 16-byte aligned or not.
__device__ __forceinline__ void load8_any(const void *row, u32 type, i64 i, bool aligned, float (&v)[8]) {
    if (aligned) return load8(row, type, i, v);
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] = load1(row, type, i + k);
}

// Elements i and i + 1 of a row, i even; in one access where that is aligned.
__device__ __forceinline__ void store2(void *row, u32 type, i32 i, float a, float b) {
    char *const at = static_cast<char *>(row) + i * element_bytes(type);
    if ((u32) reinterpret_cast<u64>(at) % (2 * element_bytes(type)) != 0) {
        store1(row, type, i, a);
        store1(row, type, i + 1, b);
    } else if (type == F32) {
        *reinterpret_cast<float2 *>(at) = make_float2(a, b);
    } else {
        *reinterpret_cast<u32 *>(at) = pack2(a, b, type);
    }
}

__device__ __forceinline__ uint4 pack8(const float (&v)[8], u32 type) {
    return make_uint4(pack2(v[0], v[1], type), pack2(v[2], v[3], type), pack2(v[4], v[5], type),
                      pack2(v[6], v[7], type));
}

}  // namespace reflex
