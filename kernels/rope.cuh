// Rotary position embedding of q and k, and the append of K and V to a contiguous cache.
//
//   angle[i] = position * freq_scale * theta_base^(-2 i / rotary_dim) / freq_factors[i]
//   (u, v)  -> (u cos - v sin, v cos + u sin) * magnitude      pairs (i, i + rotary_dim / 2) or (2 i, 2 i + 1)
//
// Layout: q, k, v are [token][head][dim] with byte strides for token and head, so that they may lie in one merged
// buffer; a cache is [slot][head][dim]. A block takes one token: its threads compute the token's cosines and sines once,
// into shared memory, then share the work items of all its heads (or of a part of them, when there are few tokens). An
// item is what one thread reads before it writes: whole pairs, so that in place is safe.
//
// Limits: rotary_dim at most 1024. Bound by memory for many tokens, by latency for one.
#pragma once

#include "common/element.cuh"

namespace reflex {

constexpr i32 ROPE_MAX_PAIRS = 512;

struct rope_part {
    const void *x;
    void *out, *cache;                                                 // NULL: not written
    i64 x_token, x_head, out_token, out_head, cache_slot, cache_head;  // byte strides
    i32 heads;
    u32 x_type, out_type, cache_type;
};

struct rope_args {
    rope_part part[3];             // q, k, v
    const i32 *positions, *slots;  // [tokens]; slots may be NULL
    const float *freq_factors;     // [rotary_dim / 2] or NULL
    // Turns per position of pair 16 a + b are coarse[a] * fine[b]; each is the sum of two floats.
    float2 coarse[32], fine[16];
    i64 cache_slots;
    i32 groups, chunk;  // blocks of a token, items of a block
    i32 rotary_dim, head_dim, v_dim;
    float magnitude;
};
REFLEX_ARGS_LAYOUT(rope_args, 704, magnitude, 700);

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

// Where one head of one token goes; either may be NULL.
struct rope_target {
    char *out, *cache;
    u32 out_type, cache_type;

    template <int N> __device__ __forceinline__ void store(i32 i, const float (&v)[N]) const {
        if (out) store_n<N>(out, out_type, i, v);
        if (cache) store_n<N>(cache, cache_type, i, v);
    }
};

template <int N> __device__ __forceinline__ void rope_neox(const rope_target &to, const char *x, u32 type,
                                                           const float2 *rotation, i32 half, i32 i) {
    float u[N], v[N];
    load_n<N>(x, type, i, u);
    load_n<N>(x, type, i + half, v);
#pragma unroll
    for (int k = 0; k < N; k++) {
        const float2 r = rotation[i + k];
        const float first = u[k] * r.x - v[k] * r.y;
        v[k] = v[k] * r.x + u[k] * r.y;
        u[k] = first;
    }
    to.store<N>(i, u);
    to.store<N>(i + half, v);
}

template <int N> __device__ __forceinline__ void rope_interleaved(const rope_target &to, const char *x, u32 type,
                                                                  const float2 *rotation, i32 pair) {
    constexpr int PAIRS = N == 8 ? 4 : 1;
    float v[2 * PAIRS];
    if constexpr (N == 8) load8(x, type, 2 * pair, v);
    else v[0] = load1(x, type, 2 * pair), v[1] = load1(x, type, 2 * pair + 1);
#pragma unroll
    for (int k = 0; k < PAIRS; k++) {
        const float2 r = rotation[pair + k];
        const float first = v[2 * k] * r.x - v[2 * k + 1] * r.y;
        v[2 * k + 1] = v[2 * k + 1] * r.x + v[2 * k] * r.y;
        v[2 * k] = first;
    }
    if constexpr (N == 8) {
        to.store<8>(2 * pair, v);
    } else {
        const float even[1] = {v[0]}, odd[1] = {v[1]};
        to.store<1>(2 * pair, even);
        to.store<1>(2 * pair + 1, odd);
    }
}

template <int N, bool NEOX> __device__ __forceinline__ void rope(const rope_args &a) {
    constexpr i32 PAIRS = NEOX || N == 1 ? N : N / 2;  // of one item
    __shared__ float2 rotation[ROPE_MAX_PAIRS];
    const i64 token = blockIdx.x / (u32)a.groups;
    const i32 group = (i32)(blockIdx.x % (u32)a.groups);
    const i32 half = a.rotary_dim / 2, pair_items = half / PAIRS;
    const i32 head_items = pair_items + (a.head_dim - a.rotary_dim) / N, v_items = a.v_dim / N;
    const i32 qk_items = (a.part[0].heads + a.part[1].heads) * head_items;
    const i32 first = group * a.chunk, last = min(first + a.chunk, qk_items + a.part[2].heads * v_items);

    const i32 position = a.positions[token];
    const i32 slot = a.slots ? a.slots[token] : position;
    const bool cached = slot >= 0 && slot < a.cache_slots;
    if (first < qk_items) {
        for (i32 i = threadIdx.x; i < half; i += blockDim.x) rotation[i] = rope_rotation(a, position, i);
    }
    __syncthreads();

    for (i32 w = first + (i32)threadIdx.x; w < last; w += blockDim.x) {
        const bool is_v = w >= qk_items;
        const i32 flat = is_v ? w - qk_items : w, per_head = is_v ? v_items : head_items;
        i32 head = flat / per_head;
        const i32 item = flat - head * per_head;
        const bool is_k = !is_v && head >= a.part[0].heads;
        if (is_k) head -= a.part[0].heads;
        const rope_part &part = a.part[is_v ? 2 : is_k];

        const char *x = static_cast<const char *>(part.x) + token * part.x_token + head * part.x_head;
        rope_target to;
        to.out = part.out ? static_cast<char *>(part.out) + token * part.out_token + head * part.out_head : nullptr;
        to.cache = part.cache && cached
                       ? static_cast<char *>(part.cache) + slot * part.cache_slot + head * part.cache_head
                       : nullptr;
        to.out_type = part.out_type, to.cache_type = part.cache_type;

        if (!is_v && item < pair_items) {
            if constexpr (NEOX) rope_neox<N>(to, x, part.x_type, rotation, half, item * PAIRS);
            else rope_interleaved<N>(to, x, part.x_type, rotation, item * PAIRS);
        } else {
            const i32 i = is_v ? item * N : a.rotary_dim + (item - pair_items) * N;
            if (to.out == x) to.out = nullptr;  // in place: it is there already
            float v[N];
            load_n<N>(x, part.x_type, i, v);
            to.store<N>(i, v);
        }
    }
}

}  // namespace reflex
