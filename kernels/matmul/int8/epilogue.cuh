// From sums in shared memory to results: the splits of k added in order, bias, gate, residual, and the type of y.
#pragma once

#include "activation.cuh"
#include "common/q8_1.cuh"
#include "matmul/int8/args.cuh"

namespace reflex {

// Sums of a thread block: [splits][columns][outputs], outputs innermost.
struct int8_sums {
    float *data;
    i32 outputs, columns;

    __device__ __forceinline__ float &at(i32 split, i32 column, i32 output) const {
        return data[(split * columns + column) * outputs + output];
    }
    __device__ __forceinline__ float total(i32 splits, i32 column, i32 output) const {
        float v = at(0, column, output);
        for (i32 s = 1; s < splits; s++) v += at(s, column, output);
        return v;
    }
};

// Outputs `first` to `first + count` of rows `first_row`.. of one part (of the gated pair: count is half of the sums').
__device__ __forceinline__ void int8_store(const int8_args &a, const int8_part &part, const int8_sums &sums, i32 splits,
                                           i32 first, i32 first_row) {
    const i32 count = a.gate ? sums.outputs / 2 : sums.outputs;
    const i32 rows = min(sums.columns, a.rows - first_row);
    for (i32 i = threadIdx.x; i < count * rows; i += blockDim.x) {
        const i32 o = i % count, column = i / count, output = first + o;
        // With y in blocks of 32 a warp has one of them, and n is a multiple of 32: all of it is inside, or none.
        if (output >= part.n) continue;
        float v = sums.total(splits, column, o);
        if (part.bias) v += load1(part.bias, part.bias_type, output);
        if (a.gate) {
            const int8_part &up = a.part[1];
            float u = sums.total(splits, column, count + o);
            if (up.bias) u += load1(up.bias, up.bias_type, output);
            v = activation_value(v, a.gate - 1) * u;
        }
        const i64 row = first_row + column;
        if (part.residual)
            v += load1(static_cast<const char *>(part.residual) + row * part.residual_stride, part.residual_type,
                       output);
        const float value[1] = {v};
        store_activations<1>(static_cast<char *>(part.y) + row * part.y_stride, part.y_type, part.n, output, value,
                             true);
    }
}

}  // namespace reflex
