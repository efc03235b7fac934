// The int8 products' thread block: which weights it multiplies, its warps' shares of them, and the way out.
//
// A block makes `panels` x 16 outputs of one part (of a gated pair, half of them of each). A warp takes R of the panels and
// every splits-th tile along k; the splits are added up in shared memory in a fixed order. The format is looked up once for
// each warp, so that one launch serves weights of any mixture.
#pragma once

#include "common/launch.cuh"
#include "matmul/int8/epilogue.cuh"
#include "matmul/int8/formats.cuh"
#include "matmul/int8/native.cuh"

namespace reflex {

// Of the kernel of one row and a panel a warp. Where a launch may begin before the one in front has ended, room for its blocks is worth more
// than registers. Code for SM 10.x spills with 80, that for 12.x does not.
#if __CUDA_ARCH__ >= 1000 && __CUDA_ARCH__ < 1200
constexpr i32 INT8_VECTOR_REGISTERS = 96;
#elif __CUDA_ARCH__ >= 900
constexpr i32 INT8_VECTOR_REGISTERS = 80;
#else
constexpr i32 INT8_VECTOR_REGISTERS = 128;
#endif
// Blocks on an SM of the kernel of one row and several panels a warp. Shared memory has room for three on SM 9.0, which may run the code of
// 8.x as well.
#if __CUDA_ARCH__ >= 800
constexpr i32 INT8_WIDE_BLOCKS = 3;
#else
constexpr i32 INT8_WIDE_BLOCKS = 2;
#endif

// One row of x. WIDE: a warp takes two or four panels, for devices of few SMs; else one, for many. STAGED_ROWS: native rows
// come through shared memory; it costs registers. So where a warp takes several panels, packed weights and native ones have a
// kernel each.
template <bool WIDE, bool STAGED_ROWS> struct int8_vector_shape {
    using panel_sums = float[2];
    static constexpr i32 COLUMNS = 1, STAGES = WIDE ? INT8_WIDE_STAGES : INT8_NARROW_STAGES;
    // What an output needs beside its sums is loaded before the warps meet, where there are registers for it.
    static constexpr bool EARLY = WIDE || !STAGED_ROWS;
    static constexpr bool STAGED = STAGED_ROWS, PACKED = !WIDE || !STAGED_ROWS;
    static constexpr bool TIGHT = INT8_TIGHT && !WIDE;
    template <class F> static constexpr i32 PANELS = !WIDE ? 1
                                                     : STAGED || F::TILE_BYTES > INT8_WIDE_TILE_BYTES
                                                         ? INT8_WIDE_LARGE_PANELS
                                                         : INT8_WIDE_PANELS;
    template <i32 R> struct sums {
        float panel[R][2];
    };

    const char *x;
    i32 k;

    __device__ __forceinline__ int8_vector_shape(const int8_args &a) : x(static_cast<const char *>(a.x)), k(a.k) {}

    template <i32 R> __device__ __forceinline__ sums<R> start(i32) const { return {}; }

    template <class F, i32 R, class Wait>
    __device__ __forceinline__ void packed_tiles(const char *const (&panel)[R], i32 split, i32 splits, char *ring,
                                                 i32 lane, Wait &wait, sums<R> &acc) const {
        running_ring<F, R, STAGES> tiles(ring, panel, split, splits, lane);
        int8_vector_ring<F, R, STAGES>(tiles, x, k, split, splits, lane, wait, acc.panel);
    }
    template <class W, i32 R, class Wait>
    __device__ __forceinline__ void staged_tiles(const native_panel (&panel)[R], const bool (&last)[R], i32 split,
                                                 i32 splits, char *ring, i32 lane, Wait &wait, sums<R> &acc) const {
        // Three stages of what two blocks of four warps have room for on an SM of 164 KB.
        constexpr i32 DEPTH =
            WIDE && native_geometry<W>::STAGE <= INT8_WIDE_NATIVE_BYTES ? INT8_WIDE_NATIVE_STAGES : STAGES;
        int8_vector_staged<W, R, DEPTH>(panel, last, x, k, split, splits, ring, lane, wait, acc.panel);
    }
    template <class F, class W> __device__ __forceinline__ void native_tiles(const native_panel &panel, i32 split,
                                                                             i32 splits, i32 lane,
                                                                             float (&acc)[2]) const {
        int8_vector_native<F, W>(panel, x, k, split, splits, lane, acc);
    }
    // Sums of panel r += more, or = more.
    template <i32 R> static __device__ __forceinline__ void add(sums<R> &acc, i32 r, const float (&more)[2],
                                                                bool keep) {
#pragma unroll
        for (int half = 0; half < 2; half++) acc.panel[r][half] = (keep ? acc.panel[r][half] : 0.0f) + more[half];
    }
    // Leaves the sums of panel r where the epilogue finds them.
    template <i32 R> static __device__ __forceinline__ void put(const int8_sums &to, i32 split, i32 slot, i32 lane,
                                                                const sums<R> &acc, i32 r) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float v = acc.panel[r][half];
            v += __shfl_xor_sync(FULL_MASK, v, 1);
            v += __shfl_xor_sync(FULL_MASK, v, 2);
            if ((lane & 3) == 0) to.at(split, 0, slot * tiles::TILE_ROWS + half * 8 + (lane >> 2)) = v;
        }
    }
};

// NB x 8 rows of x.
template <int NB> struct int8_columns_shape {
    static constexpr i32 COLUMNS = NB * 8, STAGES = INT8_COLUMNS_STAGES;
    static constexpr bool STAGED = false, PACKED = true, TIGHT = INT8_TIGHT && NB == 2;
    template <class F> static constexpr i32 PANELS = INT8_COLUMNS_PANELS;
    template <i32 R> using sums = column_sums<R, NB>;
    using panel_sums = float[NB][4];

    const int8_args &a;

    __device__ __forceinline__ explicit int8_columns_shape(const int8_args &args) : a(args) {}

    template <i32 R> __device__ __forceinline__ sums<R> start(i32 lane) const {
        extern __shared__ __align__(128) char shared[];
        return sums<R>(shared + a.front_bytes + threadIdx.x / WARP * (R * NB * 16 * WARP), lane);
    }
    __device__ __forceinline__ x_columns x() const {
        const i32 first = (i32)blockIdx.y * COLUMNS;
        return {static_cast<const char *>(a.x) + first * a.x_stride, a.x_stride, a.rows - 1 - first, a.k};
    }
    template <class F, i32 R, class Wait>
    __device__ __forceinline__ void packed_tiles(const char *const (&panel)[R], i32 split, i32 splits, char *ring,
                                                 i32 lane, Wait &wait, sums<R> &acc) const {
        int8_columns_packed<F, R, NB, STAGES>(panel, x(), split, splits, ring, lane, wait, acc);
    }
    template <class F, class W> __device__ __forceinline__ void native_tiles(const native_panel &panel, i32 split,
                                                                             i32 splits, i32 lane,
                                                                             panel_sums &acc) const {
        int8_columns_native<F, W, NB>(panel, x(), split, splits, lane, acc);
    }
    template <i32 R> static __device__ __forceinline__ void add(const sums<R> &acc, i32 r, const panel_sums &more,
                                                                bool keep) {
#pragma unroll
        for (int nb = 0; nb < NB; nb++) {
            float4 &sum = acc.at(r, nb);
            const float4 v = keep ? sum : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            sum = make_float4(v.x + more[nb][0], v.y + more[nb][1], v.z + more[nb][2], v.w + more[nb][3]);
        }
    }
    template <i32 R> static __device__ __forceinline__ void put(const int8_sums &to, i32 split, i32 slot, i32 lane,
                                                                const sums<R> &acc, i32 r) {
#pragma unroll 1
        for (i32 nb = 0; nb < NB; nb++) {
            const float4 sum = acc.at(r, nb);
            const i32 column = nb * 8 + (lane & 3) * 2, output = slot * tiles::TILE_ROWS + (lane >> 2);
            to.at(split, column, output) = sum.x, to.at(split, column + 1, output) = sum.y;
            to.at(split, column, output + 8) = sum.z, to.at(split, column + 1, output + 8) = sum.w;
        }
    }
};

// Sixteen outputs of a part.
struct int8_panel {
    const int8_part *part;
    i32 first;  // output

    __device__ __forceinline__ const char *row(i32 i) const {
        return static_cast<const char *>(part->weight) + i * part->weight_stride;
    }
    __device__ __forceinline__ bool exists() const { return first < part->n; }
    // Packed weights have complete panels, and the rows behind them as they were.
    __device__ __forceinline__ bool complete() const { return part->tile_bytes && first + tiles::TILE_ROWS <= part->n; }
};

// What a block makes: `share` panels of a part, and of a gated pair as many of the other, from output `first` on.
struct int8_block {
    const int8_args &a;
    const int8_part &part;
    i32 share, first;

    __device__ __forceinline__ int8_block(const int8_args &args, i32 block, i32 panels)
        : a(args),
          part(args.part[int8_part_index(args, block)]),
          share(args.gate ? panels / 2 : panels),
          first((block - part.first_block) * share * tiles::TILE_ROWS) {}
    // The same, computed where this is called.
    __device__ __forceinline__ int8_block anew() const {
        i32 block = blockIdx.x, panels = a.panels;
        // Else the compiler would take it from before the loops.
        asm volatile("" : "+r"(block), "+r"(panels));
        return int8_block(a, block, panels);
    }
    __device__ __forceinline__ int8_panel panel(i32 slot) const {
        const bool second = a.gate && slot >= share;
        return {second ? &a.part[1] : &part, first + (slot - (second ? share : 0)) * tiles::TILE_ROWS};
    }
};

// One warp's share of the products.
template <class Shape> struct int8_warp {
    const int8_args &a;
    const int8_block &block;
    const int8_sums &sums;
    bool has_waited;

    // Until the launches in front have ended.
    __device__ __forceinline__ void wait() {
        if (Shape::TIGHT ? a.prefetch : !has_waited) pdl_wait();
        has_waited = true;
    }
    __device__ __forceinline__ void waited() {}

    template <class F, class W>
    __device__ __forceinline__ void run(const Shape &shape, char *ring, i32 split, i32 first_slot, i32 lane) {
        constexpr i32 R = Shape::template PANELS<F>;
        int8_place place{};
        if constexpr (Shape::TIGHT) {
            place = int8_place(split, first_slot);
            split = place.split(), first_slot = place.slot();
        }
        int8_panel panel[R];
        // Whether all panels can be taken together: packed ones, or native ones.
        bool packed = Shape::PACKED, staged = Shape::STAGED;
#pragma unroll
        for (int r = 0; r < R; r++) {
            panel[r] = Shape::TIGHT ? block.anew().panel(first_slot + r) : block.panel(first_slot + r);
            packed &= panel[r].part->tile_bytes && panel[r].part->n >= tiles::TILE_ROWS;
            staged &= (!panel[r].part->tile_bytes || (R == 1 && !panel[r].complete())) &&
                      panel[r].part->weight_stride == panel[0].part->weight_stride;
        }
        typename Shape::template sums<R> acc = shape.template start<R>(lane);
        if (Shape::STAGED && staged) {
            native_panel native[R];
            bool last[R];
#pragma unroll
            for (int r = 0; r < R; r++) {
                // Those past the last one read the first, and are not stored.
                const i32 first = panel[r].exists() ? panel[r].first : 0, rows = panel[r].part->n - first;
                native[r] = {panel[r].row(first), panel[r].part->weight_stride, min(rows, tiles::TILE_ROWS), 0};
                last[r] = rows <= tiles::TILE_ROWS;
            }
            if constexpr (Shape::STAGED)
                shape.template staged_tiles<W, R>(native, last, split, block.part.splits, ring, lane, *this, acc);
        } else if (Shape::PACKED && packed) {
            const char *tile[R];
#pragma unroll
            for (int r = 0; r < R; r++) tile[r] = panel[r].row(panel[r].complete() ? panel[r].first : 0);
            if constexpr (Shape::PACKED)
                shape.template packed_tiles<F, R>(tile, split, block.part.splits, ring, lane, *this, acc);
        }
        // A TIGHT warp keeps no note of it, but the loops above have waited.
        if (!Shape::TIGHT || !(staged || packed)) wait();
        if constexpr (Shape::TIGHT) {
            place.settle();
            split = place.split(), first_slot = place.slot();
        }
        // What is not packed, one panel at a time.
        const i32 end = a.k / tiles::TILE_K * tiles::TILE_K;
        const bool left = a.k != end || !(staged || packed && (R > 1 || panel[0].complete()));
#pragma unroll 1
        for (i32 one = 0; one < (left || R > 1 && !staged ? R : 0); one++) {
            int8_panel p = panel[0];
            if constexpr (Shape::TIGHT) {
                p = block.anew().panel(first_slot + one);
            } else {
#pragma unroll
                for (int r = 1; r < R; r++)
                    if (one == r) p = panel[r];
            }
            native_panel rest;
            if (p.complete()) {
                // Only blocks of 32 can be left over.
                const i64 row_bytes = (i64)((a.k - end) / 32) * W::BYTES;
                rest = {p.row(p.first) + (i64)(end / tiles::TILE_K) * F::TILE_BYTES, row_bytes, tiles::TILE_ROWS, end};
            } else {
                const i32 start = staged ? end : 0;
                rest = {p.row(p.first) + (i64)(start / W::ELEMENTS) * W::BYTES, p.part->weight_stride,
                        min(p.part->n - p.first, tiles::TILE_ROWS), start};
            }
            typename Shape::panel_sums more = {};
            if (p.exists() && rest.start < a.k)
                shape.template native_tiles<F, W>(
                    rest, split, Shape::TIGHT ? block.anew().part.splits : block.part.splits, lane, more);
#pragma unroll
            for (int r = 0; r < R; r++)
                if (one == r) Shape::add(acc, r, more, staged || p.complete());
        }
        // The sums lie where the rings were.
        __syncthreads();
#pragma unroll
        for (int r = 0; r < R; r++) Shape::put(sums, split, first_slot + r, lane, acc, r);
    }
};

template <class Shape> __device__ __forceinline__ void int8_product(const int8_args &a) {
    extern __shared__ __align__(128) char shared[];
    const i32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    __shared__ float scales[Shape::COLUMNS];
    static_assert(sizeof(scales) <= INT8_STATIC_SHARED, "");
    const int8_block block(a, blockIdx.x, a.panels);
    const int8_part &part = block.part;
    const i32 split = warp % part.splits, group = warp / part.splits, groups = warps / part.splits;
    const i32 first_slot = group * (a.panels / groups);
    const int8_sums sums{reinterpret_cast<float *>(shared), a.panels * tiles::TILE_ROWS, Shape::COLUMNS};

    int8_warp<Shape> work{a, block, sums, false};
    pdl_launch_dependents();
    if (!a.prefetch) work.wait();
    const Shape shape(a);
    char *ring = shared + warp * a.ring_bytes;
    const int8_part &own = a.gate && first_slot >= (Shape::TIGHT ? a.panels / 2 : block.share) ? a.part[1] : part;
#define REFLEX_RUN(type, format, ...)                                                               \
    case type:                                                                                      \
        if constexpr (type != INT8_LAST) {                                                          \
            work.template run<tiles::format, weight::format>(shape, ring, split, first_slot, lane); \
            break;                                                                                  \
        }
    switch (own.weight_type) {
        REFLEX_BLOCK_FORMATS(REFLEX_RUN)
        default:
            using last = int8_format<INT8_LAST>;
            work.template run<typename last::tile, typename last::native>(shape, ring, split, first_slot, lane);
    }
#undef REFLEX_RUN
    const int8_block made = Shape::TIGHT ? block.anew() : block;
    const i32 first_row = blockIdx.y * Shape::COLUMNS;
    const i32 rows = min(Shape::COLUMNS, a.rows - first_row);
    if constexpr (Shape::COLUMNS == 1) {
        // A thread makes one output at most: its operands are in flight while the warps meet.
        int8_operands operands;
        if (Shape::EARLY)
            operands.load(a, made.part, made.first + threadIdx.x, 0, threadIdx.x < made.share * tiles::TILE_ROWS);
        if (a.x_squares) int8_row_scales(a, first_row, rows, scales);
        __syncthreads();
        int8_store_one<Shape::EARLY>(a, made.part, sums, made.part.splits, made.first, first_row, scales, operands);
    } else {
        if (a.x_squares) int8_row_scales(a, first_row, rows, scales);
        __syncthreads();
        int8_store_rows(a, made.part, {sums, made.part.splits, 1}, made.first, first_row, 0, rows, scales);
    }
}

}  // namespace reflex
