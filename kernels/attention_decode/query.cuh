// What comes before the keys in the tensor core kernels: the block's query heads as mma's fragments, with reflex_rope's
// norm and rotation where the call asks for them, and the new row of K and V, which the block that has the last key
// makes, uses and appends to the cache. Bound by latency: the heads are on their way while the angles are computed.
#pragma once

#include "attention_decode/args.cuh"
#include "common/memory.cuh"
#include "common/prefetch.cuh"

namespace reflex {

template <u32 T, int DMAX, class Knows> struct decode_query {
    // Fragments of q, the same for every warp. Read again for every tile: registers are dearer.
    uint4 q[DMAX / 16][WARP];
    uint4 k[DMAX / 8], v[DMAX / 8];  // the new row
    float2 rotation[DMAX / 2];

    // Of a group of lanes: which head it holds, and this lane's eight elements of it.
    struct eight {
        i32 index, i;
        bool is_q, is_k, is_v, there;
        float v[8], norm[8];

        __device__ __forceinline__ eight(const decode_block<Knows> &block, i32 index)
            : index(index), i((i32)(threadIdx.x % (u32)Knows::lanes(block.a)) * 8), v{}, norm{} {
            const attention_decode_args &a = block.a;
            is_q = index < block.rows;
            is_k = Knows::appends(a) && index == block.rows;
            is_v = Knows::appends(a) && index == block.rows + 1;
            there = (is_q || is_k || is_v) && i < (is_v ? Knows::v_dim(a) : Knows::dim(a));
            if (!there) return;
            if (is_q) {
                load8_any(block.q(index), Knows::q_type(a), i, Knows::q_vec8(a), v);
                if (a.q_norm) load8(a.q_norm, Knows::q_norm_type(a), i, norm);
            } else {
                const row_stride &stride = is_k ? a.k_new_stride : a.v_new_stride;
                const char *row = static_cast<const char *>(is_k ? a.k_new : a.v_new);
                row += block.batch * stride.bytes[1] + block.kv_head * stride.bytes[2];
                load8(row, is_k ? Knows::k_new_type(a) : Knows::v_new_type(a), i, v);
                if (is_k && a.k_norm) load8(a.k_norm, Knows::k_norm_type(a), i, norm);
            }
        }
    };

    // Norm weights on their way to L2, which they have left since the last token.
    static __device__ __forceinline__ void prefetch(const attention_decode_args &a) {
        const void *row = threadIdx.x < WARP ? a.q_norm : a.k_norm;
        const u32 type = threadIdx.x < WARP ? Knows::q_norm_type(a) : Knows::k_norm_type(a);
        const u32 byte = threadIdx.x % WARP * 128;
        if (threadIdx.x < 2 * WARP && row && byte < Knows::dim(a) * element_bytes(type))
            prefetch_l2(static_cast<const char *>(row) + byte);
    }
    // Heads beyond the block's, and dimensions beyond the head's. A barrier is to follow.
    __device__ __forceinline__ void clear() {
        for (i32 i = threadIdx.x; i < DMAX / 16 * (i32)WARP; i += blockDim.x) q[0][i] = make_uint4(0, 0, 0, 0);
    }

    // `x` is the first of the heads that this thread has part of.
    __device__ __forceinline__ void prepare(const decode_block<Knows> &block, eight &x, i32 position) {
        const attention_decode_args &a = block.a;
        if (Knows::rotates(a)) rope_rotations(a.angles, position, rotation);
        __syncthreads();
        const i32 heads = block.rows + (Knows::appends(a) ? 2 : 0), per_pass = blockDim.x / (u32)Knows::lanes(a);
        for (i32 pass = 0;;) {
            if (a.q_norm || a.k_norm)
                rope_lanes_norm(x.v, x.norm, Knows::lanes(a), Knows::dim(a), a.epsilon,
                                x.is_q   ? a.q_norm
                                : x.is_k ? a.k_norm
                                         : nullptr);
            if (Knows::rotates(a)) {
                const bool rotated = x.there && !x.is_v;
                if (Knows::neox(a)) rope_lanes_rotate<true>(x.v, rotation, a.angles.rotary_dim, x.i, rotated);
                else rope_lanes_rotate<false>(x.v, rotation, a.angles.rotary_dim, x.i, rotated);
            }
            put(block, x);
            pass += per_pass;
            if (Knows::ONCE || pass >= heads) break;
            x = eight(block, pass + (i32)(threadIdx.x / (u32)Knows::lanes(a)));
        }
        __syncthreads();
    }

    __device__ __forceinline__ void put(const decode_block<Knows> &block, const eight &x) {
        if (!x.there) return;
        const attention_decode_args &a = block.a;
        const uint4 bits = pack8(x.v, T);
        if (x.is_q) {
            u32 *to = reinterpret_cast<u32 *>(&q[x.i / 32 * 2][x.index % 8 * 4 + x.i / 8 % 4]) + x.index / 8;
            to[0] = bits.x, to[2] = bits.y, to[4 * WARP] = bits.z, to[4 * WARP + 2] = bits.w;
        } else if (block.has_new) {
            (x.is_k ? k : v)[x.i / 8] = bits;
            if (!block.writes_new) return;
            const i64 key = block.length - 1;
            const char *row = x.is_k ? block.k() + key * a.k_stride.bytes[1] : block.v() + key * a.v_stride.bytes[1];
            *reinterpret_cast<uint4 *>(const_cast<char *>(row) + 2 * x.i) = bits;
        }
    }
};

}  // namespace reflex
