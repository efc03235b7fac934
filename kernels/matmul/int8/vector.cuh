// One row of x times packed weights on the integer tensor cores.
//
// An m16n8k32 product has eight columns where one row of x needs one. So x is spread out: block b of a tile (16 rows x 256
// elements, eight blocks of 32) meets a matrix whose column b is x and whose other columns are zero. One chain of eight
// products then leaves the sum of block b in column b, and every lane has two rows times two columns to scale: the scaling,
// which costs more than the products, is shared out evenly. Where a scale belongs to 16 elements there are two chains, of
// even and of odd blocks, and a block's halves have a column each.
//
// Nibbles cost one masking instead of two: the byte as it is times x, and the byte less its low nibble times -x, leave the
// low nibble; the second factor alone, in the next column, is the high one.
//
// Sums start at 1.5 * 2^23 as an integer, which makes them floats without a conversion (|sum| < 2^22 always). Each warp
// has its own tiles, from its own ring (ring.cuh).
#pragma once

#include "common/mma_int8.cuh"
#include "matmul/int8/ring.cuh"

namespace reflex {

constexpr i32 SUM_START = 0x4b400000;

__device__ __forceinline__ float sum_value(i32 sum) { return __int_as_float(sum) - 12582912.0f; }

// The four bytes negated; none is -128.
__device__ __forceinline__ u32 negated4(u32 v) {
    const u32 n = ~v;
    return ((n & 0x7f7f7f7fu) + 0x01010101u) ^ (n & 0x80808080u);
}

template <class F> __device__ __forceinline__ void x_words(const char *block, i32 t, u32 (&q)[2]) {
    F::x_words(block, t, q);
}

// What a lane needs of 256 elements of a row of x.
struct x_fragment {
    u32 q[2];      // of block g
    uint4 record;  // of blocks 2t and 2t + 1: {scale, two sums} each
    u32 plane[2];  // of block g, where a plane of bits has an order of its own

    // `blocks` are there; the others read as zeros.
    template <class F> __device__ __forceinline__ void load(const char *x, i32 k, i32 tile, i32 blocks, i32 lane) {
        const i32 g = lane >> 2, t = lane & 3;
        q[0] = q[1] = 0, plane[0] = plane[1] = 0;
        record = make_uint4(0, 0, 0, 0);
        if (g < blocks) F::x_words(x + (i64)tile * tiles::TILE_K + g * 32, t, q, plane);
        const char *records = x + k + (i64)tile * (8 * tiles::TILE_BLOCKS) + 16 * t;
        if (2 * t + 1 < blocks) {
            record = *reinterpret_cast<const uint4 *>(records);
        } else if (2 * t < blocks) {
            const uint2 v = *reinterpret_cast<const uint2 *>(records);
            record.x = v.x, record.y = v.y;
        }
    }
    // All eight blocks are there. Of a scale for 16 elements q is of the g % 2-th half of blocks 2 (g / 2) and the next: see
    // int8_vector_tile.
    template <class F> __device__ __forceinline__ void load_whole(const char *x, i32 k, i32 tile, i32 lane) {
        if constexpr (F::GROUP == 32) {
            load<F>(x, k, tile, tiles::TILE_BLOCKS, lane);
        } else {
            const i32 g = lane >> 2, t = lane & 3;
            const char *pair = x + (i64)tile * tiles::TILE_K + 32 * (g & 6) + 16 * (g & 1) + 4 * t;
            q[0] = *reinterpret_cast<const u32 *>(pair), q[1] = *reinterpret_cast<const u32 *>(pair + 32);
            record = *reinterpret_cast<const uint4 *>(x + k + (i64)tile * (8 * tiles::TILE_BLOCKS) + 16 * t);
        }
    }
    __device__ __forceinline__ float scale(i32 column) const { return __uint_as_float(column ? record.z : record.x); }
    __device__ __forceinline__ i32 both_sums(i32 column) const { return (i32)(column ? record.w : record.y); }
    // Sum of the quants of one half of a block.
    __device__ __forceinline__ i32 half_sum(i32 column, i32 half) const {
        const i32 sums = both_sums(column);
        return half ? sums >> 16 : (i32)((u32)sums << 16) >> 16;
    }
    __device__ __forceinline__ i32 sum(i32 column) const { return half_sum(column, 0) + half_sum(column, 1); }
};

// Adds one tile of R panels. `tile(r)` is where that of panel r lies.
template <class F, int R, class Tile>
__device__ __forceinline__ void int8_vector_tile(const Tile &tile, const x_fragment &x, i32 lane, float (&acc)[R][2]) {
    constexpr int CHAINS = F::GROUPS / 2;
    const i32 g = lane >> 2, t = lane & 3;
    // Of this lane's columns: what one of the sums is multiplied with, and what the minima are.
    float factor[2], sums[2][CHAINS];
    i32 start[2][CHAINS];
#pragma unroll
    for (int column = 0; column < 2; column++) {
        const i32 b = 2 * t + column;
        factor[column] = x.scale(column) * (1.0f / (float)F::scale_of(b));
#pragma unroll
        for (int w = 0; w < CHAINS; w++) {
            const i32 s = CHAINS == 1 ? x.sum(column) : x.half_sum(column, w);
            start[column][w] = SUM_START - F::OFFSET * F::scale_of(b) * s;
            sums[column][w] = x.scale(column) * (float)s;
        }
    }
    // A lone panel's products would wait for one another: they take turns at several sums.
    constexpr int TURNS = R == 1 ? (F::NIBBLES ? 4 : 2) : R == 2 && CHAINS == 1 ? 2 : 1;
    i32 c[R][CHAINS][TURNS][4];
    // Sums of what lies above these quants, in a plane of its own.
    i32 above[R][CHAINS][4] = {};
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int w = 0; w < CHAINS; w++)
#pragma unroll
            for (int n = 0; n < TURNS; n++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    c[r][w][n][i] = n != 0 ? 0 : CHAINS == 1 ? start[i & 1][0] : start[w][i & 1];

    const u32 n0 = negated4(x.q[0]), n1 = negated4(x.q[1]);
    if constexpr (F::NIBBLES) {
#pragma unroll
        for (int j = 0; j < tiles::TILE_BLOCKS / 2; j++) {
            const bool low = g == 2 * j, high = g == 2 * j + 1;
            const u32 b0 = low ? x.q[0] : 0, b1 = low ? x.q[1] : 0;
            const u32 m0 = low ? n0 : high ? x.q[0] : 0, m1 = low ? n1 : high ? x.q[1] : 0;
#pragma unroll
            for (int r = 0; r < R; r++) {
                const uint4 v = F::nibble_words(tile(r), lane, j);
                const u32 whole[4] = {v.x, v.y, v.z, v.w};
                u32 upper[4];
                tiles::masked(v, 0xf0f0f0f0u, upper);
                mma_16x8x32<false>(c[r][0][2 * j % TURNS], whole, b0, b1);
                mma_16x8x32<false>(c[r][0][(2 * j + 1) % TURNS], upper, m0, m1);
                if constexpr (F::PLANE) {
                    u32 bits[4];
                    F::plane_words(tile(r), lane, 2 * j, bits);
                    mma_16x8x32<false>(above[r][0], bits, b0, b1);
                    F::plane_words(tile(r), lane, 2 * j + 1, bits);
                    mma_16x8x32<false>(above[r][0], bits, high ? x.q[0] : 0, high ? x.q[1] : 0);
                }
            }
        }
    } else {
#pragma unroll
        for (int b = 0; b < tiles::TILE_BLOCKS; b++) {
            // Sums of halves: those of even blocks and those of odd ones, each half in a column.
            const int chain = CHAINS == 1 ? 0 : b & 1;
            const u32 b0 = CHAINS == 1 ? (g == b ? x.q[0] : 0) : g == (b & 6) ? x.q[chain] : 0;
            const u32 b1 = CHAINS == 1 ? (g == b ? x.q[1] : 0) : g == (b | 1) ? x.q[chain] : 0;
            const u32 p0 = F::PLANE_BITS ? (g == b ? x.plane[0] : 0) : b0;
            const u32 p1 = F::PLANE_BITS ? (g == b ? x.plane[1] : 0) : b1;
#pragma unroll
            for (int r = 0; r < R; r++) {
                if constexpr (F::PLANE) {
                    u32 bits[4];
                    F::plane_words(tile(r), lane, b, bits);
                    mma_16x8x32<false>(above[r][chain], bits, p0, p1);
                }
                if constexpr (F::SPLIT) {
                    u32 positive[4], negative[4];
                    F::halves(tile(r), lane, b, positive, negative);
                    mma_16x8x32<false>(c[r][0][2 * b % TURNS], positive, b0, b1);
                    mma_16x8x32<false>(c[r][0][(2 * b + 1) % TURNS], negative, g == b ? n0 : 0, g == b ? n1 : 0);
                } else {
                    u32 a[4];
                    F::words(tile(r), lane, b, a);
                    mma_16x8x32<F::SIGNED>(c[r][chain][(CHAINS == 1 ? b : b / 2) % TURNS], a, b0, b1);
                }
            }
        }
    }
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int w = 0; w < CHAINS; w++)
#pragma unroll
            for (int n = 1; n < TURNS; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) c[r][w][0][i] += c[r][w][n][i];
    if constexpr (F::PLANE) {
        const i32 weight[2] = {F::plane_weight(2 * t), F::plane_weight(2 * t + 1)};
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int w = 0; w < CHAINS; w++)
#pragma unroll
                for (int i = 0; i < 4; i++) c[r][w][0][i] += above[r][w][i] * weight[CHAINS == 1 ? i & 1 : w];
    }

#pragma unroll
    for (int r = 0; r < R; r++) {
        const typename F::scales::regs regs = F::load_scales(tile(r), lane);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = F::ROW ? 0.0f : acc[r][half], less = 0.0f;
#pragma unroll
            for (int group = 0; group < F::GROUPS; group++) {
                const int column = group / CHAINS, w = group % CHAINS;
                float scale, minimum;
                F::scales::get(regs, half, group, scale, minimum);
                const i32 total = CHAINS == 1 ? c[r][0][0][2 * half + column] : c[r][column][0][2 * half + w];
                sum = fmaf(sum_value(total), scale * factor[column], sum);
                if (F::MINIMA && CHAINS == 1) less = fmaf(minimum, sums[column][0], less);
            }
            if constexpr (F::MINIMA && CHAINS == 2) {
#pragma unroll
                for (int column = 0; column < 2; column++) {
                    const i32 both = F::scales::minima(regs, half, column, x.both_sums(column), SUM_START);
                    less = fmaf(sum_value(both), x.scale(column), less);
                }
            }
            if constexpr (F::ROW) {
                float scale, minimum;
                F::scales::row(regs, half, scale, minimum);
                acc[r][half] = fmaf(scale, sum, acc[r][half]);
                if (F::MINIMA) acc[r][half] = fmaf(-minimum, less, acc[r][half]);
            } else {
                acc[r][half] = sum - less;
            }
        }
    }
}

// The ring of packed panels.
template <class F, int R, int S> struct packed_ring {
    tile_ring<F, R, S> ring;
    const char *const (&panel)[R];

    __device__ __forceinline__ void fill(i32 stage, i64 index) const { ring.fill(stage, panel, index); }
    __device__ __forceinline__ const char *tile(i32 stage, i32 r, i64) const { return ring.tile(stage, r); }
};

// Adds whole tiles split, split + splits, ... of R panels. The first copies start before `wait` where the weights allow it.
template <class F, int R, int S, class Ring, class Wait>
__device__ __forceinline__ void int8_vector_ring(const Ring &ring, const char *x, i32 k, i32 split, i32 splits,
                                                 i32 lane, Wait &work, float (&acc)[R][2]) {
    const i32 tiles = k / tiles::TILE_K, count = (tiles - split + splits - 1) / splits;
#pragma unroll
    for (int s = 0; s < S - 1; s++) {
        if (s < count) ring.fill(s, split + s * splits);
        cp_async_commit();
    }
    work.wait();
    x_fragment next;
    if (count > 0) next.template load_whole<F>(x, k, split, lane);
    i32 stage = 0;
    for (i32 i = 0; i < count; i++) {
        const x_fragment now = next;
        if (i + 1 < count) next.template load_whole<F>(x, k, split + (i + 1) * splits, lane);
        cp_async_wait<S - 2>();
        __syncwarp();
        const i32 ahead = i + S - 1;
        if (ahead < count) ring.fill(stage == 0 ? S - 1 : stage - 1, split + ahead * splits);
        cp_async_commit();
        int8_vector_tile<F, R>([&](i32 r) { return ring.tile(stage, r, split + i * splits); }, now, lane, acc);
        __syncwarp();
        stage = stage + 1 == S ? 0 : stage + 1;
    }
}

}  // namespace reflex
