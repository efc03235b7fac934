// The parameters of reflex_attention_decode's kernels, which heads and keys a block works on, and how the warps of a
// block put together what each found in its own keys.
#pragma once

#include "common/attention.cuh"
#include "common/q8_1.cuh"

namespace reflex {

struct attention_decode_args {
    const void *q, *k, *v;
    const i32 *kv_lengths;  // or null
    void *y;
    float *partial;                 // [batch][q_heads][splits][v_dim]: sums of weighted values; unused with one split
    float2 *partial_ml;             // [batch][q_heads][splits]: maximum and sum of weights
    row_stride q_stride, y_stride;  // -, batch, head; y in Q8_1: -, batch, -
    row_stride k_stride, v_stride;  // batch, key, head
    i32 capacity, kv_heads, group;  // group: q heads of a kv head
    i32 dim, v_dim;
    i32 chunks;  // blocks that share a group
    i32 splits;
    u32 q_type, kv_type, y_type;
    i32 q_vec8;  // rows of q are 16-byte aligned
    float scale_log2;
};
REFLEX_ARGS_LAYOUT(attention_decode_args, 200, scale_log2, 196);

// y of a sequence, where it is Q8_1: its heads are one row.
struct decode_q8_1_row {
    char *data;
    u32 k, first;  // elements of the row and of the heads before `head`
    __device__ __forceinline__ decode_q8_1_row(const attention_decode_args &a, i32 batch, i32 head)
        : data(static_cast<char *>(a.y) + batch * a.y_stride.bytes[1]),
          k((u32)a.kv_heads * a.group * a.v_dim),
          first((u32)head * a.v_dim) {}
};

constexpr i32 DECODE_WARPS = 4;
// What a block takes at a time; a split is a multiple of it, so that short sequences do not fall into crumbs.
constexpr i32 DECODE_KEYS = 64;

// Keys of one split. From the length, not from the capacity: a short sequence in a large cache still uses every block.
__device__ __forceinline__ i32 decode_split_keys(i32 length, i32 splits) {
    return ((length + splits - 1) / splits + DECODE_KEYS - 1) / DECODE_KEYS * DECODE_KEYS;
}

// One block: some of the query heads of a kv head, over one split of the keys of a sequence. Neighbouring blocks take
// neighbouring kv heads, which lie side by side in the cache.
struct decode_block {
    const attention_decode_args &a;
    i32 batch, kv_head, split, begin, end;
    i32 head0, rows;  // query heads head0 .. head0 + rows
    bool alone;       // no other split of the sequence has keys: nothing to combine

    // Rows part_row .. part_row + part_rows of the `block_rows` that the launch gave each block.
    __device__ __forceinline__ decode_block(const attention_decode_args &a, i32 block_rows, i32 part_row, i32 part_rows)
        : a(a) {
        u32 x = blockIdx.x;
        kv_head = x % a.kv_heads, x /= a.kv_heads;
        const i32 chunk = x % a.chunks;
        x /= a.chunks;
        split = x % a.splits;
        batch = x / a.splits;
        const i32 row0 = chunk * block_rows + part_row;
        head0 = kv_head * a.group + row0;
        rows = min(a.group - row0, part_rows);  // 0 or less: none
        const i32 length = kv_length(a.kv_lengths, batch, a.capacity);
        const i32 keys = decode_split_keys(length, a.splits);
        begin = min(split * keys, length);  // at most 2^30 + splits * 65
        end = min(begin + keys, length);
        alone = a.splits == 1 || (begin == 0 && end == length);
    }

    __device__ __forceinline__ const char *q(i32 row) const {
        return static_cast<const char *>(a.q) + batch * a.q_stride.bytes[1] + (head0 + row) * a.q_stride.bytes[2];
    }
    __device__ __forceinline__ const char *k() const {
        return static_cast<const char *>(a.k) + batch * a.k_stride.bytes[0] + kv_head * a.k_stride.bytes[2];
    }
    __device__ __forceinline__ const char *v() const {
        return static_cast<const char *>(a.v) + batch * a.v_stride.bytes[0] + kv_head * a.v_stride.bytes[2];
    }
};

// Shared memory in which the warps meet.
template <int ROWS, int DMAX> struct decode_merge {
    float max[DECODE_WARPS][ROWS], sum[DECODE_WARPS][ROWS];
    float o[ROWS][DMAX + 4];

    __device__ __forceinline__ float total_max(i32 row) const {
        float m = max[0][row];
#pragma unroll
        for (i32 w = 1; w < DECODE_WARPS; w++) m = fmaxf(m, max[w][row]);
        return m;
    }

    // After `max` and `sum` were written: calls put_all(add) of one warp after the other, which puts every value that a
    // thread holds to its place, or adds it there. In the order of the warps, so that the sums are the same every time.
    template <typename PutAll> __device__ __forceinline__ void gather(PutAll put_all) {
        __syncthreads();
        const i32 warp = threadIdx.x / WARP;
        for (i32 w = 0; w < DECODE_WARPS; w++) {
            if (w == warp) put_all(w > 0);
            __syncthreads();
        }
    }

    // What this warp's sums of a row are worth beside the others'.
    __device__ __forceinline__ float factor(i32 row, float scale) const {
        return rescale(max[threadIdx.x / WARP][row], total_max(row), scale);
    }

    __device__ __forceinline__ void put(i32 row, i32 dim, float value, bool add) {
        o[row][dim] = add ? o[row][dim] + value : value;
    }

    // The block's result: y itself where no other split has keys, else a partial.
    __device__ __forceinline__ void store(const decode_block &block) const {
        const attention_decode_args &a = block.a;
        for (i32 row = threadIdx.x / WARP; row < block.rows; row += DECODE_WARPS) {
            const float m = total_max(row);
            float l = 0.0f;
#pragma unroll
            for (i32 w = 0; w < DECODE_WARPS; w++) l += sum[w][row] * rescale(max[w][row], m, a.scale_log2);
            const i32 lane = threadIdx.x % WARP, head = block.head0 + row;
            if (block.alone && a.y_type == Q8_1) {
                const decode_q8_1_row y(a, block.batch, head);
                for (i32 d0 = 0; d0 < a.v_dim; d0 += 4 * WARP) {
                    const i32 d = d0 + 4 * lane;
                    float v[4] = {};
                    if (d < a.v_dim && l != 0.0f) {
#pragma unroll
                        for (i32 e = 0; e < 4; e++) v[e] = o[row][d + e] / l;
                    }
                    q8_1_store<4>(y.data, y.k, y.first + d, v, d < a.v_dim);
                }
            } else if (block.alone) {
                char *y = static_cast<char *>(a.y) + block.batch * a.y_stride.bytes[1] + head * a.y_stride.bytes[2];
                for (i32 d = lane; d < a.v_dim; d += WARP) store1(y, a.y_type, d, l == 0.0f ? 0.0f : o[row][d] / l);
            } else {
                const i64 at = ((i64)block.batch * a.kv_heads * a.group + head) * a.splits + block.split;
                for (i32 d = lane; d < a.v_dim; d += WARP) a.partial[at * a.v_dim + d] = o[row][d];
                if (lane == 0) a.partial_ml[at] = make_float2(m, l);
            }
        }
    }
};

}  // namespace reflex
