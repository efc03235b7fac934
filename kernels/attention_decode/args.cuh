// The parameters of reflex_attention_decode's kernels, and which heads and keys a block works on.
#pragma once

#include "common/act_i8.cuh"
#include "common/attention.cuh"
#include "common/rotation.cuh"

namespace reflex {

struct attention_decode_args {
    const void *q, *k, *v;
    const i32 *kv_lengths;  // or null
    void *y;
    float *partial;                 // [batch][q_heads][splits][v_dim]: sums of weighted values; unused with one split
    float2 *partial_ml;             // [batch][q_heads][splits]: maximum and sum of weights
    row_stride q_stride, y_stride;  // -, batch, head; y in ACT_I8: -, batch, -
    row_stride k_stride, v_stride;  // batch, key, head
    i32 capacity, kv_heads, group;  // group: q heads of a kv head
    i32 dim, v_dim;
    i32 chunks;  // blocks that share a group
    i32 splits;
    i32 cluster;  // the splits of a group are a cluster, which puts them together
    u32 q_type, kv_type, y_type;
    i32 q_vec8;  // rows of q are 16-byte aligned
    float scale_log2;
    // What the tensor core kernels do of reflex_rope's work. All rows are 16-byte aligned.
    float epsilon;                          // of the norms
    const void *k_new, *v_new;              // the sequences' last rows, which are not in the cache yet; or null
    const i32 *positions;                   // or null: no rotation
    const void *q_norm, *k_norm;            // or null
    row_stride k_new_stride, v_new_stride;  // -, batch, head
    rope_angles angles;
    u32 k_new_type, v_new_type, q_norm_type, k_norm_type;
    i32 lanes;  // of a head, a power of two
    i32 neox;
};
REFLEX_ARGS_LAYOUT(attention_decode_args, 720, neox, 716);

// What a kernel knows of its calls when it is compiled: nothing, or what most decode steps have in common. Such a step takes a few
// microseconds, and code that is not in the instruction cache a third of one for each KB.
struct decode_any {
    static constexpr i32 ROWS = DECODE_MMA_ROWS;  // query heads of a block
    static constexpr bool ONCE = false;           // the block holds all of its heads at once while it prepares them
    static __device__ __forceinline__ u32 q_type(const attention_decode_args &a) { return a.q_type; }
    static __device__ __forceinline__ u32 k_new_type(const attention_decode_args &a) { return a.k_new_type; }
    static __device__ __forceinline__ u32 v_new_type(const attention_decode_args &a) { return a.v_new_type; }
    static __device__ __forceinline__ u32 q_norm_type(const attention_decode_args &a) { return a.q_norm_type; }
    static __device__ __forceinline__ u32 k_norm_type(const attention_decode_args &a) { return a.k_norm_type; }
    static __device__ __forceinline__ u32 y_type(const attention_decode_args &a) { return a.y_type; }
    static __device__ __forceinline__ bool q_vec8(const attention_decode_args &a) { return a.q_vec8; }
    static __device__ __forceinline__ bool appends(const attention_decode_args &a) { return a.k_new; }
    static __device__ __forceinline__ bool rotates(const attention_decode_args &a) { return a.positions; }
    static __device__ __forceinline__ bool neox(const attention_decode_args &a) { return a.neox; }
    static __device__ __forceinline__ i32 dim(const attention_decode_args &a) { return a.dim; }
    static __device__ __forceinline__ i32 v_dim(const attention_decode_args &a) { return a.v_dim; }
    static __device__ __forceinline__ i32 lanes(const attention_decode_args &a) { return a.lanes; }
    static __device__ __forceinline__ i32 chunks(const attention_decode_args &a) { return a.chunks; }
};
// Heads of one size, rotated, at most eight to a kv head; operands in F32, y in ACT_I8. src/ops/attention_decode/kernels.rs asks for it.
template <int DIM> struct decode_step {
    static constexpr i32 ROWS = DECODE_STEP_ROWS;
    static constexpr bool ONCE = true;
    static __device__ __forceinline__ u32 q_type(const attention_decode_args &) { return F32; }
    static __device__ __forceinline__ u32 k_new_type(const attention_decode_args &) { return F32; }
    static __device__ __forceinline__ u32 v_new_type(const attention_decode_args &) { return F32; }
    static __device__ __forceinline__ u32 q_norm_type(const attention_decode_args &) { return F32; }
    static __device__ __forceinline__ u32 k_norm_type(const attention_decode_args &) { return F32; }
    static __device__ __forceinline__ u32 y_type(const attention_decode_args &) { return ACT_I8; }
    static __device__ __forceinline__ bool q_vec8(const attention_decode_args &) { return true; }
    static __device__ __forceinline__ bool appends(const attention_decode_args &) { return true; }
    static __device__ __forceinline__ bool rotates(const attention_decode_args &) { return true; }
    static __device__ __forceinline__ bool neox(const attention_decode_args &) { return true; }
    static __device__ __forceinline__ i32 dim(const attention_decode_args &) { return DIM; }
    static __device__ __forceinline__ i32 v_dim(const attention_decode_args &) { return DIM; }
    static __device__ __forceinline__ i32 lanes(const attention_decode_args &) { return DIM / 8; }
    static __device__ __forceinline__ i32 chunks(const attention_decode_args &) { return 1; }
};

// y of a sequence, where it is ACT_I8: its heads are one row.
struct decode_act_i8_row {
    char *data;
    u32 k, first;  // elements of the row and of the heads before `head`
    __device__ __forceinline__ decode_act_i8_row(const attention_decode_args &a, i32 batch, i32 head)
        : data(static_cast<char *>(a.y) + batch * a.y_stride.bytes[1]),
          k((u32)a.kv_heads * a.group * a.v_dim),
          first((u32)head * a.v_dim) {}
};

// Keys of one split. From the length, not from the capacity: a short sequence in a large cache still uses every block.
__device__ __forceinline__ i32 decode_split_keys(i32 length, i32 splits) {
    return ((length + splits - 1) / splits + DECODE_KEYS - 1) / DECODE_KEYS * DECODE_KEYS;
}

// Splits that have keys, `keys` in each.
__device__ __forceinline__ i32 decode_used_splits(i32 length, i32 keys) {
    return length > 0 ? (length + keys - 1) / keys : 0;
}

// One block: some of the query heads of a kv head, over one split of the keys of a sequence.
template <class Knows> struct decode_block {
    const attention_decode_args &a;
    i32 batch, kv_head, split;
    i32 head0, rows;         // query heads head0 .. head0 + rows
    bool writes_new;         // this block's chunk writes the new row to the cache
    i32 begin, end, length;  // keys
    i32 used;                // splits that have keys
    bool has_new;            // the last of its keys is the new one

    // Rows part_row .. part_row + part_rows of the `block_rows` that the launch gave each block.
    __device__ __forceinline__ decode_block(const attention_decode_args &a, i32 block_rows, i32 part_row, i32 part_rows)
        : a(a) {
        u32 x = blockIdx.x;
        // A cluster is a run of blocks. Else neighbours take neighbouring kv heads, which lie side by side in the cache.
        if (a.cluster) split = x % a.splits, x /= a.splits;
        kv_head = x % a.kv_heads, x /= a.kv_heads;
        const i32 chunk = x % Knows::chunks(a);
        x /= Knows::chunks(a);
        if (!a.cluster) split = x % a.splits, x /= a.splits;
        batch = x;
        const i32 row0 = chunk * block_rows + part_row;
        head0 = kv_head * a.group + row0;
        rows = min(a.group - row0, part_rows);  // 0 or less: none
        writes_new = chunk == 0;
    }

    __device__ __forceinline__ i32 read_length() const { return kv_length(a.kv_lengths, batch, a.capacity); }

    // The keys of a sequence of this length.
    __device__ __forceinline__ void share(i32 keys_there) {
        length = keys_there;
        const i32 keys = decode_split_keys(length, a.splits);
        begin = min(split * keys, length);  // at most 2^30 + splits * 65
        end = min(begin + keys, length);
        used = decode_used_splits(length, keys);
        has_new = Knows::appends(a) && begin < end && end == length;
    }

    // What the end needs, kept in shared memory over the loop, where registers are dear: by the first thread, and back by
    // all after a barrier.
    static constexpr i32 PARKED = 6;
    __device__ __forceinline__ void park(i32 (&to)[PARKED]) const {
        if (threadIdx.x > 0) return;
        to[0] = batch, to[1] = kv_head, to[2] = split, to[3] = head0, to[4] = rows, to[5] = used;
    }
    __device__ __forceinline__ void unpark(i32 (&from)[PARKED]) {
        volatile i32 *p = from;  // or the compiler keeps them as well
        batch = p[0], kv_head = p[1], split = p[2], head0 = p[3], rows = p[4], used = p[5];
    }

    // Nothing to do. The first block stays without keys, too: it writes the zeros.
    __device__ __forceinline__ bool idle() const { return begin >= end && split > 0; }
    // No other split of the sequence has keys: nothing to combine.
    __device__ __forceinline__ bool alone() const { return used <= 1; }
    // Keys before this one are in the cache.
    __device__ __forceinline__ i32 cached_end() const { return end - (has_new ? 1 : 0); }

    __device__ __forceinline__ const char *q(i32 row) const {
        return static_cast<const char *>(a.q) + batch * a.q_stride.bytes[1] + (head0 + row) * a.q_stride.bytes[2];
    }
    __device__ __forceinline__ const char *k() const { return kv_rows(a.k, a.k_stride, batch, kv_head); }
    __device__ __forceinline__ const char *v() const { return kv_rows(a.v, a.v_stride, batch, kv_head); }

    // y of a row of heads, elements d to d + 4; all lanes of a warp come here together, `there` or not.
    __device__ __forceinline__ void store(i32 row, i32 d, const float (&v)[4], bool there) const {
        if (Knows::y_type(a) == ACT_I8) {
            const decode_act_i8_row y(a, batch, head0 + row);
            act_i8_store<4>(y.data, y.k, y.first + d, v, there);
            return;
        }
        if (!there) return;
        char *y = static_cast<char *>(a.y) + batch * a.y_stride.bytes[1] + (head0 + row) * a.y_stride.bytes[2] +
                  (i64)d * element_bytes(a.y_type);
        if (a.y_type == F32 && ((u64)y & 15) == 0) {
            *reinterpret_cast<float4 *>(y) = make_float4(v[0], v[1], v[2], v[3]);
        } else if (a.y_type != F32 && ((u64)y & 7) == 0) {
            *reinterpret_cast<uint2 *>(y) = make_uint2(pack2(v[0], v[1], a.y_type), pack2(v[2], v[3], a.y_type));
        } else {
#pragma unroll
            for (i32 e = 0; e < 4; e++) store1(y, a.y_type, e, v[e]);
        }
    }
};

}  // namespace reflex
