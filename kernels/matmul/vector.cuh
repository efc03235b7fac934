// Matrix times few vectors: up to R rows of x (1, 2, 4 or 8) share one reading of the weights.
//
// A warp makes OUTPUTS results for each row. Its lanes stride over the chunks of the weight rows (see common/blocks.cuh),
// STAGES chunks in flight; x comes through L1, which the warps of an SM share, so that k has no limit. Accumulation is f32,
// one chain per lane and result, then a shuffle tree: the order depends on k and the format alone, so that a row's result
// has the same bits whatever R is and wherever the row stands.
//
// Bound by weight bytes where the SMs are many, by instructions per weight where they are few: 3.5 arithmetic instructions
// for each weight with one row, shared by the rows with more.
#pragma once

#include "common/reduce.cuh"
#include "matmul/args.cuh"

namespace reflex {

template <class F, int R, bool VEC> struct matmul_vector_sums {
    static constexpr int OUTPUTS = VECTOR_OUTPUTS;
    const matmul_args &a;
    const char *x[R], *weight[OUTPUTS];
    float sum[OUTPUTS][R];

    __device__ __forceinline__ void load(typename F::chunk (&v)[OUTPUTS], i32 c) const {
#pragma unroll
        for (int o = 0; o < OUTPUTS; o++) v[o] = F::load(weight[o], c, a.k, VEC || a.weight_vec);
    }

    // WIDE: x is F32. Two copies of the sums rather than a branch at each load, which would keep the loads apart.
    template <bool WIDE> __device__ __forceinline__ void load_x(int r, i32 i, float (&xs)[8]) const {
        if constexpr (!VEC) {
            // Only a plain weight type can end inside a run.
#pragma unroll
            for (int e = 0; e < 8; e++)
                xs[e] = F::BLOCKS || i + e < a.k ? load1(x[r], WIDE ? (u32)F32 : a.x_type, i + e) : 0.0f;
        } else if constexpr (WIDE) {
            load8(x[r], F32, i, xs);
        } else {
            const uint4 v = *reinterpret_cast<const uint4 *>(x[r] + (i64)i * 2);
            const u32 bits[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const float2 f = unpack2(bits[e], a.x_type);
                xs[2 * e] = f.x, xs[2 * e + 1] = f.y;
            }
        }
    }

    template <bool WIDE> __device__ __forceinline__ void add_pieces(const typename F::chunk (&v)[OUTPUTS], i32 c,
                                                                    int first, int end) {
#pragma unroll
        for (int p = first; p < end; p++) {
            const i32 i = F::element(c, p);
            float w[OUTPUTS][8];
#pragma unroll
            for (int o = 0; o < OUTPUTS; o++) F::weights(v[o], c, p, w[o]);
#pragma unroll
            for (int r = 0; r < R; r++) {
                float xs[8];
                load_x<WIDE>(r, i, xs);
#pragma unroll
                for (int o = 0; o < OUTPUTS; o++)
#pragma unroll
                    for (int e = 0; e < 8; e++) sum[o][r] = fmaf(w[o][e], xs[e], sum[o][r]);
            }
        }
    }

    __device__ __forceinline__ void add(const typename F::chunk (&v)[OUTPUTS], i32 c) {
        // One row: all of its loads go out together. Several rows: those of one piece do, more would spill.
        constexpr int TOGETHER = R == 1 && VEC ? F::PIECES : 1;
#pragma unroll
        for (int p = 0; p < F::PIECES; p += TOGETHER) {
            if (a.x_type == F32) add_pieces<true>(v, c, p, p + TOGETHER);
            else add_pieces<false>(v, c, p, p + TOGETHER);
        }
    }
};

// VEC: rows of x, and of a plain weight, are 16-byte aligned and k is a multiple of 8.
template <class F, int R, bool VEC> __device__ __forceinline__ void matmul_vector(const matmul_args &a) {
    constexpr int OUTPUTS = VECTOR_OUTPUTS, STAGES = !VEC ? 1 : R == 1 ? F::STAGES : 2;
    const i32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const i32 group = blockIdx.x % (u32)a.row_groups, block = blockIdx.x / (u32)a.row_groups;
    const i32 first_row = group * R, first_output = (block * VECTOR_WARPS + warp) * OUTPUTS;
    if (first_output >= a.n) return;

    // Past the ends the last row and the last output are computed again, and not stored.
    matmul_vector_sums<F, R, VEC> sums{a};
#pragma unroll
    for (int r = 0; r < R; r++) sums.x[r] = matmul_x(a, min(first_row + r, a.rows - 1));
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++) {
        sums.weight[o] = matmul_weight(a, min(first_output + o, a.n - 1));
#pragma unroll
        for (int r = 0; r < R; r++) sums.sum[o][r] = 0.0f;
    }

    const i32 chunks = (a.k + F::CHUNK - 1) / F::CHUNK;
    typename F::chunk stage[STAGES][OUTPUTS];
#pragma unroll
    for (int s = 0; s < STAGES; s++)
        if (lane + s * (i32)WARP < chunks) sums.load(stage[s], lane + s * WARP);
    for (i32 c = lane; c < chunks;) {
#pragma unroll
        for (int s = 0; s < STAGES; s++, c += WARP) {
            if (c < chunks) {
                sums.add(stage[s], c);
                if (c + STAGES * (i32)WARP < chunks) sums.load(stage[s], c + STAGES * WARP);
            }
        }
    }

    // Result i belongs to lane i; a lane picks its own out of registers by selects.
    float mine = 0.0f;
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int o = 0; o < OUTPUTS; o++) {
            const float total = warp_sum(sums.sum[o][r]);
            if (lane == r * OUTPUTS + o) mine = total;
        }
    const i32 row = first_row + lane / OUTPUTS, o = first_output + lane % OUTPUTS;
    if (lane < R * OUTPUTS && row < a.rows && o < a.n) matmul_store(a, row, o, mine);
}

}  // namespace reflex
