// One row of x times packed weights on the integer tensor cores.
//
// An m16n8k32 product has eight columns where one row of x needs one. So x is spread out: block b of a tile (16 rows x 256
// elements, eight blocks of 32) meets a matrix whose column b is x. Only column b of that product is wanted, and every
// lane has two rows times two columns of what is wanted to scale: the scaling, which costs more than the products, is shared
// out evenly. Where a scale belongs to 16 elements there are two chains of products, of even and of odd blocks, and a
// block's halves have a column each.
//
// Zeros in the other columns let one chain of products add up all blocks; they cost a selection for each word of x and
// block, which several panels share. One or two panels' products take turns at two (or four) sums instead: blocks b and
// b + 4 share one, half of the columns are zeros, and a lane picks its sum at the end.
//
// Two fields of a byte cost one masking instead of two. The byte as it is, and the complement of one field (255 less it),
// leave the other field where both meet x, and minus the first where the complement alone does; 255 times the sum of x is
// taken away where a sum starts. Quants of either sign out of a table are magnitudes and complements of magnitudes likewise.
//
// Scales of a few bits are multiplied as integers. Other sums start at 1.5 * 2^23 as an integer, which makes them floats
// without a conversion (|sum| < 2^22 always). Each warp has its own tiles, from its own ring (ring.cuh).
//
// Bound on many SMs by the time a launch takes to begin and end and by instructions, of which those of the pipe of logic,
// permutes and selections weigh twice; on few SMs by the time it takes to fetch a tile, and by instructions.
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
    __device__ __forceinline__ float scale(i32 column) const { return __uint_as_float(column ? record.z : record.x); }
    __device__ __forceinline__ i32 both_sums(i32 column) const { return (i32)(column ? record.w : record.y); }
    // Sum of the quants of one half of a block.
    __device__ __forceinline__ i32 half_sum(i32 column, i32 half) const {
        const i32 sums = both_sums(column);
        return half ? sums >> 16 : (i32)((u32)sums << 16) >> 16;
    }
    __device__ __forceinline__ i32 sum(i32 column) const { return half_sum(column, 0) + half_sum(column, 1); }
    // start + w0 times the sum of the first half + w1 times that of the second: -128..127.
    __device__ __forceinline__ i32 weighted(i32 column, i32 w0, i32 w1, i32 start) const {
        return __dp2a_lo(both_sums(column), (w0 & 0xff) | (w1 & 0xff) << 8, start);
    }
};

// Where a lane reads the next tile's x.
template <class F> struct x_stream {
    const char *quants, *records;
    i32 splits, t;

    __device__ __forceinline__ x_stream(const char *x, i32 k, i32 split, i32 splits, i32 lane)
        : quants(x + (i64)split * tiles::TILE_K),
          records(x + k + (i64)split * (8 * tiles::TILE_BLOCKS)),
          splits(splits),
          t(lane & 3) {
        const i32 g = lane >> 2;
        // Of a scale for 16 elements q is of the g % 2-th half of blocks 2 (g / 2) and the next.
        quants += F::GROUP == 32 ? 32 * g : 32 * (g & 6) + 16 * (g & 1) + 4 * t;
        records += 16 * t;
    }
    // All eight blocks are there.
    __device__ __forceinline__ void load(x_fragment &x) {
        if constexpr (F::GROUP == 32) {
            F::x_words(quants, t, x.q, x.plane);
        } else {
            x.q[0] = *reinterpret_cast<const u32 *>(quants), x.q[1] = *reinterpret_cast<const u32 *>(quants + 32);
        }
        x.record = *reinterpret_cast<const uint4 *>(records);
        quants += splits * tiles::TILE_K, records += splits * (8 * tiles::TILE_BLOCKS);
    }
};

// Tables of quants of either sign (F::SPLIT): packed formats hold a part in registers and give complements of the negative
// ones, native ones give magnitudes.
template <class F, class Tile, bool SPLIT = F::SPLIT> struct tables_of {
    static constexpr bool PACKED = false, WHOLE = false, COMPLEMENTS = false, TWOS = false, HIGH = false;
    __device__ __forceinline__ explicit tables_of(u32) {}
    template <class... A> __device__ __forceinline__ void halves(A &&...a) const { F::halves(a...); }
    // As tiles::nibbles.
    __device__ __forceinline__ void pair(const Tile &tile, i32 lane, i32 j, u32 (&whole)[4], u32 (&rest)[4],
                                         u32 (&)[4]) const {
        const uint4 v = F::nibble_words(tile, lane, j);
        whole[0] = v.x, whole[1] = v.y, whole[2] = v.z, whole[3] = v.w;
#pragma unroll
        for (int i = 0; i < 4; i++) rest[i] = tiles::logic3<0x3f>(whole[i], 0xf0f0f0f0u, 0);
    }
};
template <class F> struct tables_of<F, const char *, false> {
    static constexpr bool PACKED = true, COMPLEMENTS = false, TWOS = F::TWOS, HIGH = F::HIGH;
    // Sums times their scales are integers, too.
    static constexpr bool WHOLE = F::ROW;
    __device__ __forceinline__ explicit tables_of(u32) {}
    template <class... A> __device__ __forceinline__ void pair(A &&...a) const { F::pair(a...); }
};
template <class F> struct tables_of<F, const char *, true> {
    static constexpr bool PACKED = true, WHOLE = false, COMPLEMENTS = true, TWOS = false;
    typename F::halved values;
    __device__ __forceinline__ explicit tables_of(u32 zero) : values(zero) {}
    template <class... A> __device__ __forceinline__ void halves(A &&...a) const { F::halves(values, a...); }
};

// Of a lane's two columns: what a sum is multiplied with, what the sum of x's quants is, that sum, and its halves.
struct column_factors {
    float factor[2], scale[2], sums[2];
    i32 both[2];
};

// What is known of a lane's two columns before the weights are there.
template <class F, class Tables> struct x_columns_of {
    static constexpr int CHAINS = F::GROUPS / 2;
    column_factors of;
    i32 start[CHAINS][4];  // as a product's sums lie

    __device__ __forceinline__ x_columns_of(const x_fragment &x, i32 t) {
#pragma unroll
        for (int column = 0; column < 2; column++) {
            const i32 b = 2 * t + column, times = F::scale_of(b);
            of.scale[column] = x.scale(column), of.both[column] = x.both_sums(column);
            // Whether the sum is the negative one of a pair.
            const bool second = F::NIBBLES ? column : Tables::TWOS && t & 1;
            of.factor[column] = x.scale(column) * ((second ? -1.0f : 1.0f) / (float)times);
            if constexpr (CHAINS == 2) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    i32 v = Tables::WHOLE ? 0 : SUM_START;
                    if constexpr (Tables::TWOS) {
                        const i32 less = second ? 255 - F::OFFSET * times : 255 + F::OFFSET * times;
                        v = less * x.weighted(column, half ? 0 : -1, half ? -1 : 0, 0);
                    } else if constexpr (F::OFFSET != 0) {
                        const i32 w = -F::OFFSET * times;
                        // Packed ones fit a byte.
                        if constexpr (Tables::PACKED) v = x.weighted(column, half ? 0 : w, half ? w : 0, v);
                        else v += w * x.half_sum(column, half);
                    }
                    start[column][half] = start[column][2 + half] = v;
                }
            } else {
                const i32 sum = x.weighted(column, 1, 1, SUM_START);
                of.sums[column] = x.scale(column) * sum_value(sum);
                const i32 less = Tables::COMPLEMENTS ? 255
                                 : !F::NIBBLES       ? F::OFFSET * times
                                 : column            ? 255 - F::OFFSET * times
                                                     : 255 + F::OFFSET;
                start[0][column] = start[0][2 + column] = (Tables::WHOLE ? 0 : SUM_START) + less * (SUM_START - sum);
            }
        }
    }
};

// Integer sums of a tile of R panels, and what scales them.
template <class F, int R> struct tile_sums {
    i32 total[R][F::GROUPS / 2][4];
    typename F::scales::regs scales[R];
    column_factors of;
};

// The products of one tile of R panels. `tile(r)` is where that of panel r lies; `read` is called when nothing there is
// needed any more.
template <class F, int R, class Tile, class Tables, class Read>
__device__ __forceinline__ void int8_vector_products(const Tile &tile, const Tables &tables, const x_fragment &x,
                                                     const x_columns_of<F, Tables> &columns, i32 lane, Read &&read,
                                                     tile_sums<F, R> &sums) {
    constexpr int CHAINS = F::GROUPS / 2;
    constexpr bool APART = R <= 2 && Tables::PACKED;
    static_assert(!F::PLANE || !APART, "a plane's sums have no turns");
    // Sums that products take turns at. A lane's own come from one half of them where they are kept apart.
    constexpr int TURNS = APART ? (F::NIBBLES || CHAINS == 2 ? 2 : 4) : R == 1 ? 2 : 1;
    const i32 g = lane >> 2, t = lane & 3;
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
                for (int i = 0; i < 4; i++) c[r][w][n][i] = APART || n != 0 ? 0 : columns.start[w][i];

    if constexpr (F::NIBBLES) {
        const bool even = !(g & 1);
#pragma unroll
        for (int j = 0; j < tiles::TILE_BLOCKS / 2; j++) {
            const bool here = APART ? (j < 2) == (g < 4) : g >> 1 == j;
            const int turn = j % TURNS;
            const u32 b0 = here ? x.q[0] : 0, b1 = here ? x.q[1] : 0;
            const u32 e0 = even && here ? x.q[0] : 0, e1 = even && here ? x.q[1] : 0;
#pragma unroll
            for (int r = 0; r < R; r++) {
                u32 whole[4], rest[4], high[4];
                tables.pair(tile(r), lane, j, whole, rest, high);
                mma_16x8x32<false>(c[r][0][turn], whole, e0, e1);
                if constexpr (Tables::HIGH) mma_16x8x32<false>(c[r][0][turn], high, e0, e1);
                mma_16x8x32<false>(c[r][0][turn], rest, b0, b1);
                if constexpr (F::PLANE) {
                    u32 bits[4];
                    F::plane_words(tile(r), lane, 2 * j, bits);
                    mma_16x8x32<false>(above[r][0], bits, e0, e1);
                    F::plane_words(tile(r), lane, 2 * j + 1, bits);
                    mma_16x8x32<false>(above[r][0], bits, !even && here ? x.q[0] : 0, !even && here ? x.q[1] : 0);
                }
            }
        }
    } else if constexpr (Tables::TWOS) {
        const bool odd = g & 1;
#pragma unroll
        for (int p = 0; p < tiles::TILE_BLOCKS / 2; p++) {
            const int chain = p & 1, turn = APART ? p >> 1 : 0;
            const bool here = APART || g >> 2 == p >> 1, first = here && !(g & 2);
            const u32 q = x.q[chain];
#pragma unroll
            for (int r = 0; r < R; r++) {
                u32 whole[4], rest[4];
                F::pair(tile(r), lane, p, whole, rest);
                mma_16x8x32<false>(c[r][chain][turn], whole, first && !odd ? q : 0, first && odd ? q : 0);
                mma_16x8x32<false>(c[r][chain][turn], rest, here && !odd ? q : 0, here && odd ? q : 0);
            }
        }
    } else {
        const u32 n0 = Tables::COMPLEMENTS ? x.q[0] : negated4(x.q[0]),
                  n1 = Tables::COMPLEMENTS ? x.q[1] : negated4(x.q[1]);
#pragma unroll
        for (int b = 0; b < tiles::TILE_BLOCKS; b++) {
            // Sums of halves: those of even blocks and those of odd ones, each half in a column.
            const int chain = CHAINS == 1 ? 0 : b & 1, turn = (CHAINS == 1 ? b : b / 2) % TURNS;
            const bool here = APART ? (b < 4) == (g < 4) : CHAINS == 1 ? g == b : g >> 1 == b >> 1;
            const bool odd = g & 1;
            const u32 b0 = CHAINS == 1 ? (here ? x.q[0] : 0) : here && !odd ? x.q[chain] : 0;
            const u32 b1 = CHAINS == 1 ? (here ? x.q[1] : 0) : here && odd ? x.q[chain] : 0;
            const u32 p0 = F::PLANE_BITS ? (here ? x.plane[0] : 0) : b0;
            const u32 p1 = F::PLANE_BITS ? (here ? x.plane[1] : 0) : b1;
#pragma unroll
            for (int r = 0; r < R; r++) {
                if constexpr (F::PLANE) {
                    u32 bits[4];
                    F::plane_words(tile(r), lane, b, bits);
                    mma_16x8x32<false>(above[r][chain], bits, p0, p1);
                }
                if constexpr (F::SPLIT) {
                    u32 positive[4], negative[4];
                    tables.halves(tile(r), lane, b, positive, negative);
                    mma_16x8x32<false>(c[r][0][turn], positive, b0, b1);
                    mma_16x8x32<false>(c[r][0][turn], negative, here ? n0 : 0, here ? n1 : 0);
                } else {
                    u32 a[4];
                    F::words(tile(r), lane, b, a);
                    mma_16x8x32<F::SIGNED>(c[r][chain][turn], a, b0, b1);
                }
            }
        }
    }
#pragma unroll
    for (int r = 0; r < R; r++) sums.scales[r] = F::load_scales(tile(r), lane);
    sums.of = columns.of;
    read();

    // The two candidates times 0 or 1: these multiplications have a pipe of their own.
    const i32 second = Tables::TWOS ? t >> 1 : t & 1, first = 1 - second;
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int w = 0; w < CHAINS; w++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                i32 total = c[r][w][0][i];
                if constexpr (APART) {
                    constexpr int HALF = TURNS / 2;
                    const int n = HALF == 2 ? i & 1 : 0;
                    total = c[r][w][HALF + n][i] * second + (c[r][w][n][i] * first + columns.start[w][i]);
                } else if constexpr (TURNS == 2) {
                    total += c[r][w][1][i];
                }
                if constexpr (F::PLANE) {
                    const i32 weight =
                        F::plane_weight(2 * t + (CHAINS == 1 ? i & 1 : w)) * (F::NIBBLES && i & 1 ? -1 : 1);
                    total += above[r][w][i] * weight;
                }
                sums.total[r][w][i] = total;
            }
}

// Adds a tile's sums.
template <class F, int R, bool WHOLE>
__device__ __forceinline__ void int8_vector_add(const tile_sums<F, R> &sums, float (&acc)[R][2]) {
    constexpr int CHAINS = F::GROUPS / 2;
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = F::ROW ? 0.0f : acc[r][half], less = 0.0f;
#pragma unroll
            for (int column = 0; column < 2; column++) {
                float scale, minimum;
                if constexpr (WHOLE) {
                    // Below 2^27.
                    i32 whole = 0;
#pragma unroll
                    for (int w = 0; w < CHAINS; w++) {
                        const int i = 2 * half + (CHAINS == 1 ? column : w);
                        whole += sums.total[r][CHAINS == 1 ? 0 : column][i] *
                                 F::scales::whole(sums.scales[r], half, CHAINS * column + w);
                    }
                    sum = fmaf((float)whole, sums.of.factor[column], sum);
                    if constexpr (F::MINIMA && CHAINS == 1)
                        minimum = F::scales::minimum_of(sums.scales[r], half, column);
                } else {
#pragma unroll
                    for (int w = 0; w < CHAINS; w++) {
                        const i32 total =
                            CHAINS == 1 ? sums.total[r][0][2 * half + column] : sums.total[r][column][2 * half + w];
                        F::scales::get(sums.scales[r], half, CHAINS * column + w, scale, minimum);
                        sum = fmaf(sum_value(total), scale * sums.of.factor[column], sum);
                    }
                }
                if (F::MINIMA && CHAINS == 1) less = fmaf(minimum, sums.of.sums[column], less);
            }
            if constexpr (F::MINIMA && CHAINS == 2) {
#pragma unroll
                for (int column = 0; column < 2; column++) {
                    const i32 both = F::scales::minima(sums.scales[r], half, column, sums.of.both[column], SUM_START);
                    less = fmaf(sum_value(both), sums.of.scale[column], less);
                }
            }
            if constexpr (F::ROW) {
                float scale, minimum;
                F::scales::row(sums.scales[r], half, scale, minimum);
                acc[r][half] = fmaf(scale, sum, acc[r][half]);
                if (F::MINIMA) acc[r][half] = fmaf(-minimum, less, acc[r][half]);
            } else {
                acc[r][half] = sum - less;
            }
        }
    }
}

// Starts the copies of tile `index`, if it is there.
template <class F, int R, int S>
__device__ __forceinline__ void fill_stage(running_ring<F, R, S> &ring, i32 stage, i64, bool there) {
    ring.fill(stage, there);
}
template <class Ring> __device__ __forceinline__ void fill_stage(const Ring &ring, i32 stage, i64 index, bool there) {
    if (there) ring.fill(stage, index);
}

// Adds complete tiles split, split + splits, ... of R panels. The first copies start before `wait` where the weights allow it; `waited` is
// called when x has been asked for.
// A stage is filled again as soon as it has been read, while its sums are scaled: the time to fetch a tile is what bounds
// devices of few SMs.
template <class F, int R, int S, class Ring, class Wait>
__device__ __forceinline__ void int8_vector_ring(Ring &ring, const char *x, i32 k, i32 split, i32 splits, i32 lane,
                                                 Wait &work, float (&acc)[R][2]) {
    const i32 tiles = k / tiles::TILE_K, count = (tiles - split + splits - 1) / splits;
#pragma unroll
    for (int s = 0; s < S; s++) {
        fill_stage(ring, s, split + s * splits, s < count);
        cp_async_commit();
    }
    work.wait();
    using tables_type = tables_of<F, decltype(ring.tile(0, 0, 0))>;
    const tables_type tables(k >> 31 & lane);
    x_stream<F> stream(x, k, split, splits, lane);
    x_fragment next;
    if (count > 0) stream.load(next);
    work.waited();
    // Scaled in the next turn, which leaves the compiler no choice but to refill first; where there are registers for it. A
    // lone panel has few turns, and code of its own for the last one costs more than it gains.
    constexpr bool LATER = tables_type::PACKED && R > 1 && R * F::GROUPS < 16;
    tile_sums<F, R> sums = {};
    i32 stage = 0, index = split;
    for (i32 left = count; left > 0; left--) {
        if (LATER) int8_vector_add<F, R, tables_type::WHOLE>(sums, acc);
        const x_fragment now = next;
        const x_columns_of<F, tables_type> columns(now, lane & 3);
        if (left > 1) stream.load(next);
        cp_async_wait<S - 1>();
        __syncwarp();
        const auto tile = [&](i32 r) { return ring.tile(stage, r, index); };
        const auto read = [&] {
            __syncwarp();
            fill_stage(ring, stage, index + S * splits, left > S);
            cp_async_commit();
        };
        int8_vector_products<F, R>(tile, tables, now, columns, lane, read, sums);
        if (!LATER) int8_vector_add<F, R, tables_type::WHOLE>(sums, acc);
        stage = stage + 1 == S ? 0 : stage + 1, index += splits;
    }
    if (LATER) int8_vector_add<F, R, tables_type::WHOLE>(sums, acc);
}

}  // namespace reflex
