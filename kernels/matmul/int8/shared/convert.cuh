// Rows of ACT_I8 made into tiles of f16 (activations.cuh), once for all blocks of the product that follows.
//
// A block's elements become u 2^-24 F - 2^-17 F, where u is the quant + 128, whose byte is that f16 as it is, and F the block's
// scale in units of a power of two that its column has for the tile: one fused multiply-add, rounded once.
//
// A thread block makes eight columns of a tile; a lane takes a block of 32 elements. Bound by latency.
#pragma once

#include "common/launch.cuh"
#include "matmul/int8/shared/activations.cuh"

namespace reflex {

struct int8_convert_args {
    const void *x;  // ACT_I8
    i64 x_stride;
    void *tiles[2];  // [rows / (columns * 8)][k / 256] of them, for formats that scale 32 elements and 16, or NULL
    i32 rows, k, columns;  // eights of columns of a tile
};
REFLEX_ARGS_LAYOUT(int8_convert_args, 48, columns, 40);

// Block b of row c of eight, of columns nb x 8.. of a tile at `to`.
template <i32 GROUP>
__device__ __forceinline__ void int8_convert_block(const uint4 (&q)[2], uint2 record, u32 largest, char *to,
                                                   i32 columns, i32 nb, i32 c, i32 b) {
    using layout = x_layout<GROUP>;
    const unit_of<14, 16> unit(largest);
    const float scale = __uint_as_float(record.x) * unit.down;
    const __half2 factor = __float2half2_rn(scale), less = __float2half2_rn(scale * (-1.0f / 131072.0f));
    const u32 words[8] = {q[0].x, q[0].y, q[0].z, q[0].w, q[1].x, q[1].y, q[1].z, q[1].w};
    char *const matrices = to + (b * columns + nb) * 512 + c * 16;
#pragma unroll
    for (int w = 0; w < 2; w++) {
        u32 v[2][4];
#pragma unroll
        for (int t = 0; t < 4; t++) {
            const u32 u = words[GROUP == 32 ? 2 * t + w : 4 * w + t] ^ 0x80808080u;
            v[0][t] = bits_of(__hfma2(half2_of(u & 0x00ff00ffu), factor, less));
            v[1][t] = bits_of(__hfma2(half2_of(__byte_perm(u, 0, 0x4341)), factor, less));
        }
#pragma unroll
        for (int odd = 0; odd < 2; odd++)
            *reinterpret_cast<uint4 *>(matrices + (2 * w + odd) * 128) =
                make_uint4(v[odd][0], v[odd][1], v[odd][2], v[odd][3]);
    }
    char *const units = to + columns * layout::FRAGMENTS, *const sums = units + columns * layout::UP;
    if (b == 0) reinterpret_cast<float *>(units)[nb * 8 + c] = unit.up;
    const i32 first = (i32)(record.y << 16) >> 16, second = (i32)record.y >> 16;
    const float share = scale * (1 / layout::SHARE);
    char *const place = sums + nb * layout::SUMS + c * 16;
    if constexpr (layout::CHAINS == 1) {
        const float v = share * (float)(first + second);
        const __half high = __float2half_rn(v);
        reinterpret_cast<__half *>(place)[b] = high;
        reinterpret_cast<__half *>(place)[64 + b] = __float2half_rn(v - __half2float(high));
    } else {
        const float v0 = share * (float)first, v1 = share * (float)second;
        const __half2 high = __floats2half2_rn(v0, v1);
        u32 *const words_of_sums = reinterpret_cast<u32 *>(place + (b & 1) * 256) + (b >> 1);
        words_of_sums[0] = bits_of(high);
        words_of_sums[32] = half2_bits(v0 - __low2float(high), v1 - __high2float(high));
    }
}

// Threads: 8 columns x 8 blocks.
__device__ __forceinline__ void int8_convert(const int8_convert_args &a) {
    __shared__ u32 scales[8][8];
    const i32 tile = blockIdx.x, nb = blockIdx.y % (u32)a.columns, group = blockIdx.y / (u32)a.columns;
    const i32 c = threadIdx.x & 7, b = threadIdx.x >> 3;
    // Rows past the last one read the last one, and nobody stores what comes of them.
    const char *const row =
        static_cast<const char *>(a.x) + min((group * a.columns + nb) * 8 + c, a.rows - 1) * a.x_stride;
    pdl_begin();
    const uint4 *const quants = reinterpret_cast<const uint4 *>(row + (i64)tile * tiles::TILE_K + 32 * b);
    const uint4 q[2] = {quants[0], quants[1]};
    const uint2 record = *reinterpret_cast<const uint2 *>(row + a.k + (i64)tile * (8 * tiles::TILE_BLOCKS) + 8 * b);
    scales[b][c] = record.x & 0x7fffffffu;
    __syncthreads();
    u32 largest = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) largest = max(largest, scales[i][c]);
    const i64 index = (i64)group * (a.k / tiles::TILE_K) + tile;
    if (a.tiles[0])
        int8_convert_block<32>(q, record, largest,
                               static_cast<char *>(a.tiles[0]) + index * (a.columns * x_layout<32>::BYTES), a.columns,
                               nb, c, b);
    if (a.tiles[1])
        int8_convert_block<16>(q, record, largest,
                               static_cast<char *>(a.tiles[1]) + index * (a.columns * x_layout<16>::BYTES), a.columns,
                               nb, c, b);
}

}  // namespace reflex
