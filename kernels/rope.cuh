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
//   its norm are on their way while the angles are computed.
// - rope_items, for any head: threads share the work items of the heads. An item is what one thread reads before it
//   writes: whole pairs, so that in place is safe. A norm is summed by a warp per head beforehand.
//
// Limits: rotary_dim at most 1024. Bound by memory for many tokens, by latency for one.
#pragma once

#include "common/element.cuh"
#include "common/reduce.cuh"

namespace reflex {

constexpr i32 ROPE_MAX_PAIRS = 512;
// Of rope_heads: a warp's lanes, eight elements each.
constexpr i32 ROPE_HEADS_PAIRS = 128;
// Heads with a norm in a block of rope_items.
constexpr i32 ROPE_MAX_SCALES = 64;

struct rope_part {
    const void *x;
    void *out, *cache;                                                 // NULL: not written
    const void *norm;                                                  // [dim] or NULL
    i64 x_token, x_head, out_token, out_head, cache_slot, cache_head;  // byte strides
    i32 heads, dim;
    u32 x_type, out_type, cache_type, norm_type;
};

struct rope_args {
    rope_part part[3];             // q, k, v; q and k have the same dim
    const i32 *positions, *slots;  // [tokens]; slots may be NULL
    const float *freq_factors;     // [rotary_dim / 2] or NULL
    // Turns per position of pair 16 a + b are coarse[a] * fine[b]; each is the sum of two floats.
    float2 coarse[32], fine[16];
    i64 cache_slots;
    i32 groups, chunk;  // blocks of a token; items or heads of a block
    i32 lanes;          // of a head, a power of two
    i32 rotary_dim;
    float epsilon, magnitude;
};
REFLEX_ARGS_LAYOUT(rope_args, 752, magnitude, 748);

// x modulo 1 in units of 2^-64. Whole turns do not matter, also not after a product with an integer position.
__device__ __forceinline__ u64 rope_fixed(float x) {
    return (u64)__float2ll_rn((x - rintf(x)) * 18446744073709551616.0f);
}

// Cosine and sine of pair i. An f32 angle would be off by 0.03 at position 1e6 and be reduced by slow code; here the
// frequency has 46 bits or more, and the product with the position wraps exactly at whole turns.
__device__ __forceinline__ float2 rope_rotation(const rope_args &a, i32 position, i32 i) {
    const float2 c = a.coarse[i >> 4], f = a.fine[i & 15];
    // Not contracted: lo is the error of this very product.
    float hi = __fmul_rn(c.x, f.x);
    float lo = fmaf(c.x, f.x, -hi) + (c.x * f.y + c.y * f.x);
    if (a.freq_factors) {
        const float factor = a.freq_factors[i];
        const float quotient = hi / factor;
        lo = (fmaf(-quotient, factor, hi) + lo) / factor;
        hi = quotient;
    }
    const u64 turns = (rope_fixed(hi) + rope_fixed(lo)) * (u64)(i64)position;
    // The last term is 0, or NaN where the factor gave no frequency.
    const float half_turns = (float)(i64)turns * (1.0f / 9223372036854775808.0f) + (hi + lo) * 0.0f;
    float2 r;
    sincospif(half_turns, &r.y, &r.x);
    r.x *= a.magnitude, r.y *= a.magnitude;
    return r;
}

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
        cache = part.cache && cached ? static_cast<char *>(part.cache) + slot * part.cache_slot + head * part.cache_head
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

__device__ __forceinline__ float rope_norm_scale(const rope_args &a, i32 dim, float squares) {
    return rsqrtf(squares / (float)dim + a.epsilon);
}

// The token of a block, its position and its row of the caches.
struct rope_token {
    i64 token;
    i32 group, position, slot;
    bool cached;

    __device__ __forceinline__ rope_token(const rope_args &a) {
        token = blockIdx.x / (u32)a.groups;
        group = (i32)(blockIdx.x % (u32)a.groups);
        position = a.positions[token];
        slot = a.slots ? a.slots[token] : position;
        cached = slot >= 0 && slot < a.cache_slots;
    }

    __device__ __forceinline__ rope_head head(const rope_part &part, i32 head) const {
        return rope_head(part, token, head, slot, cached);
    }

    // By the whole block; a barrier is to follow.
    __device__ __forceinline__ void rotations(const rope_args &a, float2 *rotation) const {
        for (i32 i = threadIdx.x; i < a.rotary_dim / 2; i += blockDim.x) rotation[i] = rope_rotation(a, position, i);
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

// Pairs of neighbours, the first of which is number `pair`.
template <int PAIRS> __device__ __forceinline__ void rope_rotate_pairs(float (&v)[2 * PAIRS], const float2 *rotation,
                                                                       i32 pair) {
#pragma unroll
    for (int k = 0; k < PAIRS; k++) {
        const float2 r = rotation[pair + k];
        const float first = v[2 * k] * r.x - v[2 * k + 1] * r.y;
        v[2 * k + 1] = v[2 * k + 1] * r.x + v[2 * k] * r.y;
        v[2 * k] = first;
    }
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
    const i32 half = a.rotary_dim / 2, pair_items = half / PAIRS, q_heads = a.part[0].heads;
    const i32 dim = max(a.part[0].dim, a.part[1].dim);  // one of them may be absent
    const i32 head_items = pair_items + (dim - a.rotary_dim) / N, v_items = a.part[2].dim / N;
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
            if (lane == 0) scale[h] = rope_norm_scale(a, dim, squares);
        }
    }
    if (first < qk_items) token.rotations(a, rotation);
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
            const i32 i = is_v ? item * N : a.rotary_dim + (item - pair_items) * N;
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
    // NeoX: the lane that holds the other elements of this one's pairs, as an offset.
    const i32 half_lanes = a.rotary_dim / 16;
    const bool rotated = i < a.rotary_dim, second = lane >= half_lanes;
    const i32 other = NEOX && rotated ? (second ? -half_lanes : half_lanes) : 0;

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
            token.rotations(a, rotation);
            __syncthreads();
        }
        if (a.part[0].norm || a.part[1].norm) {
            float squares = 0.0f;
#pragma unroll
            for (int k = 0; k < 8; k++) squares += v[k] * v[k];
            for (i32 offset = a.lanes / 2; offset > 0; offset /= 2)
                squares += __shfl_xor_sync(FULL_MASK, squares, offset);
            if (part.norm) {
                const float scale = rope_norm_scale(a, part.dim, squares);
#pragma unroll
                for (int k = 0; k < 8; k++) v[k] *= scale * w[k];
            }
        }
        float pair[8];
        if constexpr (NEOX) {
#pragma unroll
            for (int k = 0; k < 8; k++) pair[k] = __shfl_sync(FULL_MASK, v[k], (i32)(threadIdx.x % WARP) + other);
        }
        if (!there) continue;
        if (is_v || !rotated) {
            head.pass<8>(i, v);
            continue;
        }
        if constexpr (NEOX) {
            const float2 *r = rotation + i - (second ? a.rotary_dim / 2 : 0);
#pragma unroll
            for (int k = 0; k < 8; k++) v[k] = v[k] * r[k].x + (second ? pair[k] : -pair[k]) * r[k].y;
        } else {
            rope_rotate_pairs<4>(v, rotation, i / 2);
        }
        head.store<8>(i, v);
    }
}

}  // namespace reflex
