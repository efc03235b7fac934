// What the tensor core kernels of reflex_attention do with their rows: q comes in, scores become weights, and values go out.
#pragma once

#include "attention/args.cuh"

namespace reflex {

// The block's rows of q, of any type and alignment, rounded to T: chunk c of a row goes to place(row, c).
template <u32 T, int ROWS, int CHUNKS, int THREADS, typename Place>
__device__ __forceinline__ void load_query_rows(const attention_block &block, Place place) {
    const attention_args &a = block.a;
    for (i32 i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
        const i32 row = i / CHUNKS, c = i % CHUNKS;
        float x[8] = {};
        if (block.row0 + row < block.rows && c * 8 < a.dim)
            load8_any(block.q(block.row0 + row), a.q_type, c * 8, a.q_vec8, x);
        *place(row, c) = pack8(x, T);
    }
}

// Raises the maxima of the two rows of an mma result that a thread has part of to the greatest of its scores.
template <int EIGHTS> __device__ __forceinline__ void raise_to_scores(float (&max)[2], const float (&s)[EIGHTS][4]) {
#pragma unroll
    for (i32 j = 0; j < EIGHTS; j++)
#pragma unroll
        for (i32 e = 0; e < 4; e++) max[e / 2] = fmaxf(max[e / 2], s[j][e]);
}

// Weights of the 16 keys from 16 i on: the scores become weights, which are added to the sums and rounded to T. Two 16x8 results side by
// side are the 16x16 factor of the next product.
template <u32 T, int EIGHTS>
__device__ __forceinline__ void weights_of_16(u32 (&p)[4], float (&sum)[2], float (&s)[EIGHTS][4], i32 i, float scale,
                                              const float (&offset)[2]) {
#pragma unroll
    for (i32 j = 0; j < 2; j++) {
        float (&w)[4] = s[2 * i + j];
#pragma unroll
        for (i32 e = 0; e < 4; e++) {
            w[e] = weight(w[e], scale, offset[e / 2]);
            sum[e / 2] += w[e];
        }
        p[2 * j] = pack2(w[0], w[1], T);
        p[2 * j + 1] = pack2(w[2], w[3], T);
    }
}

// This thread's part of a row of y: row g + 8 h of the result o, divided by its sum of weights. A sum of 0 is that of no key.
template <int EIGHTS>
__device__ __forceinline__ void store_values(char *y, const attention_args &a, const float (&o)[EIGHTS][4], i32 h,
                                             float sum) {
    const float inverse = 1.0f / sum;
    const i32 t = threadIdx.x % 4;
#pragma unroll
    for (i32 j = 0; j < EIGHTS; j++) {
        if (j * 8 >= a.v_dim) continue;
        const float lo = o[j][2 * h], hi = o[j][2 * h + 1];
        store2(y, a.y_type, j * 8 + 2 * t, sum == 0.0f ? 0.0f : lo * inverse, sum == 0.0f ? 0.0f : hi * inverse);
    }
}

}  // namespace reflex
