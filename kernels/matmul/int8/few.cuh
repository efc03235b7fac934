// Up to sixteen rows of x times complete packed panels, in integers: a decode step of a few sequences, or a few drafted tokens.
//
// As narrow.cuh, with what eight columns of a product are for: a block of 32 elements of a panel meets that of eight rows of x.
// Each sum is multiplied with the weights' scale and then with x's, in f32, and there are four of them to a lane and block: no more
// work than to make factors of f16, and x needs no work at all. A warp has two panels and what it multiplies them with in its
// own ring: nothing waits for another warp, from the first copy to the last sum.
//
// Sums start at 1.5 * 2^23 (vector.cuh); times a scale of at most eleven bits, that is exact, and so is the difference. Minima times
// the sums of x are products in TF32, with those sums in two parts.
//
// Bound by the time that copies take, and by instructions: of a panel's tile of Q4_K 236 for eight rows, 345 for sixteen.
//
// Limits: SM 8.0; k a multiple of 256; each part's n a multiple of what a block makes of it.
#pragma once

#include "common/launch.cuh"
#include "common/tf32.cuh"
#include "matmul/int8/columns.cuh"
#include "matmul/int8/epilogue.cuh"
#include "matmul/int8/formats.cuh"

namespace reflex {

// Of kernels of eight and of sixteen rows.
#if __CUDA_ARCH__ >= 1000
template <int NB> constexpr i32 INT8_FEW_REGISTERS = NB == 1 ? 160 : 248;
#else
template <int NB> constexpr i32 INT8_FEW_REGISTERS = NB == 1 ? 136 : 184;
#endif

// 256 elements of NB x 8 rows of x, as they lie in memory: a row's quants, its records, and 32 bytes of nothing, so that eight rows' words
// lie in different banks.
template <int NB> struct few_x {
    static constexpr i32 RECORDS = tiles::TILE_K, ROW = INT8_FEW_X_ROW, BYTES = NB * 8 * ROW;
    const char *at;

    __device__ __forceinline__ const char *block(i32 row, i32 b) const { return at + row * ROW + 32 * b; }
    // Of blocks 2j and 2j + 1.
    __device__ __forceinline__ uint4 records(i32 row, i32 j) const {
        return *reinterpret_cast<const uint4 *>(at + row * ROW + RECORDS + 16 * j);
    }
};

// Copies of x beside those of the weights. Rows that are not there are not copied: their sums are not stored.
template <int NB, i32 STAGE_BYTES> struct few_x_stream {
    const char *quants[NB], *records[NB];
    u32 to;
    i32 splits, rows;  // that are there, from this lane's on

    __device__ __forceinline__ few_x_stream(const x_columns &x, u32 shared, i32 split, i32 splits, i32 lane)
        : to(shared + (lane >> 2) * few_x<NB>::ROW + (lane & 3) * 16), splits(splits), rows(x.last + 1 - (lane >> 2)) {
#pragma unroll
        for (int nb = 0; nb < NB; nb++) {
            const char *const row = x.row(nb * 8 + (lane >> 2)) + (lane & 3) * 16;
            quants[nb] = row + (i64)split * tiles::TILE_K;
            records[nb] = row + x.k + (i64)split * (8 * tiles::TILE_BLOCKS);
        }
    }
    template <int EIGHT, int I = 0> __device__ __forceinline__ void copy(u32 stage, bool there) const {
        if constexpr (I < 4) {
            cp_async16_if<EIGHT * 8 * few_x<NB>::ROW + 64 * I, 64 * I, false>(stage, quants[EIGHT],
                                                                              there && EIGHT * 8 < rows);
            copy<EIGHT, I + 1>(stage, there);
        } else {
            cp_async16_if<EIGHT * 8 * few_x<NB>::ROW + few_x<NB>::RECORDS, 0, false>(stage, records[EIGHT],
                                                                                     there && EIGHT * 8 < rows);
            if constexpr (EIGHT + 1 < NB) copy<EIGHT + 1>(stage, there);
        }
    }
    __device__ __forceinline__ void fill(i32 stage, bool there) {
        copy<0>(to + stage * STAGE_BYTES, there);
#pragma unroll
        for (int nb = 0; nb < NB; nb++) {
            quants[nb] += splits * tiles::TILE_K;
            records[nb] += splits * (8 * tiles::TILE_BLOCKS);
        }
    }
};

// What a warp's lanes exchange of a panel's scales: f32, divided by what the quants have too much.
template <class F> struct few_scales {
    static constexpr i32 CHAINS = F::GROUPS / 2, ROW = 4 * F::GROUPS, BYTES = int8_few_scale_bytes(F::GROUP);
    static_assert(BYTES == tiles::TILE_ROWS * ROW * 4, "rows of a panel");
    float *at;

    // Of blocks 2j and 2j + 1, of row g + 8 half.
    __device__ __forceinline__ void get(i32 g, i32 half, i32 j, float (&s)[F::GROUPS]) const {
        const float *const from = at + (g + 8 * half) * ROW + F::GROUPS * j;
        if constexpr (F::GROUPS == 2) {
            const float2 v = *reinterpret_cast<const float2 *>(from);
            s[0] = v.x, s[1] = v.y;
        } else {
            const float4 v = *reinterpret_cast<const float4 *>(from);
            s[0] = v.x, s[1] = v.y, s[2] = v.z, s[3] = v.w;
        }
    }
    // This lane's, and its minima.
    __device__ __forceinline__ void put(const typename F::scales::regs &regs, i32 lane,
                                        float (&minima)[2][F::GROUPS]) const {
        const i32 g = lane >> 2, t = lane & 3;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float s[F::GROUPS];
#pragma unroll
            for (int c = 0; c < F::GROUPS; c++) {
                F::scales::get(regs, half, c, s[c], minima[half][c]);
                s[c] *= 1.0f / (float)F::scale_of(2 * t + c / CHAINS);
            }
            float *const to = at + (g + 8 * half) * ROW + F::GROUPS * t;
            if constexpr (F::GROUPS == 2) *reinterpret_cast<float2 *>(to) = make_float2(s[0], s[1]);
            else *reinterpret_cast<float4 *>(to) = make_float4(s[0], s[1], s[2], s[3]);
        }
    }
};

template <int R, int NB> struct few_sums {
    float at[R][NB][4];
};

// What each of a block's sums starts at, of one row of x: `record` has blocks b and b + 1, of which it is the e-th.
template <class F> __device__ __forceinline__ i32 few_start(const uint4 &record, i32 e, i32 half, i32 times) {
    const x_fragment x{{0, 0}, record};
    if constexpr (F::SPLIT) return SUM_START - 255 * x.sum(e);
    else if constexpr (F::OFFSET == 0) return SUM_START;
    else if constexpr (F::GROUP == 32) return x.weighted(e, -F::OFFSET * times, -F::OFFSET * times, SUM_START);
    else return x.weighted(e, half ? 0 : -F::OFFSET * times, half ? -F::OFFSET * times : 0, SUM_START);
}

// The tile's minima times sums of x.
template <class F, int R, int NB>
__device__ __forceinline__ void few_minima(const few_x<NB> &x, const float (&minima)[R][2][F::GROUPS], i32 lane,
                                           float (&less)[R][NB][4]) {
    constexpr int CHAINS = F::GROUPS / 2;
#pragma unroll
    for (int nb = 0; nb < NB; nb++) {
        const x_fragment of{{0, 0}, x.records(nb * 8 + (lane >> 2), lane & 3)};
        u32 high[F::GROUPS], low[F::GROUPS];
#pragma unroll
        for (int c = 0; c < F::GROUPS; c++) {
            const float sum =
                CHAINS == 1 ? sum_value(of.weighted(c, 1, 1, SUM_START)) : (float)of.half_sum(c / 2, c & 1);
            const float v = of.scale(c / CHAINS) * sum;
            high[c] = __float_as_uint(v) & 0xffffe000u;
            low[c] = __float_as_uint(v - __uint_as_float(high[c]));
        }
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int n = 0; n < CHAINS; n++) {
                // In the order in which the lanes have them.
                u32 a[4];
#pragma unroll
                for (int i = 0; i < 4; i++) a[i] = __float_as_uint(minima[r][i & 1][2 * n + (i >> 1)]);
                mma_tf32(less[r][nb], a, high[2 * n], high[2 * n + 1]);
                mma_tf32(less[r][nb], a, low[2 * n], low[2 * n + 1]);
            }
    }
}

// Adds one tile.
template <class F, int R, int NB, class Tables>
__device__ __forceinline__ void few_tile(const char *const (&tile)[R], const few_x<NB> &x,
                                         const few_scales<F> (&scales)[R], const Tables &tables, i32 lane,
                                         few_sums<R, NB> &acc) {
    constexpr int CHAINS = F::GROUPS / 2;
    const i32 g = lane >> 2, t = lane & 3;
    float minima[R][2][F::GROUPS], row[R][2], row_minimum[R][2];
#pragma unroll
    for (int r = 0; r < R; r++) {
        const typename F::scales::regs regs = F::load_scales(tile[r], lane);
        scales[r].put(regs, lane, minima[r]);
        if constexpr (F::ROW)
#pragma unroll
            for (int half = 0; half < 2; half++) F::scales::row(regs, half, row[r][half], row_minimum[r][half]);
    }
    few_sums<R, NB> own = {};
    if constexpr (F::MINIMA) {
        float less[R][NB][4] = {};
        few_minima<F, R, NB>(x, minima, lane, less);
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int nb = 0; nb < NB; nb++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    acc.at[r][nb][i] = fmaf(F::ROW ? -row_minimum[r][i >> 1] : -1.0f, less[r][nb][i], acc.at[r][nb][i]);
    }
    __syncwarp();
    few_sums<R, NB> &to = F::ROW ? own : acc;
#pragma unroll
    for (int j = 0; j < tiles::TILE_BLOCKS / 2; j++) {
        uint4 record[NB][2];
        u32 q[2][NB][2];
#pragma unroll
        for (int nb = 0; nb < NB; nb++) {
#pragma unroll
            for (int e = 0; e < 2; e++) {
                record[nb][e] = x.records(nb * 8 + 2 * t + e, j);
                F::x_words(x.block(nb * 8 + g, 2 * j + e), t, q[e][nb]);
            }
        }
#pragma unroll
        for (int r = 0; r < R; r++) {
            float s[2][F::GROUPS];
#pragma unroll
            for (int half = 0; half < 2; half++) scales[r].get(g, half, j, s[half]);
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const int b = 2 * j + e, times = F::scale_of(b);
                u32 a[4], rest[4];
                if constexpr (F::SPLIT) tables.halves(tile[r], lane, b, a, rest);
                else F::words(tile[r], lane, b, a);
#pragma unroll
                for (int nb = 0; nb < NB; nb++)
#pragma unroll
                    for (int w = 0; w < CHAINS; w++) {
                        i32 c[4];
#pragma unroll
                        for (int i = 0; i < 4; i++) c[i] = few_start<F>(record[nb][i & 1], e, w, times);
                        if constexpr (CHAINS == 2) mma_16x8x16<F::SIGNED>(c, a[2 * w], a[2 * w + 1], q[e][nb][w]);
                        else if constexpr (F::SPLIT) {
                            mma_16x8x32<false>(c, a, q[e][nb][0], q[e][nb][1]);
                            mma_16x8x32<false>(c, rest, q[e][nb][0], q[e][nb][1]);
                        } else mma_16x8x32<F::SIGNED>(c, a, q[e][nb][0], q[e][nb][1]);
#pragma unroll
                        for (int i = 0; i < 4; i++) {
                            const float scale = s[i >> 1][CHAINS * e + w];
                            const uint4 &of = record[nb][i & 1];
                            const float v = fmaf(__int_as_float(c[i]), scale, -12582912.0f * scale);
                            to.at[r][nb][i] = fmaf(v, __uint_as_float(e ? of.z : of.x), to.at[r][nb][i]);
                        }
                    }
            }
        }
    }
    if constexpr (F::ROW)
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int nb = 0; nb < NB; nb++)
#pragma unroll
                for (int i = 0; i < 4; i++) acc.at[r][nb][i] = fmaf(row[r][i >> 1], own.at[r][nb][i], acc.at[r][nb][i]);
}

// What a thread does beside its warp's tiles.
struct int8_few {
    const int8_args &a;
    const int8_part &part;
    i32 first_output, count, first_row, rows;  // of the block
    bool one;                                  // output a thread, at most
    float *scales;
    int8_operands operands;

    __device__ __forceinline__ void wait() {
        if (a.prefetch) pdl_wait();
    }
    // While copies are in flight.
    __device__ __forceinline__ void waited() {
        if (a.x_squares) int8_row_scales(a, first_row, rows, scales);
        if (!one) return;
        const i32 o = threadIdx.x % count, row = threadIdx.x / count;
        operands.load(a, part, first_output + o, first_row + row, row < rows);
    }
};

// A warp's tiles split, split + splits, ...
template <int R, int NB> struct int8_few_tiles {
    int8_few &work;
    const char *const (&panel)[R];
    x_columns x;
    i32 split, splits;
    char *shared;
    i32 lane;
    few_sums<R, NB> &acc;

    template <class F> __device__ __forceinline__ void run() const {
        constexpr i32 S = INT8_FEW_STAGES;
        using ring_type = running_ring<F, R, S, few_x<NB>::BYTES>;
        constexpr i32 BESIDE = ring_type::whole::STAGE_BYTES, STAGE_BYTES = ring_type::STAGE_BYTES;
        ring_type ring(shared, panel, split, splits, lane);
        few_x_stream<NB, STAGE_BYTES> stream(x, ring.shared + BESIDE, split, splits, lane);
        const tables_of<F, const char *> tables(x.k >> 31 & lane);
        few_scales<F> scales[R];
#pragma unroll
        for (int r = 0; r < R; r++)
            scales[r].at = reinterpret_cast<float *>(shared + S * STAGE_BYTES + r * few_scales<F>::BYTES);
        const i32 count = (x.k / tiles::TILE_K - split + splits - 1) / splits;
#pragma unroll
        for (int s = 0; s < S; s++) ring.fill(s, s < count);
        work.wait();
#pragma unroll
        for (int s = 0; s < S; s++) {
            stream.fill(s, s < count);
            cp_async_commit();
        }
        work.waited();
        i32 stage = 0;
        for (i32 left = count; left > 0; left--) {
            cp_async_wait<S - 1>();
            __syncwarp();
            const char *tile[R];
#pragma unroll
            for (int r = 0; r < R; r++) tile[r] = ring.tile(stage, r, 0);
            few_tile<F, R, NB>(tile, few_x<NB>{tile[0] + BESIDE}, scales, tables, lane, acc);
            __syncwarp();
            ring.fill(stage, left > S);
            stream.fill(stage, left > S);
            cp_async_commit();
            stage = stage + 1 == S ? 0 : stage + 1;
        }
    }
};

template <int NB, class Formats> __device__ __forceinline__ void int8_few_product(const int8_args &a, Formats) {
#if __CUDA_ARCH__ >= 800
    constexpr i32 R = INT8_FEW_PANELS;
    extern __shared__ __align__(128) char shared[];
    __shared__ float scales[NB * 8];
    static_assert(sizeof(scales) <= INT8_STATIC_SHARED, "");
    pdl_launch_dependents();
    const i32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, block = blockIdx.x;
    const int8_part &part = a.part[int8_part_index(a, block)];
    const i32 share = a.gate ? a.panels / 2 : a.panels, in_block = a.panels / R;
    i32 split = warp / in_block, slot = (warp - split * in_block) * R;
    int8_place place{};
    if constexpr (INT8_TIGHT) place = int8_place(split, slot);
    const i32 first = (block - part.first_block) * share * tiles::TILE_ROWS;
    const char *panel[R];
    u32 type = 0;
#pragma unroll
    for (int r = 0; r < R; r++) {
        const bool second = a.gate && slot + r >= share;
        const int8_part &own = second ? a.part[1] : part;
        panel[r] = static_cast<const char *>(own.weight) +
                   (i64)(first + (slot + r - (second ? share : 0)) * tiles::TILE_ROWS) * own.weight_stride;
        type = own.weight_type;
    }
    if (!a.prefetch) pdl_wait();
    const i32 first_row = (i32)blockIdx.y * (NB * 8);
    const i32 count = share * tiles::TILE_ROWS, rows = min(NB * 8, a.rows - first_row);
    int8_few work{a, part, first, count, first_row, rows, count * rows <= (i32)blockDim.x, scales};
    const x_columns x{static_cast<const char *>(a.x) + first_row * a.x_stride, a.x_stride, a.rows - 1 - first_row, a.k};
    few_sums<R, NB> acc = {};
    Formats::run(type,
                 int8_few_tiles<R, NB>{work, panel, x, split, part.splits, shared + warp * a.ring_bytes, lane, acc});
    const int8_sums sums{reinterpret_cast<float *>(shared + a.front_bytes), a.panels * tiles::TILE_ROWS, NB * 8};
    if constexpr (INT8_TIGHT) {
        place.settle();
        split = place.split(), slot = place.slot();
    }
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int nb = 0; nb < NB; nb++) sums.put(split, nb * 8, (slot + r) * tiles::TILE_ROWS, lane, acc.at[r][nb]);
    __syncthreads();
    if (work.one) int8_store_one<true>(a, part, sums, part.splits, first, first_row, scales, work.operands);
    else int8_store_rows(a, part, {sums, part.splits, 1}, first, first_row, 0, rows, scales);
#endif
}

}  // namespace reflex
