// Floats and their places in an order, as unsigned integers: what selections and draws work on.
#pragma once

#include "common/types.cuh"

namespace reflex {

// Orders as the floats do; -0 equals 0; NaN is 0, less than every number.
__device__ __forceinline__ u32 order_key(float v) {
    const u32 bits = __float_as_uint(v + 0.0f);  // -0 + 0 = 0
    const u32 key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return v == v ? key : 0u;
}

// Every thread of the block gets the greatest. `scratch` holds 32 numbers and may be used again at once.
__device__ __forceinline__ u64 block_max(u64 v, u64 *scratch) {
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = (blockDim.x + WARP - 1) / WARP;
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) v = max(v, __shfl_xor_sync(FULL_MASK, v, offset));
    if (lane == 0) scratch[warp] = v;
    __syncthreads();
    v = lane < warps ? scratch[lane] : 0;
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) v = max(v, __shfl_xor_sync(FULL_MASK, v, offset));
    __syncthreads();
    return v;
}

// One more in every counter, each by one thread of the grid, after what this block read before the call. With as many
// counters as blocks, counter i is block i's: a block may have read its own.
__device__ __forceinline__ void advance_counters(u32 *counters, i64 count) {
    __syncthreads();
    const i64 step = (i64)gridDim.x * blockDim.x;
    for (i64 i = blockIdx.x + (i64)gridDim.x * threadIdx.x; i < count; i += step) counters[i] += 1;
}

}  // namespace reflex
