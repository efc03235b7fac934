// What argmax and sample share: the order of floats as integers, sums and scans of 64-bit integers, which come out the
// same in any order, and the counters of a decode step.
#pragma once

#include "common/types.cuh"

namespace reflex {

// Orders as the floats do; -0 equals 0; NaN is 0, less than every number.
__device__ __forceinline__ u32 order_key(float v) {
    const u32 bits = __float_as_uint(v + 0.0f);  // -0 + 0 = 0
    const u32 key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return v == v ? key : 0u;
}

// The number that a key other than 0 stands for.
__device__ __forceinline__ float order_value(u32 key) {
    return __uint_as_float(key & 0x80000000u ? key ^ 0x80000000u : ~key);
}

// One number for value and index: greater for a greater value, and for the lower index of equal values.
__device__ __forceinline__ u64 order_of(u32 key, i32 index) { return (u64)key << 32 | ~(u32)index; }

__device__ __forceinline__ i32 order_index(u64 order) { return (i32) ~(u32)order; }

// The block functions: every thread gets the result; `scratch` holds 32 numbers and may be used again at once.
template <typename Combine> __device__ __forceinline__ u64 block_combine(u64 v, u64 *scratch, Combine combine) {
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = (blockDim.x + WARP - 1) / WARP;
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) v = combine(v, __shfl_xor_sync(FULL_MASK, v, offset));
    if (lane == 0) scratch[warp] = v;
    __syncthreads();
    v = lane < warps ? scratch[lane] : 0;
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) v = combine(v, __shfl_xor_sync(FULL_MASK, v, offset));
    __syncthreads();
    return v;
}

__device__ __forceinline__ u64 block_max(u64 v, u64 *scratch) {
    return block_combine(v, scratch, [](u64 a, u64 b) { return a > b ? a : b; });
}

__device__ __forceinline__ u64 block_sum(u64 v, u64 *scratch) {
    return block_combine(v, scratch, [](u64 a, u64 b) { return a + b; });
}

// Sum over this lane and the lower ones.
__device__ __forceinline__ u64 warp_scan(u64 v) {
    const u32 lane = threadIdx.x % WARP;
#pragma unroll
    for (u32 offset = 1; offset < WARP; offset <<= 1) {
        const u64 below = __shfl_up_sync(FULL_MASK, v, offset);
        if (lane >= offset) v += below;
    }
    return v;
}

// Sum over this thread and the lower ones; `total` gets the sum over all. Every warp is full.
__device__ __forceinline__ u64 block_scan(u64 v, u64 *scratch, u64 &total) {
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    v = warp_scan(v);
    if (lane == WARP - 1) scratch[warp] = v;
    __syncthreads();
    const u64 sums = warp_scan(lane < warps ? scratch[lane] : 0);
    total = __shfl_sync(FULL_MASK, sums, WARP - 1);
    const u64 before = __shfl_sync(FULL_MASK, sums, (warp + WARP - 1) % WARP);
    __syncthreads();
    return warp == 0 ? v : v + before;
}

// One more in every counter, each by one thread of the grid, after what this block read before the call. With as many
// counters as blocks, counter i is block i's: a block may have read its own.
__device__ __forceinline__ void advance_counters(u32 *counters, i64 count) {
    __syncthreads();
    const i64 step = (i64)gridDim.x * blockDim.x;
    for (i64 i = blockIdx.x + (i64)gridDim.x * threadIdx.x; i < count; i += step) counters[i] += 1;
}

}  // namespace reflex
