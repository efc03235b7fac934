// Attention with the products of warpgroups (SM 9.0a), for K and V in f16 or bf16.
//
//   y = softmax(scale q k^T) v, over the keys that each row sees
//
// A block has one warpgroup for 64 rows, or two for 128. As in mma.cuh it walks over tiles of KEYS keys with a running maximum and
// sum. q (rounded to the type of K) and two tiles each of K and V lie in shared memory with the swizzle of the products. While the
// softmax of a tile is computed, the tensor cores multiply q with the K of the next one, and the copies of the tiles behind it run.
// Blocks fill what an SM has of registers: with 64 rows, two blocks fill each other's gaps.
//
// Limits: head sizes are multiples of 8 up to DMAX; rows of K and V are 16-byte aligned. Bound by the tensor cores, and by the
// exponentials beside them, from some hundred keys on.
#pragma once

#include "attention/rows.cuh"
#include "attention/special.cuh"
#include "attention/wgmma_products.cuh"
#include "common/copies.cuh"

namespace reflex {

#if REFLEX_WGMMA

template <u32 T, int DMAX, int ROWS, int KEYS> struct attention_wgmma {
    static constexpr i32 THREADS = 2 * ROWS, CHUNKS = DMAX / 8;
    // Rows that a round of copies takes. Rows eight apart have the same swizzle.
    static constexpr i32 ROUND = THREADS / CHUNKS;
    static constexpr u32 TILE = KEYS * DMAX * 2;
    static_assert(ROUND % 8 == 0 && KEYS % ROUND == 0);

    // The key of chunk i of a tile, in the order of memory.
    struct row_of_chunk {
        __device__ __forceinline__ i32 operator()(i32 i) const { return i / 8 % KEYS; }
    };

    // Starts the copy of the next KEYS keys, of which `left` are there and the others become zeros. `from` is this thread's first chunk
    // of them, and then of the keys behind them; `to` is that chunk's address in the tile.
    static __device__ __forceinline__ void load(u32 to, const char *&from, i64 stride, i32 left, i32 dim) {
        const i32 row = (i32)threadIdx.x / CHUNKS, c = (i32)threadIdx.x % CHUNKS;
        if (c * 8 >= dim) return;
#pragma unroll
        for (i32 i = 0; i < KEYS; i += ROUND) {
            cp_async16_at(to + i * 128, from, row + i < left);
            from += ROUND * stride;
        }
    }

    // Chunks past the head's end, which no load writes, of two tiles.
    static __device__ __forceinline__ void clear_padding(char *tiles, i32 dim) {
        if (dim == DMAX) return;
        for (i32 i = threadIdx.x; i < 2 * KEYS * CHUNKS; i += THREADS) {
            const i32 row = i / CHUNKS % KEYS, c = i % CHUNKS;
            if (c * 8 >= dim)
                *reinterpret_cast<uint4 *>(tiles + i / CHUNKS / KEYS * TILE + swizzled_chunk(KEYS, row, c)) =
                    make_uint4(0, 0, 0, 0);
        }
    }

    // s = q k^T of this warpgroup's rows, which is there after wgmma_wait.
    static __device__ __forceinline__ void scores(float (&s)[KEYS / 8][4], u32 q, u32 k) {
#pragma unroll
        for (i32 i = 0; i < DMAX / 16; i++) {
            const u64 x = wgmma_swizzled(q + i / 4 * (ROWS * 128) + i % 4 * 32, 16),
                      y = wgmma_swizzled(k + i / 4 * (KEYS * 128) + i % 4 * 32, 16);
            if (i == 0) wgmma_rows_by_rows<T, KEYS, true>::add(s, x, y);
            else wgmma_rows_by_rows<T, KEYS, false>::add(s, x, y);
        }
        wgmma_commit();
    }

    const attention_args &a;
    const attention_block block;
    char *const memory;
    const u32 shared;
    // This thread's first row, and its rows' sums of values, maxima and sums of weights.
    const i32 row;
    i32 end;
    float o[DMAX / 8][4];
    float max[2], sum[2];
    // Scores of two tiles of keys.
    float s[2][KEYS / 8][4];
    const char *k_from, *v_from;
    u32 to;

    static constexpr u32 K_TILES = ROWS * DMAX * 2, V_TILES = K_TILES + 2 * TILE, SPECIAL = V_TILES + 2 * TILE;

    __device__ __forceinline__ u32 *special() const { return reinterpret_cast<u32 *>(memory + SPECIAL); }
    // As in mma.cuh.
    __device__ __forceinline__ volatile i32 &first() const {
        return reinterpret_cast<volatile i32 &>(special()[(KEYS + 31) / 32]);
    }
    __device__ __forceinline__ u32 own_q() const { return shared + threadIdx.x / 128 * (64 * 128); }

    // Takes the tile of keys from key0 on, whose scores are s.
    __device__ __forceinline__ void softmax_and_values(float (&s)[KEYS / 8][4], i32 key0, u32 v,
                                                       u32 (&p)[KEYS / 16][4]) {
        const i32 t = threadIdx.x % 4;
        if (key0 + KEYS > first()) {
#pragma unroll
            for (i32 h = 0; h < 2; h++) {
                const i32 sees = block.visible(row + 8 * h) - key0 - 2 * t;
#pragma unroll
                for (i32 j = 0; j < KEYS / 8; j++)
#pragma unroll
                    for (i32 e = 0; e < 2; e++)
                        if (j * 8 + e >= sees) s[j][2 * h + e] = -REFLEX_INF;
            }
        }
        float new_max[2] = {max[0], max[1]};
        raise_to_scores(new_max, s);
        float offset[2];
#pragma unroll
        for (i32 h = 0; h < 2; h++) {
            new_max[h] = quad_max(new_max[h]);
            const float factor = rescale(max[h], new_max[h], a.scale_log2);
            max[h] = new_max[h];
            sum[h] *= factor;
            offset[h] = weight_offset(max[h], a.scale_log2);
            // Always: a branch here costs more while products run.
#pragma unroll
            for (i32 j = 0; j < DMAX / 8; j++) o[j][2 * h] *= factor, o[j][2 * h + 1] *= factor;
        }
#pragma unroll
        for (i32 i = 0; i < KEYS / 16; i++) weights_of_16<T>(p[i], sum, s, i, a.scale_log2, offset);
        wgmma_fence();
#pragma unroll
        for (i32 i = 0; i < KEYS / 16; i++)
            wgmma_registers_by_columns<T, DMAX>::add(o, p[i], wgmma_swizzled(v + i * 2048, KEYS * 128));
        wgmma_commit();
        wgmma_wait<0>();
    }

    // The tile from key0 on, which has this place among the two.
    template <int PLACE> __device__ __forceinline__ void tile(i32 key0) {
        cp_async_wait<0>();
        wgmma_publish();
        __syncthreads();  // this V and the next K are here; the last V and this K were used up
        uint4 *const v_tile = reinterpret_cast<uint4 *>(memory + V_TILES + PLACE * TILE);
        const bool has_special = first() < min(key0 + KEYS, end) &&
                                 remove_special<T, KEYS, CHUNKS, THREADS>(v_tile, special(), row_of_chunk());
        if (has_special) {
            wgmma_publish();
            __syncthreads();
        }
        const i32 left = end - key0;
        if (left > KEYS)
            load(shared + V_TILES + (1 - PLACE) * TILE + to, v_from, a.v_stride.bytes[1], left - KEYS, a.v_dim);
        if (left > 2 * KEYS)
            load(shared + K_TILES + PLACE * TILE + to, k_from, a.k_stride.bytes[1], left - 2 * KEYS, a.dim);
        cp_async_commit();
        wgmma_fence();
        scores(s[1 - PLACE], own_q(), shared + K_TILES + (1 - PLACE) * TILE);  // behind the last tile nobody reads them
        u32 p[KEYS / 16][4];
        softmax_and_values(s[PLACE], key0, shared + V_TILES + PLACE * TILE, p);
        if (has_special) {
            const attention_block anew(a, ROWS, 0, block_index_anew());
            const i32 left_of[2] = {block.visible(row) - key0, block.visible(row + 8) - key0};
            add_special<T>(o, p, special(), anew.v() + key0 * a.v_stride.bytes[1], a.v_stride.bytes[1], a.v_dim,
                           left_of);
        }
    }

    // `memory` is dynamic shared memory: ROWS rows of q, two tiles of K, two of V, and what the threads share.
    __device__ __forceinline__ attention_wgmma(const attention_args &a, char *memory)
        : a(a),
          block(a, ROWS),
          memory(memory),
          shared((u32)__cvta_generic_to_shared(memory)),
          row(block.row0 + (i32)threadIdx.x / WARP * 16 + (i32)threadIdx.x % WARP / 4),
          o{},
          max{-REFLEX_INF, -REFLEX_INF},
          sum{} {
        if (threadIdx.x == 0) first() = block.visible(block.row0);
        end = block.visible(min(block.row0 + ROWS, block.rows) - 1);
        clear_padding(memory + K_TILES, a.dim);
        clear_padding(memory + V_TILES, a.v_dim);
        const i64 k_stride = a.k_stride.bytes[1], v_stride = a.v_stride.bytes[1];
        const i32 row_in_round = (i32)threadIdx.x / CHUNKS, chunk = (i32)threadIdx.x % CHUNKS;
        k_from = block.k() + row_in_round * k_stride + chunk * 16;
        v_from = block.v() + row_in_round * v_stride + chunk * 16;
        to = swizzled_chunk(KEYS, row_in_round, chunk);
        if (end > 0) load(shared + K_TILES + to, k_from, k_stride, end, a.dim);
        cp_async_commit();
        if (end > 0) load(shared + V_TILES + to, v_from, v_stride, end, a.v_dim);
        if (end > KEYS) load(shared + K_TILES + TILE + to, k_from, k_stride, end - KEYS, a.dim);
        cp_async_commit();
        load_query_rows<T, ROWS, CHUNKS, THREADS>(
            block, [&](i32 r, i32 c) { return reinterpret_cast<uint4 *>(memory + swizzled_chunk(ROWS, r, c)); });
        cp_async_wait<1>();
        wgmma_publish();
        __syncthreads();
        wgmma_fence();
        scores(s[0], own_q(), shared + K_TILES);
        wgmma_wait<0>();
    }

    static __device__ __forceinline__ void run(const attention_args &a) {
        extern __shared__ __align__(1024) uint4 tiles[];
        attention_wgmma self(a, reinterpret_cast<char *>(tiles));
        for (i32 key0 = 0; key0 < self.end; key0 += 2 * KEYS) {
            self.template tile<0>(key0);
            if (key0 + KEYS >= self.end) break;
            self.template tile<1>(key0 + KEYS);
        }

        const attention_block out(a, ROWS, 0, block_index_anew());
        const i32 out_row = out.row0 + threadIdx.x / WARP * 16 + threadIdx.x % WARP / 4;
#pragma unroll
        for (i32 h = 0; h < 2; h++) {
            const float all = quad_sum(self.sum[h]);
            if (out_row + 8 * h >= out.rows) continue;
            char *const y = out.y(out_row + 8 * h);
            store_values(y, a, self.o, h, all);
        }
    }
};

#else

// Nobody launches it: its candidates want code for SM 9.0a.
template <u32 T, int DMAX, int ROWS, int KEYS> struct attention_wgmma {
    static __device__ __forceinline__ void run(const attention_args &) {}
};

#endif

}  // namespace reflex
