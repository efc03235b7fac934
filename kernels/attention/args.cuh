// The parameters of reflex_attention's kernels, and which rows and keys a block works on.
#pragma once

#include "common/attention.cuh"

namespace reflex {

struct attention_args {
    const void *q, *k, *v;
    const i32 *kv_lengths;  // or null
    void *y;
    row_stride q_stride, k_stride, v_stride, y_stride;  // batch, token (or key), head
    i32 tokens, capacity, kv_heads, group;              // group: q heads of a kv head
    i32 dim, v_dim;
    u32 q_type, kv_type, y_type;
    i32 causal;
    i32 q_vec8;  // rows of q are 16-byte aligned
    float scale_log2;
};
REFLEX_ARGS_LAYOUT(attention_args, 184, scale_log2, 180);

// Row r of a (sequence, kv head) pair is query head r % group of token r / group: the heads that share keys and values
// share a block too, so that these are read once for all of them.
struct attention_block {
    const attention_args &a;
    i32 batch, kv_head, row0, rows, length;

    // Blocks of late rows come first: under a causal mask they have the most work. A block may take its rows in parts.
    __device__ __forceinline__ attention_block(const attention_args &a, i32 rows_per_block, i32 part_row = 0,
                                               i32 index = blockIdx.x)
        : a(a) {
        rows = a.tokens * a.group;
        const i32 row_blocks = (rows + rows_per_block - 1) / rows_per_block;
        const i32 pairs = (i32)gridDim.x / row_blocks;
        const i32 pair = index % pairs;
        row0 = (row_blocks - 1 - index / pairs) * rows_per_block + part_row;
        batch = pair / a.kv_heads;
        kv_head = pair % a.kv_heads;
        length = kv_length(a.kv_lengths, batch, a.capacity);
    }

    // Number of keys that a row sees; never falls from one row to the next.
    __device__ __forceinline__ i32 visible(i32 row) const {
        if (!a.causal) return length;
        return min(max(length - a.tokens + row / a.group + 1, 0), length);
    }

    __device__ __forceinline__ i64 offset(const row_stride &s, i32 row) const {
        return batch * s.bytes[0] + row / a.group * s.bytes[1] + (i64)(kv_head * a.group + row % a.group) * s.bytes[2];
    }
    __device__ __forceinline__ const char *q(i32 row) const {
        return static_cast<const char *>(a.q) + offset(a.q_stride, row);
    }
    __device__ __forceinline__ char *y(i32 row) const { return static_cast<char *>(a.y) + offset(a.y_stride, row); }
    __device__ __forceinline__ const char *k() const { return kv_rows(a.k, a.k_stride, batch, kv_head); }
    __device__ __forceinline__ const char *v() const { return kv_rows(a.v, a.v_stride, batch, kv_head); }
};

// The number of the block and of the thread, which the compiler does not know to be blockIdx.x and threadIdx.x: what was computed
// from these is computed again, and takes no registers meanwhile.
__device__ __forceinline__ i32 block_index_anew() {
    i32 index;
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(index));
    return index;
}
__device__ __forceinline__ i32 thread_index_anew() {
    i32 index;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
    return index;
}

}  // namespace reflex
