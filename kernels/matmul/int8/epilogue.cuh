// From sums in shared memory to results: the splits of k added in order, the norm's scale, bias, gate, residual, and the type of y.
#pragma once

#include "activation.cuh"
#include "common/act_i8.cuh"
#include "common/cluster.cuh"
#include "common/reduce.cuh"
#include "matmul/int8/args.cuh"

namespace reflex {

// Sums of a thread block: [splits][columns][outputs], outputs innermost.
struct int8_sums {
    float *data;
    i32 outputs, columns;

    __device__ __forceinline__ float &at(i32 split, i32 column, i32 output) const {
        return data[(split * columns + column) * outputs + output];
    }
    // What a lane has of sixteen outputs of eight columns, as a product leaves it (common/mma.cuh). Every other lane of a column
    // writes its two outputs in the other order: else more of them would wait for the same bank.
    __device__ __forceinline__ void put(i32 split, i32 column, i32 output, i32 lane, const float (&v)[4]) const {
        const i32 g = lane >> 2, t = lane & 3, odd = t & 1;
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float *const to = &at(split, column + 2 * t + e, output + g);
            to[8 * odd] = odd ? v[2 + e] : v[e];
            to[8 - 8 * odd] = odd ? v[e] : v[2 + e];
        }
    }
    __device__ __forceinline__ float total(i32 splits, i32 column, i32 output) const {
        float v = at(0, column, output);
        for (i32 s = 1; s < splits; s++) v += at(s, column, output);
        return v;
    }
};

// The same of all blocks of a cluster, four outputs at a time, added up split after split and block after block.
struct int8_cluster_sums {
    int8_sums own;
    i32 splits, blocks;

    __device__ __forceinline__ void total(i32 column, i32 output, float (&v)[4]) const {
        const float4 *const first = reinterpret_cast<const float4 *>(&own.at(0, column, output));
        const i32 stride = own.columns * own.outputs / 4;
        if (blocks == 1) {
            add(true, *first, v);
            for (i32 s = 1; s < splits; s++) add(false, first[s * stride], v);
            return;
        }
        // Another block's memory is far: several loads at a time.
        constexpr i32 DEEP = 4;
        i32 split = 0, block = 0;
        for (i32 i = 0; block < blocks; i++) {
            float4 part[DEEP] = {};
#pragma unroll
            for (int d = 0; d < DEEP; d++) {
                if (block == blocks) continue;
                part[d] = cluster_load4(cluster_address(first + split * stride, block));
                if (++split == splits) split = 0, block++;
            }
#pragma unroll
            for (int d = 0; d < DEEP; d++) add(d == 0 && i == 0, part[d], v);
        }
    }
    static __device__ __forceinline__ void add(bool first, const float4 &part, float (&v)[4]) {
        if (first) v[0] = part.x, v[1] = part.y, v[2] = part.z, v[3] = part.w;
        else v[0] += part.x, v[1] += part.y, v[2] += part.z, v[3] += part.w;
    }
};

// Not inline: the loops in front of it have no registers to spare. What the RMS norm of x multiplies its rows with, from
// `first_row` on. By whole warps, the last one first: it has the least to do.
__device__ __noinline__ void int8_row_scales(const int8_args &a, i32 first_row, i32 rows, float *scales) {
    const i32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP,
              count = a.k / ACT_I8_BLOCK;
    for (i32 row = warps - 1 - warp; row < rows; row += warps) {
        const float *squares = reinterpret_cast<const float *>(reinterpret_cast<const char *>(a.x_squares) +
                                                               (first_row + row) * a.x_squares_stride);
        float sum = 0.0f;
        for (i32 i = lane; i < count; i += WARP) sum += squares[i];
        sum = warp_sum(sum);
        if (lane == 0) scales[row] = rsqrtf(sum / (float)a.k + a.epsilon);
    }
}

// What an output needs beside its sums.
struct int8_operands {
    float bias, up_bias, residual, norm;

    __device__ __forceinline__ void load(const int8_args &a, const int8_part &part, i32 output, i64 row, bool there) {
        bias = up_bias = residual = norm = 0.0f;
        if (!there || output >= part.n) return;
        if (part.bias) bias = load1(part.bias, part.bias_type, output);
        if (a.gate && a.part[1].bias) up_bias = load1(a.part[1].bias, a.part[1].bias_type, output);
        if (part.residual)
            residual = load1(static_cast<const char *>(part.residual) + row * part.residual_stride, part.residual_type,
                             output);
        if (a.y_norm) norm = load1(a.y_norm, a.y_norm_type, output);
    }
};

// Where a thread makes no more than one output, of those from `first` on of rows `first_row`.. of one part (of the gated pair: half of the
// sums' are outputs). EARLY: its operands are here.
template <bool EARLY> __device__ __forceinline__ void int8_store_one(const int8_args &a, const int8_part &part,
                                                                     const int8_sums &sums, i32 splits, i32 first,
                                                                     i32 first_row, const float *scales,
                                                                     int8_operands operands) {
    const i32 count = a.gate ? sums.outputs / 2 : sums.outputs;
    const i32 rows = min(sums.columns, a.rows - first_row);
    // Once at most. After an `if` in place of it the compiler has fewer registers for the loops in front.
    for (i32 i = threadIdx.x; i < count * rows; i += blockDim.x) {
        const i32 o = i % count, column = i / count, output = first + o;
        // With y in blocks of 32 a warp has one of them, and n is a multiple of 32: all of it is inside, or none.
        if (output >= part.n) continue;
        const i64 row = first_row + column;
        if (!EARLY) operands.load(a, part, output, row, true);
        const float scale = a.x_squares ? scales[column] : 1.0f;
        float v = fmaf(sums.total(splits, column, o), scale, operands.bias);
        if (a.gate)
            v = activation_value(v, a.gate - 1) * fmaf(sums.total(splits, column, count + o), scale, operands.up_bias);
        if (part.residual) v += operands.residual;
        const float value[1] = {v};
        store_activations<1>(static_cast<char *>(part.y) + row * part.y_stride, part.y_type, part.n, output, value,
                             true);
        if (a.y_norm) {
            // As with y in blocks of 32.
            const float normed[1] = {v * operands.norm};
            act_i8_store<1>(static_cast<char *>(a.y_normed) + row * a.y_normed_stride, part.n, output, normed);
            const float squares = warp_sum(v * v);
            if (output % ACT_I8_BLOCK == 0)
                reinterpret_cast<float *>(reinterpret_cast<char *>(a.y_squares) +
                                          row * a.y_squares_stride)[output / ACT_I8_BLOCK] = squares;
        }
        break;
    }
}

// Rows `from` to `to` of what a block makes, four outputs a lane. A thread has the same four of every row, since a block's threads are a
// multiple of a row's quads.
__device__ __forceinline__ void int8_store_rows(const int8_args &a, const int8_part &part,
                                                const int8_cluster_sums &sums, i32 first, i32 first_row, i32 from,
                                                i32 to, const float *scales) {
    const i32 count = a.gate ? sums.own.outputs / 2 : sums.own.outputs, quads = count / 4, n = part.n;
    const i32 o = threadIdx.x % quads * 4, mine = threadIdx.x / quads, step = blockDim.x / quads, output = first + o;
    // Read once: the compiler would not keep them over what it cannot look into.
    const char *const residual = static_cast<const char *>(part.residual);
    char *const y = static_cast<char *>(part.y);
    const i64 residual_stride = part.residual_stride, y_stride = part.y_stride;
    const u32 residual_type = part.residual_type, y_type = part.y_type;
    float bias[4] = {}, up_bias[4] = {}, norm[4] = {};
    if (part.bias) load4(part.bias, part.bias_type, output, n, bias);
    if (a.gate && a.part[1].bias) load4(a.part[1].bias, a.part[1].bias_type, output, n, up_bias);
    if (a.y_norm) load4(a.y_norm, a.y_norm_type, output, n, norm);
    // All lanes take every step: of an output of ACT_I8 eight of them have a block.
    for (i32 base = from; base < to; base += step) {
        const bool there = output < n && base + mine < to;
        const i32 column = min(base + mine, to - 1);
        const i64 row = first_row + column;
        const float scale = a.x_squares ? scales[column - from] : 1.0f;
        float v[4];
        sums.total(column, o, v);
#pragma unroll
        for (int e = 0; e < 4; e++) v[e] = fmaf(v[e], scale, bias[e]);
        if (a.gate) {
            float up[4];
            sums.total(column, count + o, up);
            activation_values(v, a.gate - 1);
#pragma unroll
            for (int e = 0; e < 4; e++) v[e] *= fmaf(up[e], scale, up_bias[e]);
        }
        if (residual) {
            float more[4] = {};
            load4(residual + row * residual_stride, residual_type, output, n, more);
#pragma unroll
            for (int e = 0; e < 4; e++) v[e] += more[e];
        }
        store_activations<4>(y + row * y_stride, y_type, n, output, v, there);
        if (!a.y_norm) continue;
        float squares = 0.0f;
#pragma unroll
        for (int e = 0; e < 4; e++) squares = fmaf(v[e], v[e], squares), v[e] *= norm[e];
        act_i8_store<4>(static_cast<char *>(a.y_normed) + row * a.y_normed_stride, n, output, v, there);
#pragma unroll
        for (int offset = 4; offset > 0; offset >>= 1) squares += __shfl_xor_sync(FULL_MASK, squares, offset);
        if (there && output % ACT_I8_BLOCK == 0)
            reinterpret_cast<float *>(reinterpret_cast<char *>(a.y_squares) +
                                      row * a.y_squares_stride)[output / ACT_I8_BLOCK] = squares;
    }
}

}  // namespace reflex
