// Rotary position embedding of q and k, with an optional RMS norm of each head before it, and the append of K and V to a
// contiguous cache.
//
//   h        = x / sqrt(mean(x^2) + epsilon) * norm         where there is a norm, else x
//   angle[i] = position * freq_scale * theta_base^(-2 i / rotary_dim) / freq_factors[i]
//   (u, v)  -> (u cos - v sin, v cos + u sin) * magnitude   pairs (i, i + rotary_dim / 2) or (2 i, 2 i + 1) of h
//
// Layout: q, k, v are [token][head][dim] with byte strides for token and head, so that they may lie in one merged
// buffer; a cache is [slot][head][dim]. A block takes one token and some of its heads: all of them with many tokens. Its
// threads compute the token's cosines and sines once, into shared memory.
//
// - rope_heads, for aligned heads of up to 256: as many lanes as a head has eights of elements, so that a head is read
//   once, is summed and paired by shuffles, and every lane works. What one token takes is latency alone: the head and
//   its norm are in flight while the angles are computed.
// - rope_items, for any head: threads share the work items of the heads. An item is what one thread reads before it
//   writes: whole pairs, so that in place is safe. A norm is summed by a warp per head beforehand.
//
// Limits: rotary_dim at most 1024. Bound by memory for many tokens, by latency for one.
#pragma once

#include "common/attention.cuh"
#include "common/reduce.cuh"
#include "common/rotation.cuh"

namespace reflex {

struct rope_part {
    const void *x;
    void *out, *cache;                         // NULL: not written
    const void *norm;                          // [dim] or NULL
    i64 x_token, x_head, out_token, out_head;  // byte strides
    i64 cache_token, cache_slot, cache_head;
    i32 heads, dim;
    u32 x_type, out_type, cache_type, norm_type;
};

struct rope_args {
    rope_part part[3];             // q, k, v; q and k have the same dim
    const i32 *positions, *slots;  // [tokens] or NULL
    const i32 *kv_lengths;         // [tokens] or NULL, where a token is appended
    rope_angles angles;
    i64 cache_slots;
    i32 groups, chunk;  // blocks of a token; items or heads of a block
    i32 lanes;          // of a head, a power of two
    float epsilon;
    i32 append;  // each token has a cache of its own, and is the last of it
};
REFLEX_ARGS_LAYOUT(rope_args, 792, append, 784);

// One head of one token: where it is and where it goes, of which either may be NULL.
struct rope_head {
    const char *x;
    char *out, *cache;
    const rope_part &part;
    float scale;  // of the norm

    // Without a slot nothing goes to the cache.
    __device__ __forceinline__ rope_head(const rope_part &part, i64 token, i32 head, i32 slot, bool cached)
        : part(part), scale(1.0f) {
        x = static_cast<const char *>(part.x) + token * part.x_token + head * part.x_head;
        out = part.out ? static_cast<char *>(part.out) + token * part.out_token + head * part.out_head : nullptr;
        cache = part.cache && cached ? static_cast<char *>(part.cache) + token * part.cache_token +
                                           slot * part.cache_slot + head * part.cache_head
                                     : nullptr;
    }

    // Elements i to i + N with the norm.
    template <int N> __device__ __forceinline__ void load(i32 i, float (&v)[N]) const {
        load_n<N>(x, part.x_type, i, v);
        if (!part.norm) return;
        float w[N];
        load_n<N>(part.norm, part.norm_type, i, w);
#pragma unroll
        for (int k = 0; k < N; k++) v[k] *= scale * w[k];
    }

    template <int N> __device__ __forceinline__ void store(i32 i, const float (&v)[N]) const {
        if (out) store_n<N>(out, part.out_type, i, v);
        if (cache) store_n<N>(cache, part.cache_type, i, v);
    }

    // Elements that are not rotated.
    template <int N> __device__ __forceinline__ void pass(i32 i, const float (&v)[N]) {
        if (out == x && !part.norm) out = nullptr;  // in place: it is there already
        store<N>(i, v);
    }
};

// The token of a block, its position and its row of the caches.
struct rope_token {
    i64 token;
    i32 group, position, slot;
    bool cached;

    __device__ __forceinline__ rope_token(const rope_args &a) {
        token = blockIdx.x / (u32)a.groups;
        group = (i32)(blockIdx.x % (u32)a.groups);
        position = a.positions ? a.positions[token] : 0;
        if (a.append) slot = kv_length(a.kv_lengths, token, a.cache_slots) - 1;
        else slot = a.slots ? a.slots[token] : position;
        cached = slot >= 0 && slot < a.cache_slots;
    }

    __device__ __forceinline__ rope_head head(const rope_part &part, i32 head) const {
        return rope_head(part, token, head, slot, cached);
    }
};

template <int N> __device__ __forceinline__ void rope_neox(const rope_head &head, const float2 *rotation, i32 half,
                                                           i32 i) {
    float u[N], v[N];
    head.load<N>(i, u);
    head.load<N>(i + half, v);
#pragma unroll
    for (int k = 0; k < N; k++) {
        const float2 r = rotation[i + k];
        const float first = u[k] * r.x - v[k] * r.y;
        v[k] = v[k] * r.x + u[k] * r.y;
        u[k] = first;
    }
    head.store<N>(i, u);
    head.store<N>(i + half, v);
}

template <int N> __device__ __forceinline__ void rope_interleaved(const rope_head &head, const float2 *rotation,
                                                                  i32 pair) {
    if constexpr (N == 8) {
        float v[8];
        head.load<8>(2 * pair, v);
        rope_rotate_pairs<4>(v, rotation, pair);
        head.store<8>(2 * pair, v);
    } else {
        float even[1], odd[1];
        head.load<1>(2 * pair, even);
        head.load<1>(2 * pair + 1, odd);
        float v[2] = {even[0], odd[0]};
        rope_rotate_pairs<1>(v, rotation, pair);
        even[0] = v[0], odd[0] = v[1];
        head.store<1>(2 * pair, even);
        head.store<1>(2 * pair + 1, odd);
    }
}

template <int N, bool NEOX> __device__ __forceinline__ void rope_items(const rope_args &a) {
    constexpr i32 PAIRS = NEOX || N == 1 ? N : N / 2;  // of one item
    __shared__ float2 rotation[ROPE_MAX_PAIRS];
    __shared__ float scale[ROPE_MAX_SCALES];
    const rope_token token(a);
    const i32 rotary_dim = a.angles.rotary_dim, half = rotary_dim / 2, pair_items = half / PAIRS;
    const i32 q_heads = a.part[0].heads;
    const i32 dim = max(a.part[0].dim, a.part[1].dim);  // one of them may be absent
    const i32 head_items = pair_items + (dim - rotary_dim) / N, v_items = a.part[2].dim / N;
    const i32 qk_items = (q_heads + a.part[1].heads) * head_items;
    const i32 first = token.group * a.chunk, last = min(first + a.chunk, qk_items + a.part[2].heads * v_items);

    // With a norm the chunks consist of whole heads, at most ROPE_MAX_SCALES: nobody else writes what is read here.
    const bool norm = first < qk_items && (a.part[0].norm || a.part[1].norm);
    const i32 first_head = norm ? first / head_items : 0;
    if (norm) {
        const i32 lane = threadIdx.x % WARP, heads = min(last, qk_items) / head_items - first_head;
        for (i32 h = threadIdx.x / WARP; h < heads; h += blockDim.x / WARP) {
            const bool is_k = first_head + h >= q_heads;
            const rope_part &part = a.part[is_k];
            const rope_head head = token.head(part, first_head + h - (is_k ? q_heads : 0));
            float squares = 0.0f;
            for (i32 i = lane * N; i < dim; i += WARP * N) {
                float v[N];
                load_n<N>(head.x, part.x_type, i, v);
#pragma unroll
                for (int k = 0; k < N; k++) squares += v[k] * v[k];
            }
            squares = warp_sum(squares);
            if (lane == 0) scale[h] = rope_norm_scale(a.epsilon, dim, squares);
        }
    }
    if (first < qk_items) rope_rotations(a.angles, token.position, rotation);
    __syncthreads();

    for (i32 w = first + (i32)threadIdx.x; w < last; w += blockDim.x) {
        const bool is_v = w >= qk_items;
        const i32 flat = is_v ? w - qk_items : w, per_head = is_v ? v_items : head_items;
        const i32 index = flat / per_head, item = flat - index * per_head;
        const bool is_k = !is_v && index >= q_heads;
        const rope_part &part = a.part[is_v ? 2 : is_k];
        rope_head head = token.head(part, is_k ? index - q_heads : index);
        if (norm && !is_v) head.scale = scale[index - first_head];

        if (!is_v && item < pair_items) {
            if constexpr (NEOX) rope_neox<N>(head, rotation, half, item * PAIRS);
            else rope_interleaved<N>(head, rotation, item * PAIRS);
        } else {
            const i32 i = is_v ? item * N : rotary_dim + (item - pair_items) * N;
            float v[N];
            head.load<N>(i, v);
            head.pass<N>(i, v);
        }
    }
}

template <bool NEOX> __device__ __forceinline__ void rope_heads(const rope_args &a) {
    __shared__ float2 rotation[ROPE_HEADS_PAIRS];
    const rope_token token(a);
    const i32 q_heads = a.part[0].heads, qk_heads = q_heads + a.part[1].heads;
    const i32 first = token.group * a.chunk, last = min(first + a.chunk, qk_heads + a.part[2].heads);
    const i32 lane = threadIdx.x % (u32)a.lanes, per_pass = blockDim.x / (u32)a.lanes;
    const i32 i = lane * 8;  // this lane's elements of every head
    const i32 rotary_dim = a.angles.rotary_dim;

    // As often for every thread of the block: the warps shuffle, and the block waits for the angles.
    for (i32 pass = first; pass < last; pass += per_pass) {
        const i32 index = pass + (i32)(threadIdx.x / (u32)a.lanes);
        const bool is_v = index >= qk_heads, is_k = !is_v && index >= q_heads;
        const rope_part &part = a.part[is_v ? 2 : is_k];
        const bool there = index < last && i < part.dim;
        rope_head head = token.head(part, there ? index - (is_v ? qk_heads : is_k ? q_heads : 0) : 0);
        float v[8] = {}, w[8] = {};
        if (there) {
            load8(head.x, part.x_type, i, v);
            if (part.norm) load8(part.norm, part.norm_type, i, w);
        }
        if (pass == first && first < qk_heads) {
            rope_rotations(a.angles, token.position, rotation);
            __syncthreads();
        }
        if (a.part[0].norm || a.part[1].norm) rope_lanes_norm(v, w, a.lanes, part.dim, a.epsilon, part.norm);
        rope_lanes_rotate<NEOX>(v, rotation, rotary_dim, i, there && !is_v);
        if (!there) continue;
        if (is_v || i >= rotary_dim) head.pass<8>(i, v);
        else head.store<8>(i, v);
    }
}

}  // namespace reflex
