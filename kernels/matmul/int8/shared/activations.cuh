// x in shared memory, as the f16 tensor cores take it: the warps of a group copy a tile of it (256 elements of NB x 8 columns)
// as it lies in memory and convert it together, once for all of their panels, while they multiply the tile before.
//
// A column of a tile as it was: 256 bytes of quants, eight records, and 16 bytes of nothing, so that eight columns' words lie
// in different banks. Converted: of each block and each eight columns 512 bytes, four 8 x 8 matrices for ldmatrix, whose rows
// are columns of x: the even and the odd elements of the words that meet a[0] a[1], then of those that meet a[2] a[3]. Behind
// them the units of the columns, and for the minima sums of x as two f16 each, the second what the first leaves.
//
// A block's elements become u 2^-24 F - 2^-17 F, where u is the quant + 128, whose byte is that f16 as it is, and F the block's
// scale in units of a power of two that its column has for the tile: one fused multiply-add, rounded once.
#pragma once

#include "matmul/int8/columns.cuh"

namespace reflex {

template <class F, int NB> struct x_tile {
    static constexpr i32 COLUMNS = NB * 8, ROW = tiles::TILE_K + 8 * tiles::TILE_BLOCKS + 16, RAW = COLUMNS * ROW;
    static constexpr i32 FRAGMENTS = NB * 4096, UP = NB * 32, CHAINS = F::GROUPS / 2, SUMS = NB * 256;
    // Of any format.
    static constexpr i32 BYTES = FRAGMENTS + UP + 2 * SUMS;
    // Sums of x are taken in units of this: at most 4064 x 2^15 of them are to be an f16.
    static constexpr float SHARE = 8192.0f;

    // Starts the copies of warp `warp` of a group: eight columns at a time, four lanes to each.
    static __device__ __forceinline__ void fill(const x_columns &x, i32 tile, char *raw, i32 warp, i32 warps,
                                                i32 lane) {
        const i32 word = (lane & 3) * 16;
#pragma unroll 1
        for (i32 nb = warp; nb < NB; nb += warps) {
            const i32 column = nb * 8 + (lane >> 2);
            const char *const row = x.row(column), *const q = row + (i64)tile * tiles::TILE_K + word;
            char *const to = raw + column * ROW + word;
#pragma unroll
            for (int i = 0; i < 4; i++) cp_async16(to + 64 * i, q + 64 * i, true);
            cp_async16(to + tiles::TILE_K, row + x.k + (i64)tile * (8 * tiles::TILE_BLOCKS) + word, true);
        }
    }

    // Share of warp `warp` of a group: pieces of eight columns and four blocks, one of either a lane.
    static __device__ __forceinline__ void convert(const char *raw, char *to, i32 warp, i32 warps, i32 lane) {
        const i32 c = lane & 7, e = lane >> 3;
#pragma unroll 1
        for (i32 piece = warp; piece < 2 * NB; piece += warps) {
            const i32 nb = piece >> 1, b = (piece & 1) * 4 + e;
            const char *const row = raw + (nb * 8 + c) * ROW;
            const uint4 q[2] = {reinterpret_cast<const uint4 *>(row + 32 * b)[0],
                                reinterpret_cast<const uint4 *>(row + 32 * b)[1]};
            const uint2 *const records = reinterpret_cast<const uint2 *>(row + tiles::TILE_K);
            const uint2 record = records[b];
            u32 largest = max(record.x & 0x7fffffffu, records[b ^ 4].x & 0x7fffffffu);
            largest = max(largest, __shfl_xor_sync(FULL_MASK, largest, 8));
            largest = max(largest, __shfl_xor_sync(FULL_MASK, largest, 16));
            const unit_of<14, 16> unit(largest);
            const float scale = __uint_as_float(record.x) * unit.down;
            const __half2 factor = __float2half2_rn(scale), less = __float2half2_rn(scale * (-1.0f / 131072.0f));
            const u32 words[8] = {q[0].x, q[0].y, q[0].z, q[0].w, q[1].x, q[1].y, q[1].z, q[1].w};
            char *const matrices = to + (b * NB + nb) * 512 + c * 16;
#pragma unroll
            for (int w = 0; w < 2; w++) {
                u32 v[2][4];
#pragma unroll
                for (int t = 0; t < 4; t++) {
                    const u32 u = words[F::GROUP == 32 ? 2 * t + w : 4 * w + t] ^ 0x80808080u;
                    v[0][t] = bits_of(__hfma2(half2_of(u & 0x00ff00ffu), factor, less));
                    v[1][t] = bits_of(__hfma2(half2_of(__byte_perm(u, 0, 0x4341)), factor, less));
                }
#pragma unroll
                for (int odd = 0; odd < 2; odd++)
                    *reinterpret_cast<uint4 *>(matrices + (2 * w + odd) * 128) =
                        make_uint4(v[odd][0], v[odd][1], v[odd][2], v[odd][3]);
            }
            char *const data = to + FRAGMENTS;
            if (b == 0) reinterpret_cast<float *>(data)[nb * 8 + c] = unit.up;
            if constexpr (F::MINIMA) {
                const i32 first = (i32)(record.y << 16) >> 16, second = (i32)record.y >> 16;
                const float share = scale * (1 / SHARE);
                // Lane 4 c + b / 2 reads its column's two blocks.
                char *const place = data + UP + (nb * 32 + c * 4 + (b >> 1)) * 8 * CHAINS;
                if constexpr (CHAINS == 1) {
                    const float v = share * (float)(first + second);
                    const __half high = __float2half_rn(v);
                    reinterpret_cast<__half *>(place)[b & 1] = high;
                    reinterpret_cast<__half *>(place)[2 + (b & 1)] = __float2half_rn(v - __half2float(high));
                } else {
                    const float v0 = share * (float)first, v1 = share * (float)second;
                    const __half2 high = __floats2half2_rn(v0, v1);
                    reinterpret_cast<uint2 *>(place)[b & 1] =
                        make_uint2(bits_of(high), half2_bits(v0 - __low2float(high), v1 - __high2float(high)));
                }
            }
        }
    }
};

// What a warp reads of a converted tile.
template <class F, int NB> struct x_reader {
    using tile = x_tile<F, NB>;
    const char *from;
    i32 lane;

    // Of eight columns and a block: what meets even and odd elements of word w.
    __device__ __forceinline__ void get(i32 nb, i32 block, u32 (&v)[2][2]) const {
        load_matrices(from + (block * NB + nb) * 512 + lane * 16, v[0][0], v[0][1], v[1][0], v[1][1]);
    }
    // The units of columns 2t and 2t + 1.
    __device__ __forceinline__ float2 up(i32 nb) const {
        return reinterpret_cast<const float2 *>(from + tile::FRAGMENTS)[nb * 4 + (lane & 3)];
    }
    // Sums of x over blocks (chain 0), or over the halves of block 2t + chain.
    __device__ __forceinline__ uint2 sums(i32 nb, i32 chain) const {
        return reinterpret_cast<const uint2 *>(from + tile::FRAGMENTS +
                                               tile::UP)[(nb * 32 + lane) * tile::CHAINS + chain];
    }
};

}  // namespace reflex
