// Attention on tensor cores, for K and V in f16 or bf16.
//
//   y = softmax(scale q k^T) v, over the keys that each row sees
//
// A block takes ROWS rows, a warp one tile of 16 of them or two, and walks over tiles of KEYS keys with a running maximum and
// sum (online softmax). q (rounded to the type of K), K and V tiles lie in shared memory, 16-byte chunks XOR-swizzled by their row
// so that ldmatrix meets no bank twice; V arrives while q k^T is computed, the next K while p v is. The weights of the next 16 keys
// are computed between the products of these. Tiles that no row of the block sees are not visited.
//
// Two tiles a warp halve what is read from shared memory for a product, which bounds one tile; they want twice the rows.
//
// Limits: head sizes are multiples of 8 up to DMAX; rows of K and V are 16-byte aligned. Bound by the tensor cores from
// some hundred keys on.
#pragma once

#include "attention/args.cuh"
#include "attention/rows.cuh"
#include "attention/special.cuh"
#include "common/copies.cuh"
#include "common/mma.cuh"

namespace reflex {

// Four 8 x 8 matrices of 16-bit elements, as load_matrices of common/tf32.cuh and load_matrices_transposed take them.
__device__ __forceinline__ void load_fragment(u32 shared_row, u32 (&m)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(shared_row)
                 : "memory");
}
__device__ __forceinline__ void load_fragment_transposed(u32 shared_row, u32 (&m)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(shared_row)
                 : "memory");
}

template <u32 T, int DMAX, int ROWS, int WARPS, int KEYS, int SHARED_ROWS> struct attention_mma {
    static constexpr i32 THREADS = WARPS * WARP, TILES = ROWS / (16 * WARPS), CHUNKS = DMAX / 8;
    // Rows that a round of copies takes.
    static constexpr i32 ROUND = THREADS / CHUNKS;
    static constexpr bool Q_STAYS = SHARED_ROWS == 0;  // in registers, through the tiles' memory
    static_assert(ROWS % (16 * WARPS) == 0 && THREADS % CHUNKS == 0 && KEYS % ROUND == 0);
    static_assert(Q_STAYS ? 2 * KEYS >= ROWS && TILES == 1 : SHARED_ROWS == ROWS);

    // Where chunk c of a tile's row lies.
    static __device__ __forceinline__ i32 at(i32 row, i32 c) { return row * CHUNKS + (c ^ (row & 7)); }

    // Starts the copy of the next KEYS keys, of which `left` are there and the others become zeros. `from` is this thread's first chunk
    // of them, and then of the keys behind them; `to` is that chunk's address in the tile.
    static __device__ __forceinline__ void load(u32 to, const char *&from, i64 stride, i32 left, i32 dim) {
        const i32 row = (i32)threadIdx.x / CHUNKS, c = (i32)threadIdx.x % CHUNKS;
        if (c * 8 >= dim) return;
#pragma unroll
        for (i32 i = 0; i < KEYS; i += ROUND) {
            // Rows eight apart have the same swizzle.
            const u32 flip = ((row + i) ^ row) & 7;
            cp_async16_at((to ^ (flip * 16)) + i * CHUNKS * 16, from, row + i < left);
            from += ROUND * stride;
        }
    }

    // Chunks past the head's end, which no load writes.
    static __device__ __forceinline__ void clear_padding(uint4 *tile, i32 dim) {
        if (dim == DMAX) return;
        for (i32 i = threadIdx.x; i < KEYS * CHUNKS; i += THREADS)
            if (i % CHUNKS * 8 >= dim) tile[at(i / CHUNKS, i % CHUNKS)] = make_uint4(0, 0, 0, 0);
    }

    // `tiles` is dynamic shared memory: SHARED_ROWS rows of q, KEYS of K, KEYS of V, and what the threads share.
    static __device__ __forceinline__ void run(const attention_args &a) {
        extern __shared__ __align__(1024) uint4 tiles[];
        uint4 *const k_tile = tiles + SHARED_ROWS * CHUNKS, *const v_tile = k_tile + KEYS * CHUNKS;
        u32 *const special = reinterpret_cast<u32 *>(v_tile + KEYS * CHUNKS);

        const attention_block block(a, ROWS);
        const i32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, warp_row = threadIdx.x / WARP * (16 * TILES);
        const i32 row = block.row0 + warp_row + g;
        // Every row of the block sees the keys below `first`, none sees those from `end` on. `first` lies in shared memory: it is asked
        // for once in a tile, and registers are few.
        volatile i32 &first = reinterpret_cast<volatile i32 &>(special[KEYS / 32]);
        if (threadIdx.x == 0) first = block.visible(block.row0);
        const i32 end = block.visible(min(block.row0 + ROWS, block.rows) - 1);
        // What row 8 h of tile m sees. Computed where it is asked for, as registers are few.
        const auto visible = [&](i32 m, i32 h) { return block.visible(row + m * 16 + 8 * h); };

        // Chunk 2 i + half of a row lies at chunk (2 i) ^ half ^ (row & 7): rows are aligned to their size, a power of two, so that the
        // address of chunk `half` turns into that of chunk 2 i + half by an XOR with 32 i.
        constexpr u32 ROW_BYTES = CHUNKS * 16;
        const u32 shared = (u32)__cvta_generic_to_shared(tiles), low = lane % 8;
        const u32 q_at = shared + (warp_row + lane % 16) * ROW_BYTES + ((lane / 16) ^ low) * 16;
        const u32 k_at = shared + (SHARED_ROWS + lane / 16 * 8 + low) * ROW_BYTES + ((lane / 8 % 2) ^ low) * 16;
        const u32 v_at = shared + (SHARED_ROWS + KEYS + lane % 16) * ROW_BYTES + ((lane / 16) ^ low) * 16;

        load_query_rows<T, ROWS, CHUNKS, THREADS>(block, [&](i32 r, i32 c) { return &tiles[at(r, c)]; });
        u32 q_kept[Q_STAYS ? DMAX / 16 : 1][4];
        if constexpr (Q_STAYS) {
            __syncthreads();
#pragma unroll
            for (i32 i = 0; i < DMAX / 16; i++) load_fragment(q_at ^ (32 * i), q_kept[i]);
            __syncthreads();
        }
        clear_padding(k_tile, a.dim);
        clear_padding(v_tile, a.v_dim);
        const i32 row_in_round = (i32)threadIdx.x / CHUNKS, chunk = (i32)threadIdx.x % CHUNKS;
        const i64 k_stride = a.k_stride.bytes[1], v_stride = a.v_stride.bytes[1];
        const char *k_from = block.k() + row_in_round * k_stride + chunk * 16,
                   *v_from = block.v() + row_in_round * v_stride + chunk * 16;
        const u32 k_to = shared + SHARED_ROWS * ROW_BYTES + at(row_in_round, chunk) * 16,
                  v_to = k_to + KEYS * ROW_BYTES;

        float o[TILES][DMAX / 8][4] = {};
        float max[TILES][2], sum[TILES][2] = {};
#pragma unroll
        for (i32 m = 0; m < TILES; m++) max[m][0] = max[m][1] = -REFLEX_INF;
        if (end > 0) load(k_to, k_from, k_stride, end, a.dim);
        for (i32 key0 = 0; key0 < end; key0 += KEYS) {
            cp_async_wait_all();
            __syncthreads();  // K is here, and V was used up
            load(v_to, v_from, v_stride, end - key0, a.v_dim);

            float s[TILES][KEYS / 8][4] = {};
#pragma unroll
            for (i32 i = 0; i < DMAX / 16; i++) {
                u32 q[TILES][4];
#pragma unroll
                for (i32 m = 0; m < TILES; m++) {
                    if constexpr (Q_STAYS) {
#pragma unroll
                        for (i32 e = 0; e < 4; e++) q[m][e] = q_kept[i][e];
                    } else {
                        load_fragment((q_at ^ (32 * i)) + m * 16 * ROW_BYTES, q[m]);
                    }
                }
#pragma unroll
                for (i32 j = 0; j < KEYS / 16; j++) {
                    u32 b[4];
                    load_fragment((k_at ^ (32 * i)) + j * 16 * ROW_BYTES, b);
#pragma unroll
                    for (i32 m = 0; m < TILES; m++) {
                        mma_16x8x16<T>(s[m][2 * j], q[m], b[0], b[1]);
                        mma_16x8x16<T>(s[m][2 * j + 1], q[m], b[2], b[3]);
                    }
                }
            }
            if (key0 + KEYS > first) {
#pragma unroll
                for (i32 m = 0; m < TILES; m++) {
                    const i32 sees[2] = {visible(m, 0), visible(m, 1)};
#pragma unroll
                    for (i32 j = 0; j < KEYS / 8; j++)
#pragma unroll
                        for (i32 e = 0; e < 4; e++)
                            if (key0 + j * 8 + 2 * t + e % 2 >= sees[e / 2]) s[m][j][e] = -REFLEX_INF;
                }
            }

            cp_async_wait_all();
            __syncthreads();  // V is here, and K was used up
            if (key0 + KEYS < end) load(k_to, k_from, k_stride, end - key0 - KEYS, a.dim);
            const bool has_special =
                first < min(key0 + KEYS, end) &&
                remove_special<T, KEYS, CHUNKS, THREADS>(v_tile, special, [](i32 i) { return i / CHUNKS; });

            float offset[TILES][2];
#pragma unroll
            for (i32 m = 0; m < TILES; m++) {
                float new_max[2] = {max[m][0], max[m][1]};
                raise_to_scores(new_max, s[m]);
#pragma unroll
                for (i32 h = 0; h < 2; h++) new_max[h] = quad_max(new_max[h]);
                raise_maxima(max[m], sum[m], new_max, a.scale_log2, [&](i32 h, float factor) {
#pragma unroll
                    for (i32 j = 0; j < DMAX / 8; j++) o[m][j][2 * h] *= factor, o[m][j][2 * h + 1] *= factor;
                });
#pragma unroll
                for (i32 h = 0; h < 2; h++) offset[m][h] = weight_offset(max[m][h], a.scale_log2);
            }
            u32 p[TILES][KEYS / 16][4];
            const auto weights = [&](i32 i) {
#pragma unroll
                for (i32 m = 0; m < TILES; m++) weights_of_16<T>(p[m][i], sum[m], s[m], i, a.scale_log2, offset[m]);
            };
            weights(0);
#pragma unroll
            for (i32 i = 0; i < KEYS / 16; i++) {
                if (i + 1 < KEYS / 16) weights(i + 1);
#pragma unroll
                for (i32 j = 0; j < DMAX / 16; j++) {
                    u32 b[4];
                    load_fragment_transposed((v_at ^ (32 * j)) + i * 16 * ROW_BYTES, b);
#pragma unroll
                    for (i32 m = 0; m < TILES; m++) {
                        mma_16x8x16<T>(o[m][2 * j], p[m][i], b[0], b[1]);
                        mma_16x8x16<T>(o[m][2 * j + 1], p[m][i], b[2], b[3]);
                    }
                }
            }
            if (has_special) {
                const attention_block anew(a, ROWS, 0, block_index_anew());
#pragma unroll
                for (i32 m = 0; m < TILES; m++) {
                    const i32 left[2] = {visible(m, 0) - key0, visible(m, 1) - key0};
                    add_special<T>(o[m], p[m], special, anew.v() + key0 * v_stride, v_stride, a.v_dim, left);
                }
            }
        }

        const attention_block out(a, ROWS, 0, block_index_anew());
#pragma unroll
        for (i32 m = 0; m < TILES; m++)
#pragma unroll
            for (i32 h = 0; h < 2; h++) {
                const float all = quad_sum(sum[m][h]);
                const i32 r = out.row0 + warp_row + lane / 4 + m * 16 + 8 * h;
                if (r >= out.rows) continue;
                char *const y = out.y(r);
                store_values(y, a, o[m], h, all);
            }
    }
};

}  // namespace reflex
