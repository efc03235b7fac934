// One row of x times complete packed panels, a panel a warp: the products of a decode step on devices of many SMs.
//
// A launch of these takes five microseconds, of which its weights' bytes are a part. What else it takes is code that is not in the
// instruction cache and loads that wait for one another. So this has no more formats and cases than such a launch needs, and
// everything that an output needs beside its sums is in flight while the first weights are multiplied.
//
// Limits: one row; k a multiple of 256; each part's n a multiple of what a block makes of it, 16 or 32 outputs.
#pragma once

#include "common/launch.cuh"
#include "common/prefetch.cuh"
#include "matmul/int8/epilogue.cuh"
#include "matmul/int8/formats.cuh"
#include "matmul/int8/vector.cuh"

namespace reflex {

// Where a launch may begin before the one in front has ended, room for its blocks is worth more than registers.
#if __CUDA_ARCH__ >= 900
constexpr i32 INT8_NARROW_REGISTERS = 80;
#else
constexpr i32 INT8_NARROW_REGISTERS = 128;
#endif

// One warp's tiles, and the output that a lane of the first warp makes of the block's sums.
struct int8_narrow {
    const int8_args &a;
    const int8_part &part;
    i32 output, count;  // outputs of the block: at most a warp
    // Loaded early: the residual, or the bias where there is none; the weight of the norm; this lane's part of x's squares.
    float added, norm, squares;

    __device__ __forceinline__ bool finishes() const { return (i32)threadIdx.x < count; }

    __device__ __forceinline__ void wait() {
        if (finishes()) {
            if (a.y_norm) prefetch(a.y_norm, a.y_norm_type);
            if (part.bias) prefetch(part.bias, part.bias_type);
        }
        pdl_wait();
    }
    // After x was asked for.
    __device__ __forceinline__ void waited() {
        if (finishes()) {
            if (part.residual) added = load1(part.residual, part.residual_type, output);
            else added = bias(part);
            if (a.y_norm) norm = load1(a.y_norm, a.y_norm_type, output);
        }
        if (!a.x_squares || threadIdx.x >= WARP) return;
        const i32 blocks = a.k / (i32)ACT_I8_BLOCK;
#pragma unroll 1
        for (i32 i = threadIdx.x; i - (i32)threadIdx.x < blocks; i += 4 * WARP) {
            float v[4];
#pragma unroll
            for (int j = 0; j < 4; j++) v[j] = i + j * WARP < blocks ? a.x_squares[i + j * WARP] : 0.0f;
#pragma unroll
            for (int j = 0; j < 4; j++) squares += v[j];
        }
    }
    __device__ __forceinline__ float bias(const int8_part &of) const {
        return of.bias ? load1(of.bias, of.bias_type, output) : 0.0f;
    }
    __device__ __forceinline__ void prefetch(const void *row, u32 type) const {
        prefetch_l2(static_cast<const char *>(row) + output * element_bytes(type));
    }

    // The splits of k in their order.
    __device__ __forceinline__ float total(const float *sums, i32 outputs, i32 o) const {
        float v = sums[o];
#pragma unroll 1
        for (i32 s = 1; s < part.splits; s += 4) {
            float more[4];
#pragma unroll
            for (int j = 0; j < 4; j++) more[j] = s + j < part.splits ? sums[(s + j) * outputs + o] : 0.0f;
#pragma unroll
            for (int j = 0; j < 4; j++) v += more[j];
        }
        return v;
    }

    // By the first warp.
    __device__ __forceinline__ void finish(const float *sums) {
        const float scale = a.x_squares ? rsqrtf(warp_sum(squares) / (float)a.k + a.epsilon) : 1.0f;
        // A block of ACT_I8 is a whole warp.
        if (!finishes()) return;
        const i32 outputs = a.panels * tiles::TILE_ROWS, o = threadIdx.x;
        float v = fmaf(total(sums, outputs, o), scale, part.residual ? bias(part) : added);
        if (a.gate) v = activation_value(v, a.gate - 1) * fmaf(total(sums, outputs, count + o), scale, bias(a.part[1]));
        if (part.residual) v += added;
        const float value[1] = {v};
        store_activations<1>(part.y, part.y_type, part.n, output, value, true);
        if (!a.y_norm) return;
        const float normed[1] = {v * norm};
        act_i8_store<1>(a.y_normed, part.n, output, normed);
        const float sum = warp_sum(v * v);
        if (threadIdx.x == 0) a.y_squares[output / ACT_I8_BLOCK] = sum;
    }
};

// One warp's tiles.
struct int8_narrow_tiles {
    int8_narrow &work;
    const char *panel;
    i32 split, splits;
    char *shared;
    i32 lane;
    float (&acc)[1][2];

    template <class T> __device__ __forceinline__ void run() const {
        const char *const panels[1] = {panel};
        running_ring<T, 1, INT8_NARROW_STAGES> ring(shared, panels, split, splits, lane);
        int8_vector_ring<T, 1, INT8_NARROW_STAGES>(ring, static_cast<const char *>(work.a.x), work.a.k, split, splits,
                                                   lane, work, acc);
    }
};

template <class Formats> __device__ __forceinline__ void int8_narrow_product(const int8_args &a, Formats) {
    extern __shared__ __align__(128) char shared[];
    pdl_launch_dependents();
    const i32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, block = blockIdx.x;
    const int8_part &part = a.part[int8_part_index(a, block)];
    // 1, 2 or 4 panels. Of a gated pair half of them belong to the second weight.
    const i32 slot = warp & (a.panels - 1), split = warp >> (a.panels >> 1), share = a.gate ? a.panels / 2 : a.panels;
    const i32 first = (block - part.first_block) * share * tiles::TILE_ROWS;
    const bool second = a.gate && slot >= share;
    const int8_part &own = second ? a.part[1] : part;
    const char *panel = static_cast<const char *>(own.weight) +
                        (first + (second ? slot - share : slot) * tiles::TILE_ROWS) * own.weight_stride;

    if (!a.prefetch) pdl_wait();
    int8_narrow work{a, part, first + (i32)threadIdx.x, share * tiles::TILE_ROWS, 0.0f, 0.0f, 0.0f};
    float acc[1][2] = {};
    Formats::run(own.weight_type,
                 int8_narrow_tiles{work, panel, split, part.splits, shared + warp * a.ring_bytes, lane, acc});
    float *sums = reinterpret_cast<float *>(shared + a.front_bytes);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float v = acc[0][half];
        v += __shfl_xor_sync(FULL_MASK, v, 1);
        v += __shfl_xor_sync(FULL_MASK, v, 2);
        if ((lane & 3) == 0) sums[(split * a.panels + slot) * tiles::TILE_ROWS + half * 8 + (lane >> 2)] = v;
    }
    __syncthreads();
    if (warp == 0) work.finish(sums);
}

}  // namespace reflex
