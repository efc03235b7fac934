// Rows of a table of any weight type, packed or not, chosen by ids that are read on the device.
//
//   y[t] = scale * table[ids[t]]          an id outside the table gives a row of NaN
//
// A thread expands eight elements, exactly as the format's reference does. Bound by memory and by the launch.
#pragma once

#include "common/blocks.cuh"
#include "common/element.cuh"
#include "common/packed/formats.cuh"

namespace reflex {

struct embedding_args {
    const void *table, *ids;
    void *y;
    i64 table_stride, id_stride, y_stride;  // bytes
    i64 vocab, tokens;
    i32 dim;
    i32 pieces;              // of eight elements in a row, the last one may be short
    u32 table_type, y_type;  // the native type of a packed table
    float scale;
    i32 table_vec;  // rows of a plain table are 16-byte aligned and dim is a multiple of 8
};
REFLEX_ARGS_LAYOUT(embedding_args, 88, table_vec, 84);

template <class F> __device__ __forceinline__ void embedding_piece(const embedding_args &a, const char *row, i32 i,
                                                                   float (&w)[8]) {
    F::exact8(F::load8(row, i, a.dim, a.table_vec), i, w);
}

// The host lets no other type through.
__device__ __forceinline__ void embedding_weights(const embedding_args &a, const char *row, i32 i, float (&w)[8]) {
#define REFLEX_CASE(NAME, name, ...) \
    case NAME:                       \
        return embedding_piece<weight::name>(a, row, i, w);
    switch (a.table_type) {
        case F32:
            return embedding_piece<weight::f32>(a, row, i, w);
        case F16:
            return embedding_piece<weight::f16>(a, row, i, w);
        case BF16:
            return embedding_piece<weight::bf16>(a, row, i, w);
            REFLEX_BLOCK_FORMATS(REFLEX_CASE)
    }
#undef REFLEX_CASE
}

template <class F> __device__ __forceinline__ void embedding_packed_piece(const embedding_args &a, i64 id, i32 i,
                                                                          float (&w)[8]) {
    using W = typename F::weight;
    const char *table = static_cast<const char *>(a.table);
    const i32 tiles = a.dim >> 8;
    const u32 r = (u32)id & 15;
    const char *panel = table + (id - r) * a.table_stride;
    const char *row = panel + r * a.table_stride;
    if (id - r + 16 <= a.vocab) {
        if (i >> 8 < tiles) return F::exact8(panel + (i64)(i >> 8) * F::TILE, r & 7, r >> 3, i & 255, w);
        // Blocks after the last tile, as if the row had begun so far before them.
        const i64 run = (i64)tiles * F::RUN;
        row = panel + 16 * run + r * (a.table_stride - run) - run;
    }
    W::exact8(W::load8(row, i, a.dim, false), i, w);
}

__device__ __forceinline__ void embedding_packed_weights(const embedding_args &a, i64 id, i32 i, float (&w)[8]) {
#define REFLEX_CASE(NAME, name, ...) \
    case NAME:                       \
        return embedding_packed_piece<packed::name>(a, id, i, w);
    switch (a.table_type) { REFLEX_BLOCK_FORMATS(REFLEX_CASE) }
#undef REFLEX_CASE
}

// N is 8 where the rows of y allow it, else 1. PACKED: the table is.
template <int N, bool PACKED> __device__ __forceinline__ void embedding(const embedding_args &a) {
    const i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    const i64 token = index / a.pieces;
    const i32 i = (i32)(index % a.pieces) * 8;
    if (token >= a.tokens) return;
    const i64 id = *reinterpret_cast<const i32 *>(static_cast<const char *>(a.ids) + token * a.id_stride);
    char *y = static_cast<char *>(a.y) + token * a.y_stride;
    float w[8];
    if (id >= 0 && id < a.vocab) {
        if constexpr (PACKED) embedding_packed_weights(a, id, i, w);
        else embedding_weights(a, static_cast<const char *>(a.table) + id * a.table_stride, i, w);
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
