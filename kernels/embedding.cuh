// Rows of a table of any weight type, chosen by ids that are read on the device.
//
//   y[t] = scale * table[ids[t]]          an id outside the table gives a row of NaN
//
// A thread expands eight elements, exactly as the format's reference does. Bound by memory and by the launch.
#pragma once

#include "common/blocks.cuh"
#include "common/element.cuh"

namespace reflex {

struct embedding_args {
    const void *table, *ids;
    void *y;
    i64 table_stride, id_stride, y_stride;  // bytes
    i64 vocab, tokens;
    i32 dim;
    i32 pieces;  // of eight elements in a row, the last one may be short
    u32 table_type, y_type;
    float scale;
    i32 table_vec;  // rows of a plain table are 16-byte aligned and dim is a multiple of 8
};
REFLEX_ARGS_LAYOUT(embedding_args, 88, table_vec, 84);

template <class F> __device__ __forceinline__ void embedding_piece(const embedding_args &a, const char *row, i32 i,
                                                                   float (&w)[8]) {
    F::exact8(F::load8(row, i, a.dim, a.table_vec), i, w);
}

__device__ __forceinline__ void embedding_weights(const embedding_args &a, const char *row, i32 i, float (&w)[8]) {
    switch (a.table_type) {
        case F32:
            return embedding_piece<weight::f32>(a, row, i, w);
        case F16:
            return embedding_piece<weight::f16>(a, row, i, w);
        case BF16:
            return embedding_piece<weight::bf16>(a, row, i, w);
        case Q4_0:
            return embedding_piece<weight::q4_0>(a, row, i, w);
        case Q4_1:
            return embedding_piece<weight::q4_1>(a, row, i, w);
        case Q5_0:
            return embedding_piece<weight::q5_0>(a, row, i, w);
        case Q5_1:
            return embedding_piece<weight::q5_1>(a, row, i, w);
        case Q8_0:
            return embedding_piece<weight::q8_0>(a, row, i, w);
        case Q2_K:
            return embedding_piece<weight::q2_k>(a, row, i, w);
        case Q3_K:
            return embedding_piece<weight::q3_k>(a, row, i, w);
        case Q4_K:
            return embedding_piece<weight::q4_k>(a, row, i, w);
        case Q5_K:
            return embedding_piece<weight::q5_k>(a, row, i, w);
        case IQ4_NL:
            return embedding_piece<weight::iq4_nl>(a, row, i, w);
        case IQ4_XS:
            return embedding_piece<weight::iq4_xs>(a, row, i, w);
        case MXFP4:
            return embedding_piece<weight::mxfp4>(a, row, i, w);
        default:
            return embedding_piece<weight::q6_k>(a, row, i, w);
    }
}

// N is 8 where the rows of y allow it, else 1.
template <int N> __device__ __forceinline__ void embedding(const embedding_args &a) {
    const i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    const i64 token = index / a.pieces;
    const i32 i = (i32)(index % a.pieces) * 8;
    if (token >= a.tokens) return;
    const i64 id = *reinterpret_cast<const i32 *>(static_cast<const char *>(a.ids) + token * a.id_stride);
    char *y = static_cast<char *>(a.y) + token * a.y_stride;
    float w[8];
    if (id >= 0 && id < a.vocab) {
        embedding_weights(a, static_cast<const char *>(a.table) + id * a.table_stride, i, w);
#pragma unroll
        for (int e = 0; e < 8; e++) w[e] = __fmul_rn(a.scale, w[e]);
    } else {
#pragma unroll
        for (int e = 0; e < 8; e++) w[e] = __int_as_float(0x7fc00000);
    }
    if constexpr (N == 8) {
        store8(y, a.y_type, i, w);
    } else {
#pragma unroll
        for (int e = 0; e < 8; e++)
            if (i + e < a.dim) store1(y, a.y_type, i + e, w[e]);
    }
}

}  // namespace reflex
