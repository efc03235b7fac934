// Attention on tensor cores, for K and V in f16 or bf16.
//
//   y = softmax(scale q k^T) v, over the keys that each row sees
//
// A block of four warps takes 64 rows, a warp 16 of them, and walks over tiles of KEYS keys with a running maximum and
// sum (online softmax). K and V tiles lie in shared memory, 16-byte chunks XOR-swizzled by their row so that ldmatrix
// meets no bank twice; V arrives while q k^T is computed, the next K while p v is. q (rounded to the type of K) and
// the output stay in registers. Tiles that no row of the block sees are not visited.
//
// Limits: head sizes are multiples of 8 up to DMAX; rows of K and V are 16-byte aligned. Bound by the tensor cores from
// some hundred keys on.
#pragma once

#include "attention/args.cuh"
#include "common/mma.cuh"

namespace reflex {

// Some element is infinite or NaN: its exponent is all ones, and adding one to that carries into the sign's place.
template <u32 T> __device__ __forceinline__ bool not_finite(uint4 w) {
    constexpr u32 exponent = T == F16 ? 0x7C007C00u : 0x7F807F80u, one = T == F16 ? 0x04000400u : 0x00800080u;
    const u32 carry =
        ((w.x & exponent) + one) | ((w.y & exponent) + one) | ((w.z & exponent) + one) | ((w.w & exponent) + one);
    return carry & 0x80008000u;
}

template <u32 T, int DMAX, int KEYS> struct attention_mma {
    static constexpr i32 ROWS = ATTENTION_MMA_ROWS, THREADS = ATTENTION_THREADS, CHUNKS = DMAX / 8;
    static_assert(2 * KEYS >= ROWS, "q passes through the tiles' memory");

    // Where chunk c of a tile's row lies.
    static __device__ __forceinline__ i32 at(i32 row, i32 c) { return row * CHUNKS + (c ^ (row & 7)); }

    // Starts the copy of keys key0 .. key0 + KEYS; those from `end` on become zeros.
    static __device__ __forceinline__ void load(uint4 *tile, const char *base, i64 stride, i32 key0, i32 end, i32 dim) {
        for (i32 i = threadIdx.x; i < KEYS * CHUNKS; i += THREADS) {
            const i32 row = i / CHUNKS, c = i % CHUNKS;
            const bool valid = key0 + row < end;
            if (c * 8 < dim) cp_async16(&tile[at(row, c)], valid ? base + (key0 + row) * stride + c * 16 : base, valid);
        }
    }

    // Chunks past the head's end, which no load writes.
    static __device__ __forceinline__ void clear_padding(uint4 *tile, i32 dim) {
        for (i32 i = threadIdx.x; i < KEYS * CHUNKS; i += THREADS)
            if (i % CHUNKS * 8 >= dim) tile[at(i / CHUNKS, i % CHUNKS)] = make_uint4(0, 0, 0, 0);
    }

    // Fragments of this warp's 16 rows of q, through shared memory, as rows of any type and alignment come in.
    static __device__ __forceinline__ void load_q(u32 (&q)[DMAX / 16][4], uint4 *memory, const attention_block &block) {
        const attention_args &a = block.a;
        for (i32 i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
            const i32 row = i / CHUNKS, c = i % CHUNKS;
            float x[8] = {};
            if (block.row0 + row < block.rows && c * 8 < a.dim)
                load8_any(block.q(block.row0 + row), a.q_type, c * 8, a.q_vec8, x);
            memory[at(row, c)] = pack8(x, T);
        }
        __syncthreads();
        const i32 lane = threadIdx.x % WARP, row = threadIdx.x / WARP * 16 + lane % 16;
#pragma unroll
        for (i32 i = 0; i < DMAX / 16; i++)
            load_matrices(&memory[at(row, 2 * i + lane / 16)], q[i][0], q[i][1], q[i][2], q[i][3]);
        __syncthreads();
    }

    // A weight of 0 hides no NaN: 0 * NaN is NaN in a matrix product. Where the rows of a block see different keys of
    // a tile, V rows with anything not finite are taken out of the tile here, and added by `add_special`.
    static __device__ __forceinline__ bool remove_special(uint4 *v_tile, u32 *special) {
        bool found = false;
        for (i32 i = threadIdx.x; i < KEYS * CHUNKS; i += THREADS) found |= not_finite<T>(v_tile[i]);
        if (!__syncthreads_or(found)) return false;
        if (threadIdx.x < KEYS / 32) special[threadIdx.x] = 0;
        __syncthreads();
        for (i32 i = threadIdx.x; i < KEYS * CHUNKS; i += THREADS)
            if (not_finite<T>(v_tile[i])) atomicOr(&special[i / CHUNKS / 32], 1u << (i / CHUNKS % 32));
        __syncthreads();
        for (i32 i = threadIdx.x; i < KEYS * CHUNKS; i += THREADS)
            if (special[i / CHUNKS / 32] >> (i / CHUNKS % 32) & 1) v_tile[i] = make_uint4(0, 0, 0, 0);
        __syncthreads();
        return true;
    }

    // The keys marked in `special`, for the rows that see them alone. Slow, and hardly ever run.
    static __device__ __forceinline__ void add_special(float (&o)[DMAX / 8][4], const u32 (&p)[KEYS / 16][4],
                                                       const u32 *special, const char *v, i64 stride, i32 v_dim,
                                                       const i32 (&visible)[2]) {
        const i32 lane = threadIdx.x % WARP, t = lane % 4;
        for (i32 word = 0; word < KEYS / 32; word++) {
            for (u32 bits = special[word]; bits; bits &= bits - 1) {
                const i32 key = word * 32 + __ffs(bits) - 1, from = (lane & ~3) | (key % 8 / 2);
                u32 lo = 0, hi = 0;
#pragma unroll
                for (i32 i = 0; i < KEYS / 16; i++) {
                    // By mask: from a branch the compiler makes an index, and moves p to memory for it.
                    const u32 mask = i == key / 16 ? ~0u : 0u;
                    lo |= (key & 8 ? p[i][2] : p[i][0]) & mask, hi |= (key & 8 ? p[i][3] : p[i][1]) & mask;
                }
                const float2 two_lo = unpack2(__shfl_sync(FULL_MASK, lo, from), T),
                             two_hi = unpack2(__shfl_sync(FULL_MASK, hi, from), T);
                const float p_lo = key & 1 ? two_lo.y : two_lo.x, p_hi = key & 1 ? two_hi.y : two_hi.x;
#pragma unroll
                for (i32 j = 0; j < DMAX / 8; j++) {
                    if (j * 8 >= v_dim) continue;
                    const float x = load1(v + key * stride, T, j * 8 + 2 * t),
                                y = load1(v + key * stride, T, j * 8 + 2 * t + 1);
                    if (key < visible[0]) o[j][0] += p_lo * x, o[j][1] += p_lo * y;
                    if (key < visible[1]) o[j][2] += p_hi * x, o[j][3] += p_hi * y;
                }
            }
        }
    }

    static __device__ __forceinline__ void run(const attention_args &a) {
        __shared__ uint4 tiles[2 * KEYS * CHUNKS];
        __shared__ u32 special[KEYS / 32];
        uint4 *k_tile = tiles, *v_tile = tiles + KEYS * CHUNKS;

        const attention_block block(a, ROWS);
        const i32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
        const i32 row = block.row0 + threadIdx.x / WARP * 16 + g;
        // Every row of the block sees the keys below `first`, none sees those from `end` on.
        const i32 first = block.visible(block.row0), end = block.visible(min(block.row0 + ROWS, block.rows) - 1);
        i32 visible[2];
#pragma unroll
        for (i32 h = 0; h < 2; h++) visible[h] = row + 8 * h < block.rows ? block.visible(row + 8 * h) : end;

        u32 q[DMAX / 16][4];
        load_q(q, tiles, block);
        clear_padding(k_tile, a.dim);
        clear_padding(v_tile, a.v_dim);
        const char *k = block.k(), *v = block.v();
        const i64 k_stride = a.k_stride.bytes[1], v_stride = a.v_stride.bytes[1];

        float o[DMAX / 8][4] = {};
        float max[2] = {-REFLEX_INF, -REFLEX_INF}, sum[2] = {};
        if (end > 0) load(k_tile, k, k_stride, 0, end, a.dim);
        for (i32 key0 = 0; key0 < end; key0 += KEYS) {
            cp_async_wait_all();
            __syncthreads();  // K is here, and V was used up
            load(v_tile, v, v_stride, key0, end, a.v_dim);

            float s[KEYS / 8][4] = {};
#pragma unroll
            for (i32 i = 0; i < DMAX / 16; i++) {
                if (i * 16 >= a.dim) continue;
#pragma unroll
                for (i32 j = 0; j < KEYS / 16; j++) {
                    u32 b[4];
                    load_matrices(&k_tile[at(j * 16 + lane / 16 * 8 + lane % 8, 2 * i + lane / 8 % 2)], b[0], b[1],
                                  b[2], b[3]);
                    mma_16x8x16<T>(s[2 * j], q[i], b[0], b[1]);
                    mma_16x8x16<T>(s[2 * j + 1], q[i], b[2], b[3]);
                }
            }
            if (key0 + KEYS > first) {
#pragma unroll
                for (i32 j = 0; j < KEYS / 8; j++)
#pragma unroll
                    for (i32 e = 0; e < 4; e++)
                        if (key0 + j * 8 + 2 * t + e % 2 >= visible[e / 2]) s[j][e] = -REFLEX_INF;
            }

            float new_max[2] = {max[0], max[1]};
#pragma unroll
            for (i32 j = 0; j < KEYS / 8; j++)
#pragma unroll
                for (i32 e = 0; e < 4; e++) new_max[e / 2] = fmaxf(new_max[e / 2], s[j][e]);
#pragma unroll
            for (i32 h = 0; h < 2; h++) new_max[h] = quad_max(new_max[h]);
            raise_maxima(max, sum, new_max, a.scale_log2, [&](i32 h, float factor) {
#pragma unroll
                for (i32 j = 0; j < DMAX / 8; j++) o[j][2 * h] *= factor, o[j][2 * h + 1] *= factor;
            });
            const float offset[2] = {weight_offset(max[0], a.scale_log2), weight_offset(max[1], a.scale_log2)};
            u32 p[KEYS / 16][4];
#pragma unroll
            for (i32 j = 0; j < KEYS / 8; j++) {
#pragma unroll
                for (i32 e = 0; e < 4; e++) {
                    s[j][e] = weight(s[j][e], a.scale_log2, offset[e / 2]);
                    sum[e / 2] += s[j][e];
                }
                // Two 16x8 results side by side are the 16x16 operand of the next product.
                p[j / 2][j % 2 * 2] = pack2(s[j][0], s[j][1], T);
                p[j / 2][j % 2 * 2 + 1] = pack2(s[j][2], s[j][3], T);
            }

            cp_async_wait_all();
            __syncthreads();  // V is here, and K was used up
            if (key0 + KEYS < end) load(k_tile, k, k_stride, key0 + KEYS, end, a.dim);
            const bool has_special = first < min(key0 + KEYS, end) && remove_special(v_tile, special);
#pragma unroll
            for (i32 i = 0; i < KEYS / 16; i++) {
#pragma unroll
                for (i32 j = 0; j < DMAX / 16; j++) {
                    if (j * 16 >= a.v_dim) continue;
                    u32 b[4];
                    load_matrices_transposed(&v_tile[at(i * 16 + lane % 16, 2 * j + lane / 16)], b[0], b[1], b[2],
                                             b[3]);
                    mma_16x8x16<T>(o[2 * j], p[i], b[0], b[1]);
                    mma_16x8x16<T>(o[2 * j + 1], p[i], b[2], b[3]);
                }
            }
            if (has_special) {
                const i32 left[2] = {visible[0] - key0, visible[1] - key0};
                add_special(o, p, special, v + key0 * v_stride, v_stride, a.v_dim, left);
            }
        }

#pragma unroll
        for (i32 h = 0; h < 2; h++) {
            sum[h] = quad_sum(sum[h]);
            if (row + 8 * h >= block.rows) continue;
            char *y = block.y(row + 8 * h);
#pragma unroll
            for (i32 j = 0; j < DMAX / 8; j++) {
                if (j * 8 >= a.v_dim) continue;
#pragma unroll
                for (i32 e = 0; e < 2; e++)
                    store1(y, a.y_type, j * 8 + 2 * t + e, sum[h] == 0.0f ? 0.0f : o[j][2 * h + e] / sum[h]);
            }
        }
    }
};

}  // namespace reflex
