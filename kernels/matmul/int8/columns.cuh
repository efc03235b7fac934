// Several rows of x times packed weights on the f16 tensor cores: NB x 8 rows at a time, each a column of the product.
//
// Scaling the integer sums of each block of 32 would cost more than the products where there are several columns. So the
// scales go into the factors, which are made f16: a weight is its block's scale times its quant, in units of a factor that
// its row has for all 256 elements of a tile; an activation is its block's scale times its quant, in units of a power of two
// that its column has for the tile. Sixteen m16n8k16 products then add up a tile, and what is left to scale is their sum.
//
// Where rows have no factor of their own they get one as columns do: the power of two that takes the tile's largest scale
// to [128, 256). Small scales beside a large one lose bits only below 2^-24 of it.
//
// Bytes become f16 as 1024 + byte, of two bytes at a time, the even ones and the odd ones of a word.
#pragma once

#include "matmul/int8/vector.cuh"

namespace reflex {

// Sums of R panels times NB x 8 columns, of one lane. In shared memory, since the loop over the columns is not unrolled.
template <int R, int NB> struct column_sums {
    float4 *data;

    __device__ __forceinline__ column_sums(char *of_warp, i32 lane) : data(reinterpret_cast<float4 *>(of_warp) + lane) {
#pragma unroll
        for (int i = 0; i < R * NB; i++) data[i * WARP] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
    __device__ __forceinline__ float4 &at(i32 r, i32 nb) const { return data[(nb * R + r) * WARP]; }
};

// Rows of x; those past the last one read the last one, and are not stored.
struct x_columns {
    const char *x;
    i64 stride;
    i32 last, k;
    __device__ __forceinline__ const char *row(i32 i) const { return x + min(i, last) * stride; }
};

__device__ __forceinline__ __half2 half2_of(u32 bits) { return *reinterpret_cast<const __half2 *>(&bits); }
__device__ __forceinline__ u32 bits_of(__half2 v) { return *reinterpret_cast<const u32 *>(&v); }
__device__ __forceinline__ u32 half2_bits(float low, float high) { return bits_of(__floats2half2_rn(low, high)); }
// One half twice.
__device__ __forceinline__ __half2 twice(u32 pair, i32 high) {
    return half2_of(__byte_perm(pair, 0, high ? 0x3232 : 0x1010));
}

// 1024 + byte (of signed bytes 1152 + value) of the even bytes of v, or of the odd ones.
template <bool SIGNED> __device__ __forceinline__ __half2 bytes_above_1024(u32 v, i32 odd) {
    return half2_of(__byte_perm(SIGNED ? v ^ 0x80808080u : v, 0x64646464u, odd ? 0x4341 : 0x4240));
}

// Takes the largest of some scales to [2^TOP, 2^(TOP + 1)): `down` is what they are multiplied with, `up` undoes it. Both are
// powers of two, and finite and normal also for a largest of zero, infinity or NaN; LEAST > TOP is the least exponent that counts.
template <u32 TOP, u32 LEAST> struct unit_of {
    float down, up;
    __device__ __forceinline__ explicit unit_of(u32 largest_bits) {
        const u32 e = max(largest_bits >> 23, LEAST);
        down = __uint_as_float((254 + TOP - e) << 23), up = __uint_as_float((e - TOP) << 23);
    }
};
using byte_unit = unit_of<7, 8>;

__device__ __forceinline__ u32 magnitude_bits(float v) { return __float_as_uint(v) & 0x7fffffffu; }

// Over the four lanes of a row or column.
__device__ __forceinline__ u32 quad_max(u32 v) {
    v = max(v, __shfl_xor_sync(FULL_MASK, v, 1));
    return max(v, __shfl_xor_sync(FULL_MASK, v, 2));
}

// One panel's: the scales of a lane's two blocks, and what is left for the sums.
template <class F> struct tile_factors {
    static constexpr int CHAINS = F::GROUPS / 2;
    u32 scales[F::GROUPS];                  // of rows g and g + 8, divided by what the bytes have too much
    u32 minima[F::MINIMA ? CHAINS : 1][2];  // of rows g, g + 8: two neighbouring groups of the lane's
    // What the sums and the minima's are multiplied with: where rows have factors, these, as they lie in memory.
    u32 factors[2];

    __device__ __forceinline__ float row(i32 half) const {
        return F::ROW ? half_of_pair(factors[0], half) : __uint_as_float(factors[half]);
    }
    __device__ __forceinline__ float less(i32 half) const { return F::ROW ? half_of_pair(factors[1], half) : 1.0f; }
    static __device__ __forceinline__ float half_of_pair(u32 pair, i32 high) {
        return high ? __high2float(half2_of(pair)) : __low2float(half2_of(pair));
    }

    __device__ __forceinline__ void load(const char *tile, i32 lane) {
        const i32 t = lane & 3;
        const typename F::scales::regs regs = F::scales::load(tile + F::QUANT_BYTES, lane);
        float scale[2][F::GROUPS], minimum[2][F::GROUPS];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            u32 largest = 0;
#pragma unroll
            for (int c = 0; c < F::GROUPS; c++) {
                F::scales::get(regs, half, c, scale[half][c], minimum[half][c]);
                largest = max(largest, magnitude_bits(scale[half][c]));
            }
            if constexpr (!F::ROW) {
                const byte_unit unit(quad_max(largest));
                factors[half] = __float_as_uint(unit.up);
#pragma unroll
                for (int c = 0; c < F::GROUPS; c++) scale[half][c] *= unit.down;
            }
            if constexpr (F::MINIMA)
#pragma unroll
                for (int c = 0; c < CHAINS; c++)
                    minima[c][half] = half2_bits(minimum[half][2 * c], minimum[half][2 * c + 1]);
        }
        if constexpr (F::ROW) {
            float d[2], m[2];
#pragma unroll
            for (int half = 0; half < 2; half++) F::scales::row(regs, half, d[half], m[half]);
            factors[0] = half2_bits(d[0], d[1]), factors[1] = half2_bits(m[0], m[1]);
        }
#pragma unroll
        for (int c = 0; c < F::GROUPS; c++) {
            const float inverse = 1.0f / (float)F::scale_of(2 * t + c / CHAINS);
            scales[c] = half2_bits(scale[0][c] * inverse, scale[1][c] * inverse);
        }
    }

    // Scales of blocks 2j and 2j + 1, for every lane of a row.
    __device__ __forceinline__ void of_pair(i32 j, i32 lane, u32 (&s)[F::GROUPS]) const {
#pragma unroll
        for (int c = 0; c < F::GROUPS; c++) s[c] = __shfl_sync(FULL_MASK, scales[c], (lane & ~3) + j);
    }
};

// One panel's tile as the tensor cores take it.
template <class F> struct half_tile : tile_factors<F> {
    static constexpr int CHAINS = F::GROUPS / 2;
    u32 a[tiles::TILE_BLOCKS][2][4];

    __device__ __forceinline__ void load(const char *tile, i32 lane) {
        tile_factors<F>::load(tile, lane);
#pragma unroll
        for (int j = 0; j < tiles::TILE_BLOCKS / 2; j++) {
            u32 s[F::GROUPS];
            this->of_pair(j, lane, s);
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const int b = 2 * j + e;
                u32 v[4];
                F::words(tile, lane, b, v);
                const __half2 zero =
                    __float2half2_rn((F::SIGNED ? 1152.0f : 1024.0f) + (float)(F::OFFSET * F::scale_of(b)));
#pragma unroll
                for (int half = 0; half < 2; half++)
#pragma unroll
                    for (int w = 0; w < 2; w++) {
                        const __half2 factor = twice(s[e * CHAINS + (CHAINS == 2 ? w : 0)], half);
#pragma unroll
                        for (int odd = 0; odd < 2; odd++) {
                            const __half2 q = bytes_above_1024<F::SIGNED>(v[2 * w + half], odd);
                            const __half2 value = F::FUSED ? __hfma2(q, factor, __hneg2(__hmul2_rn(zero, factor)))
                                                           : __hmul2_rn(__hsub2_rn(q, zero), factor);
                            a[b][w][2 * odd + half] = bits_of(value);
                        }
                    }
            }
        }
    }
};

// 256 elements of eight columns, from where a lane reads its column g.
struct column_source {
    const char *q, *records;

    __device__ __forceinline__ column_source(const x_columns &x, i32 column, i32 index, i32 lane) {
        const char *row = x.row(column + (lane >> 2));
        q = row + (i64)index * tiles::TILE_K;
        records = row + x.k + (i64)index * (8 * tiles::TILE_BLOCKS) + 16 * (lane & 3);
    }
    // Of blocks 2t and 2t + 1.
    __device__ __forceinline__ uint4 record() const { return *reinterpret_cast<const uint4 *>(records); }
};

// What the records of eight columns come to.
template <class F> struct column_scales {
    static constexpr int CHAINS = F::GROUPS / 2;
    // Sums of x are taken in units of this: at most 4064 x 256 of them are to be an f16.
    static constexpr float SHARE = 64.0f;

    u32 scales;                     // of column g, blocks 2t and 2t + 1
    float up[2];                    // the units of columns 2t and 2t + 1
    u32 high[CHAINS], low[CHAINS];  // scaled sums of x as two f16 each, the second what the first leaves

    __device__ __forceinline__ void set(const uint4 &record, i32 lane) {
        const float d[2] = {__uint_as_float(record.x), __uint_as_float(record.z)};
        const byte_unit unit(quad_max(max(magnitude_bits(d[0]), magnitude_bits(d[1]))));
        const float s[2] = {d[0] * unit.down, d[1] * unit.down};
        scales = half2_bits(s[0], s[1]);
#pragma unroll
        for (int i = 0; i < 2; i++) up[i] = __shfl_sync(FULL_MASK, unit.up, (lane & 3) * 8 + 4 * i);
        if constexpr (F::MINIMA) {
            const x_fragment sums{{0, 0}, record};
#pragma unroll
            for (int n = 0; n < CHAINS; n++) {
                float v[2];
#pragma unroll
                for (int i = 0; i < 2; i++)
                    v[i] = CHAINS == 1 ? s[i] * (1 / SHARE) * (float)sums.sum(i)
                                       : s[n] * (1 / SHARE) * (float)sums.half_sum(n, i);
                const __half2 h = __floats2half2_rn(v[0], v[1]);
                high[n] = bits_of(h);
                low[n] = half2_bits(v[0] - __low2float(h), v[1] - __high2float(h));
            }
        }
    }
};

// sums of row g + 8 half += v * factor
__device__ __forceinline__ void add_pair(float4 &sums, i32 half, float v0, float v1, float factor) {
    float &s0 = half ? sums.z : sums.x, &s1 = half ? sums.w : sums.y;
    s0 = fmaf(v0, factor, s0), s1 = fmaf(v1, factor, s1);
}

// Adds one tile of R panels times eight columns, whose quants are `q`. Leaves there those of the `next` columns: each is
// loaded when its register is free, long before it is needed.
template <class F, int R>
__device__ __forceinline__ void int8_columns_product(const half_tile<F> (&w)[R], u32 (&q)[tiles::TILE_BLOCKS][2],
                                                     const column_scales<F> &x, const column_source &next, i32 lane,
                                                     float4 (&acc)[R]) {
    constexpr int CHAINS = F::GROUPS / 2;
    float c[R][4] = {};
#pragma unroll
    for (int j = 0; j < tiles::TILE_BLOCKS / 2; j++) {
        const u32 s = __shfl_sync(FULL_MASK, x.scales, (lane & ~3) + j);
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int b = 2 * j + e;
            const __half2 factor = twice(s, e), zero = __float2half2_rn(1152.0f);
            u32 v[2][2];
#pragma unroll
            for (int word = 0; word < 2; word++)
#pragma unroll
                for (int odd = 0; odd < 2; odd++)
                    v[word][odd] =
                        bits_of(__hmul2_rn(__hsub2_rn(bytes_above_1024<true>(q[b][word], odd), zero), factor));
            x_words<F>(next.q + 32 * b, lane & 3, q[b]);
#pragma unroll
            for (int word = 0; word < 2; word++)
#pragma unroll
                for (int r = 0; r < R; r++) mma_16x8x16<F16>(c[r], w[r].a[b][word], v[word][0], v[word][1]);
        }
    }
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            add_pair(acc[r], half, c[r][2 * half] * x.up[0], c[r][2 * half + 1] * x.up[1], w[r].row(half));
    if constexpr (F::MINIMA) {
#pragma unroll
        for (int r = 0; r < R; r++) {
            float m[4] = {};
#pragma unroll
            for (int n = 0; n < CHAINS; n++) {
                const u32 a[4] = {w[r].minima[n][0], w[r].minima[n][1], w[r].minima[n][0], w[r].minima[n][1]};
                mma_16x8x16<F16>(m, a, x.high[n], x.low[n]);
            }
#pragma unroll
            for (int half = 0; half < 2; half++)
                add_pair(acc[r], half, m[2 * half] * x.up[0], m[2 * half + 1] * x.up[1],
                         -column_scales<F>::SHARE * w[r].less(half));
        }
    }
}

template <class F, int R, int NB, int S, class Wait>
__device__ __forceinline__ void int8_columns_packed(const char *const (&panel)[R], const x_columns &x, i32 split,
                                                    i32 splits, char *shared, i32 lane, Wait &work,
                                                    const column_sums<R, NB> &acc) {
    const tile_ring<F, R, S> ring{shared, lane};
    const i32 tiles = x.k / tiles::TILE_K, count = (tiles - split + splits - 1) / splits;
#pragma unroll
    for (int s = 0; s < S - 1; s++) {
        if (s < count) ring.fill(s, panel, split + s * splits);
        cp_async_commit();
    }
    work.wait();
    u32 q[tiles::TILE_BLOCKS][2];
    column_scales<F> scales;
    if (count > 0) {
        const column_source first(x, 0, split, lane);
#pragma unroll
        for (int b = 0; b < tiles::TILE_BLOCKS; b++) x_words<F>(first.q + 32 * b, lane & 3, q[b]);
        scales.set(first.record(), lane);
    }
    i32 stage = 0;
    for (i32 i = 0; i < count; i++) {
        cp_async_wait<S - 2>();
        __syncwarp();
        const i32 ahead = i + S - 1;
        if (ahead < count) ring.fill(stage == 0 ? S - 1 : stage - 1, panel, split + ahead * splits);
        cp_async_commit();
        half_tile<F> w[R];
#pragma unroll
        for (int r = 0; r < R; r++) w[r].load(ring.tile(stage, r), lane);
#pragma unroll 1
        for (i32 nb = 0; nb < NB; nb++) {
            // The last tile's are loaded once more: a branch would cost more.
            const i32 index = split + min(nb + 1 < NB ? i : i + 1, count - 1) * splits;
            const column_source next(x, nb + 1 < NB ? 8 * (nb + 1) : 0, index, lane);
            const uint4 record = next.record();
            float4 sums[R];
#pragma unroll
            for (int r = 0; r < R; r++) sums[r] = acc.at(r, nb);
            int8_columns_product<F, R>(w, q, scales, next, lane, sums);
            scales.set(record, lane);
#pragma unroll
            for (int r = 0; r < R; r++) acc.at(r, nb) = sums[r];
        }
        __syncwarp();
        stage = stage + 1 == S ? 0 : stage + 1;
    }
}

}  // namespace reflex
