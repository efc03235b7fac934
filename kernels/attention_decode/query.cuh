// What comes before the keys in the tensor core kernels: the block's query heads as mma's fragments, with reflex_rope's
// norm and rotation where the call asks for them, and the new row of K and V, which the block that has the last key
// makes, uses and appends to the cache. Bound by latency: the heads are on their way while the angles are computed.
#pragma once

#include "attention_decode/args.cuh"
#include "common/memory.cuh"

namespace reflex {

template <u32 T, int DMAX> struct decode_query {
    // Fragments of q, the same for every warp. Read again for every tile: registers are dearer.
    uint4 q[DMAX / 16][WARP];
    uint4 k[DMAX / 8], v[DMAX / 8];  // the new row
    float2 rotation[DMAX / 2];

    // Of a group of lanes: which head it holds, and this lane's eight elements of it.
    struct eight {
        i32 index, i;
        bool is_q, is_k, is_v, there;
        float v[8], norm[8];

        __device__ __forceinline__ eight(const decode_block &block, i32 index)
            : index(index), i((i32)(threadIdx.x % (u32)block.a.lanes) * 8), v{}, norm{} {
            const attention_decode_args &a = block.a;
            is_q = index < block.rows;
            is_k = a.k_new && index == block.rows;
            is_v = a.k_new && index == block.rows + 1;
            there = (is_q || is_k || is_v) && i < (is_v ? a.v_dim : a.dim);
            if (!there) return;
            if (is_q) {
                load8_any(block.q(index), a.q_type, i, a.q_vec8, v);
                if (a.q_norm) load8(a.q_norm, a.q_norm_type, i, norm);
            } else {
                const row_stride &stride = is_k ? a.k_new_stride : a.v_new_stride;
                const char *row = static_cast<const char *>(is_k ? a.k_new : a.v_new);
                row += block.batch * stride.bytes[1] + block.kv_head * stride.bytes[2];
                load8(row, is_k ? a.k_new_type : a.v_new_type, i, v);
                if (is_k && a.k_norm) load8(a.k_norm, a.k_norm_type, i, norm);
            }
        }
    };

    // Heads beyond the block's, and dimensions beyond the head's. A barrier is to follow.
    __device__ __forceinline__ void clear() {
        for (i32 i = threadIdx.x; i < DMAX / 16 * (i32)WARP; i += blockDim.x) q[0][i] = make_uint4(0, 0, 0, 0);
    }

    // `x` is the first of the heads that this thread has part of.
    __device__ __forceinline__ void prepare(const decode_block &block, eight &x, i32 position) {
        const attention_decode_args &a = block.a;
        if (a.positions) rope_rotations(a.angles, position, rotation);
        __syncthreads();
        const i32 heads = block.rows + (a.k_new ? 2 : 0), per_pass = blockDim.x / (u32)a.lanes;
        for (i32 pass = 0;;) {
            if (a.q_norm || a.k_norm)
                rope_lanes_norm(x.v, x.norm, a.lanes, a.dim, a.epsilon,
                                x.is_q   ? a.q_norm
                                : x.is_k ? a.k_norm
                                         : nullptr);
            if (a.positions) {
                const bool rotated = x.there && !x.is_v;
                if (a.neox) rope_lanes_rotate<true>(x.v, rotation, a.angles.rotary_dim, x.i, rotated);
                else rope_lanes_rotate<false>(x.v, rotation, a.angles.rotary_dim, x.i, rotated);
            }
            put(block, x);
            pass += per_pass;
            if (pass >= heads) break;
            x = eight(block, pass + (i32)(threadIdx.x / (u32)a.lanes));
        }
        __syncthreads();
    }

    __device__ __forceinline__ void put(const decode_block &block, const eight &x) {
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
