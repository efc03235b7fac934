// Matrix times matrix: a block makes BM rows by 64 outputs, 32 of k at a time.
//
// Both tiles lie in shared memory as 32-bit words, k innermost: 32 words a row, in eight 16-byte parts of which part p of
// row r lies at p ^ (r % 8), so that neither the stores nor the fragment loads of a warp meet in a bank. Weights are expanded
// exactly and both sides rounded to TF32, which keeps the range of f32; accumulation is f32. While one pair of tiles is
// multiplied, the bytes of the next are in flight to registers. Each warp makes MT x 16 rows by 32 outputs.
// Before SM 8.0 there is no TF32: the same tiles, unrounded, are multiplied with scalar fused multiply-adds.
//
// Bound by the tensor cores' TF32 rate for many rows, by the expansion of the weights for few.
#pragma once

#include "common/tf32.cuh"
#include "matmul/args.cuh"

namespace reflex {

constexpr i32 TILE_N = MATMUL_TILE_OUTPUTS, TILE_K = 32;

template <class F, int WARPS_M, int MT> struct matmul_tile {
    static constexpr i32 BM = WARPS_M * MT * 16, THREADS = WARPS_M * 2 * WARP;
    static constexpr i32 X_PIECES = BM * TILE_K / 8 / THREADS, W_PIECES = TILE_N * TILE_K / 8 / THREADS;

    struct alignas(16) shared {
        u32 x[2][BM * TILE_K];
        u32 w[2][TILE_N * TILE_K];
    };

    // Eight elements of x as they lie in memory: eight words of f32, else four.
    struct x_piece {
        u32 q[8];
    };

    const matmul_args &a;
    const i32 first_row, first_output;
    x_piece x[X_PIECES];
    typename F::piece w[W_PIECES];

    static __device__ __forceinline__ u32 *part(u32 *tile, i32 row, i32 p) {
        return tile + row * TILE_K + ((p ^ (row & 7)) << 2);
    }

    static __device__ __forceinline__ u32 operand(float v) {
#if __CUDA_ARCH__ >= 800
        return to_tf32(v);
#else
        return __float_as_uint(v);
#endif
    }

    __device__ __forceinline__ void load(i32 k0) {
#pragma unroll
        for (int s = 0; s < X_PIECES; s++) {
            const i32 at = threadIdx.x + s * THREADS, row = first_row + at / 4, i = k0 + at % 4 * 8;
            const char *from = matmul_x(a, row);
            const bool inside = row < a.rows;
            const bool wide = a.x_type == F32;
            if (a.x_vec) {
                const uint4 *p = reinterpret_cast<const uint4 *>(from + (i64)i * element_bytes(a.x_type));
                uint4 v = make_uint4(0, 0, 0, 0), u = v;
                if (inside && i < a.k) v = p[0];
                if (inside && i < a.k && wide) u = p[1];
                x[s] = {v.x, v.y, v.z, v.w, u.x, u.y, u.z, u.w};
            } else if (wide) {
#pragma unroll
                for (int e = 0; e < 8; e++)
                    x[s].q[e] = inside && i + e < a.k ? reinterpret_cast<const u32 *>(from)[i + e] : 0;
            } else {
                const u16 *p = reinterpret_cast<const u16 *>(from) + i;
#pragma unroll
                for (int e = 0; e < 8; e += 2) {
                    const u32 low = inside && i + e < a.k ? p[e] : 0, high = inside && i + e + 1 < a.k ? p[e + 1] : 0;
                    x[s].q[e / 2] = low | high << 16;
                }
            }
        }
#pragma unroll
        for (int s = 0; s < W_PIECES; s++) {
            const i32 at = threadIdx.x + s * THREADS, o = first_output + at / 4, i = k0 + at % 4 * 8;
            if (o < a.n && i < a.k) w[s] = F::load8(matmul_weight(a, o), i, a.k, a.weight_vec);
        }
    }

    static __device__ __forceinline__ void put(u32 *tile, i32 at, const float (&v)[8]) {
        const i32 row = at / 4, p = at % 4 * 2;
        *reinterpret_cast<uint4 *>(part(tile, row, p)) =
            make_uint4(operand(v[0]), operand(v[1]), operand(v[2]), operand(v[3]));
        *reinterpret_cast<uint4 *>(part(tile, row, p + 1)) =
            make_uint4(operand(v[4]), operand(v[5]), operand(v[6]), operand(v[7]));
    }

    __device__ __forceinline__ void store(shared &tiles, i32 buffer, i32 k0) const {
#pragma unroll
        for (int s = 0; s < X_PIECES; s++) {
            float v[8];
            if (a.x_type == F32) {
#pragma unroll
                for (int e = 0; e < 8; e++) v[e] = __uint_as_float(x[s].q[e]);
            } else {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const float2 f = unpack2(x[s].q[e], a.x_type);
                    v[2 * e] = f.x, v[2 * e + 1] = f.y;
                }
            }
            put(tiles.x[buffer], threadIdx.x + s * THREADS, v);
        }
#pragma unroll
        for (int s = 0; s < W_PIECES; s++) {
            const i32 at = threadIdx.x + s * THREADS, i = k0 + at % 4 * 8;
            float v[8];
            F::exact8(w[s], i, v);
            // What was not loaded must not become a NaN: 0 * NaN is one.
            if (first_output + at / 4 >= a.n || i >= a.k) {
#pragma unroll
                for (int e = 0; e < 8; e++) v[e] = 0.0f;
            }
            put(tiles.w[buffer], at, v);
        }
    }

    // sum[m][j] is the fragment `d` of mma_tf32 for rows 16 m.. and outputs 8 j.. of this warp's part.
    static __device__ __forceinline__ void multiply(shared &tiles, i32 buffer, float (&sum)[MT][4][4]) {
        const i32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
        const i32 row0 = warp / 2 * MT * 16, output0 = warp % 2 * 32;
        u32 *xs = tiles.x[buffer], *ws = tiles.w[buffer];
#if __CUDA_ARCH__ >= 800
        const i32 matrix = lane / 8, r = lane % 8;
#pragma unroll
        for (int kk = 0; kk < TILE_K / 8; kk++) {
            u32 b[4][2];
#pragma unroll
            for (int j = 0; j < 4; j += 2)
                load_matrices(part(ws, output0 + (j + matrix / 2) * 8 + r, kk * 2 + matrix % 2), b[j][0], b[j][1],
                              b[j + 1][0], b[j + 1][1]);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                u32 f[4];
                load_matrices(part(xs, row0 + m * 16 + matrix % 2 * 8 + r, kk * 2 + matrix / 2), f[0], f[1], f[2],
                              f[3]);
#pragma unroll
                for (int j = 0; j < 4; j++) mma_tf32(sum[m][j], f, b[j][0], b[j][1]);
            }
        }
#else
        const i32 g = lane / 4, t = lane % 4;
#pragma unroll 1
        for (int p = 0; p < TILE_K / 4; p++) {
            float4 w[4][2];
#pragma unroll
            for (int j = 0; j < 4; j++)
#pragma unroll
                for (int h = 0; h < 2; h++)
                    w[j][h] = *reinterpret_cast<float4 *>(part(ws, output0 + j * 8 + 2 * t + h, p));
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    const float4 v = *reinterpret_cast<float4 *>(part(xs, row0 + m * 16 + h * 8 + g, p));
#pragma unroll
                    for (int j = 0; j < 4; j++)
#pragma unroll
                        for (int q = 0; q < 2; q++) {
                            float &d = sum[m][j][h * 2 + q];
                            d = fmaf(v.x, w[j][q].x, d), d = fmaf(v.y, w[j][q].y, d);
                            d = fmaf(v.z, w[j][q].z, d), d = fmaf(v.w, w[j][q].w, d);
                        }
                }
        }
#endif
    }

    static __device__ __forceinline__ void run(const matmul_args &a) {
        __shared__ shared tiles;
        // Blocks that read the same weights are neighbours: the second finds them in L2.
        matmul_tile tile{a, (i32)(blockIdx.x % (u32)a.row_groups) * BM, (i32)(blockIdx.x / (u32)a.row_groups) * TILE_N};
        float sum[MT][4][4] = {};

        if (a.k > 0) {
            tile.load(0);
            tile.store(tiles, 0, 0);
        }
        __syncthreads();
        i32 buffer = 0;
        for (i32 k0 = 0; k0 < a.k; k0 += TILE_K, buffer ^= 1) {
            const i32 next = k0 + TILE_K;
            if (next < a.k) tile.load(next);
            multiply(tiles, buffer, sum);
            if (next < a.k) tile.store(tiles, buffer ^ 1, next);
            __syncthreads();
        }

        const i32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int j = 0; j < 4; j++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const i32 row = tile.first_row + (warp / 2 * MT + m) * 16 + e / 2 * 8 + lane / 4;
                    const i32 o = tile.first_output + warp % 2 * 32 + j * 8 + lane % 4 * 2 + e % 2;
                    if (row < a.rows && o < a.n) matmul_store(a, row, o, sum[m][j][e]);
                }
    }
};

}  // namespace reflex
