// A row of x as it comes, normalised where that is asked for, quantised into the shared memory of each block: saves the
// launch that would do it once, where there are not many more blocks than the GPU holds at a time.
#pragma once

#include "common/q8_1.cuh"
#include "common/reduce.cuh"
#include "matmul/int8/args.cuh"

namespace reflex {

// All threads of the block come here.
__device__ __forceinline__ void int8_quantise(const int8_args &a) {
    extern __shared__ __align__(128) char shared[];
    char *row = shared + a.x_at;
    __shared__ float scratch[WARP];
    float scale = 1.0f;
    if (a.norm) {
        float squares = 0.0f;
        for (i32 i = threadIdx.x * 8; i < a.k; i += blockDim.x * 8) {
            float v[8];
            load8(a.x, a.x_type, i, v);
#pragma unroll
            for (int e = 0; e < 8; e++) squares += v[e] * v[e];
        }
        scale = rsqrtf(block_sum(squares, scratch) / (float)a.k + a.epsilon);
    }
    const i32 lane = threadIdx.x % WARP * 8;
    // Whole warps stay together, as the quantiser wants it.
    for (i32 first = threadIdx.x * 8 - lane; first < a.k; first += blockDim.x * 8) {
        const i32 i = first + lane;
        float v[8] = {}, w[8];
        if (i < a.k) load8(a.x, a.x_type, i, v);
        if (a.norm && i < a.k) {
            load8(a.norm, a.norm_type, i, w);
#pragma unroll
            for (int e = 0; e < 8; e++) v[e] *= scale * w[e];
        }
        q8_1_store<8>(row, a.k, i, v, i < a.k);
    }
    __syncthreads();
}

}  // namespace reflex
