// Native blocks for the int8 products of one row: the bytes of 16 rows x 256 elements go to shared memory by asynchronous
// copies as they lie in the file, and lanes unpack them from there (common/blocks/staged.cuh).
//
// Rows begin anywhere that suits their format, so the 16-byte words that cover a row's 256 elements are copied, and lanes
// know where in the first of them the row begins. Slots of rows are an odd number of 16-byte words apart: four lanes of
// each of eight rows read different banks.
#pragma once

#include "common/blocks.cuh"
#include "matmul/int8/vector.cuh"

namespace reflex {

// Sixteen rows, or fewer, from element `start` of k on, which is a multiple of 256.
struct native_panel {
    const char *data;
    i64 stride;
    i32 rows;
    i32 start;

    __device__ __forceinline__ const char *row(i32 i) const { return data + min(i, rows - 1) * stride; }
};

template <class W> struct native_geometry {
    static constexpr i32 ALIGN = W::staged::ALIGN, BYTES = tiles::TILE_K / W::ELEMENTS * W::BYTES;
    static constexpr i32 WORDS = int8_staged_words(BYTES, ALIGN), SLOT = int8_staged_slot(BYTES, ALIGN),
                         STAGE = int8_staged_bytes(BYTES, ALIGN);

    // Lanes that read eight bytes each, of whole-word formats, want neighbours two slots apart.
    static __device__ __forceinline__ i32 slot(i32 row) {
        return ALIGN == 16 ? (row & 8) | (2 * row & 6) | (row >> 2 & 1) : row;
    }
};

// One panel's tile in shared memory: rows g and g + 8 of a lane.
template <class W> struct native_tile {
    using bytes = typename W::staged::bytes;
    const char *stage;
    u32 first[2];
    __device__ __forceinline__ bytes row(i32 half) const { return {stage, first[half]}; }
};

// The format as int8_vector_tile takes it.
template <class W> struct native_format : W::staged {
    using S = typename W::staged;
    static constexpr i32 OFFSET = W::OFFSET, GROUP = W::GROUP, GROUPS = 64 / GROUP;
    static constexpr bool MINIMA = W::MINIMUM, SIGNED = W::SIGNED;
    using tile = native_tile<W>;

    static __device__ __forceinline__ void words(const tile &from, i32 lane, i32 b, u32 (&a)[4]) {
#pragma unroll
        for (int half = 0; half < 2; half++) S::words(from.row(half), b, lane & 3, a[half], a[2 + half]);
    }
    static __device__ __forceinline__ void plane_words(const tile &from, i32 lane, i32 b, u32 (&a)[4]) {
#pragma unroll
        for (int half = 0; half < 2; half++) S::planes(from.row(half), b, lane & 3, a[half], a[2 + half]);
    }
    static __device__ __forceinline__ uint4 nibble_words(const tile &from, i32 lane, i32 j) {
        const uint2 low = S::nibbles(from.row(0), j, lane & 3), high = S::nibbles(from.row(1), j, lane & 3);
        return make_uint4(low.x, high.x, low.y, high.y);
    }
    static __device__ __forceinline__ void halves(const tile &from, i32 lane, i32 b, u32 (&positive)[4],
                                                  u32 (&negative)[4]) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            u32 p[2], n[2];
            S::signs(from.row(half), b, lane & 3, p, n);
            positive[half] = p[0], positive[2 + half] = p[1];
            negative[half] = n[0], negative[2 + half] = n[1];
        }
    }
    // The lane's eight bytes of a block of x, and those that meet the words of a plane in an order of its own.
    static __device__ __forceinline__ void x_words(const char *block, i32 t, u32 (&q)[2], u32 (&plane)[2]) {
        using weight::element_order;
        if constexpr (S::ORDER == element_order::ORDERED) {
            const uint2 v = *reinterpret_cast<const uint2 *>(block + 8 * t);
            q[0] = v.x, q[1] = v.y;
        } else {
            const u32 v0 = *reinterpret_cast<const u32 *>(block + 4 * t);
            const u32 v1 = *reinterpret_cast<const u32 *>(block + 16 + 4 * t);
            constexpr bool PAIRED = S::ORDER == element_order::PAIRED;
            q[0] = PAIRED ? __byte_perm(v0, v1, 0x5140) : v0;
            q[1] = PAIRED ? __byte_perm(v0, v1, 0x7362) : v1;
        }
        if constexpr (S::PLANE_BITS) {
            u32 v[4];
#pragma unroll
            for (int i = 0; i < 4; i++) v[i] = *reinterpret_cast<const u16 *>(block + 8 * i + 2 * t);
            const u32 low = __byte_perm(v[0], v[1], 0x5140), high = __byte_perm(v[2], v[3], 0x5140);
            plane[0] = __byte_perm(low, high, 0x5410), plane[1] = __byte_perm(low, high, 0x7632);
        }
    }

    struct scales {
        struct regs {
            typename S::regs row[2];
        };
        static __device__ __forceinline__ void get(const regs &r, i32 half, i32 c, float &scale, float &minimum) {
            S::get(r.row[half], c, scale, minimum);
        }
        static __device__ __forceinline__ void row(const regs &r, i32 half, float &scale, float &minimum) {
            S::row(r.row[half], scale, minimum);
        }
        static __device__ __forceinline__ i32 minima(const regs &r, i32 half, i32 column, i32 sums, i32 start) {
            return S::minima(r.row[half], column, sums, start);
        }
    };
    static __device__ __forceinline__ typename scales::regs load_scales(const tile &from, i32 lane) {
        return {{S::load(from.row(0), lane & 3), S::load(from.row(1), lane & 3)}};
    }
};

// As tile_ring. Panels have the same stride, and begin at multiples of 16 bytes.
//
// A copy costs by the 128-byte lines it touches: lanes take the words of a row side by side, and as many rows as fit.
template <class W, int R, int S> struct native_ring {
    using geometry = native_geometry<W>;
    static constexpr i32 WORDS = geometry::WORDS, SLOT = geometry::SLOT, STAGE_BYTES = R * geometry::STAGE;
    static constexpr i32 ROWS = WARP / WORDS, COPIES = (tiles::TILE_ROWS + ROWS - 1) / ROWS;

    char *shared;  // of this warp
    i32 lane, tiles;
    const native_panel (&panel)[R];
    const bool (&last)[R];  // whether the weight's last row is in a panel

    __device__ __forceinline__ i32 row() const { return lane / WORDS; }
    __device__ __forceinline__ i32 word() const { return lane % WORDS; }
    static __device__ __forceinline__ const char *down16(const char *p) {
        return geometry::ALIGN == 16 ? p : reinterpret_cast<const char *>(reinterpret_cast<u64>(p) & ~15ull);
    }

    __device__ __forceinline__ void fill(i32 stage, i64 index) const {
        char *to = shared + stage * STAGE_BYTES + word() * 16;
#pragma unroll
        for (int r = 0; r < R; r++) {
            const char *from = panel[r].data + index * geometry::BYTES;
            if (last[r] && (panel[r].rows < tiles::TILE_ROWS || index + 1 == tiles)) {
                fill_end(to + r * geometry::STAGE, from, panel[r]);
                continue;
            }
            from += row() * panel[0].stride + word() * 16;
#pragma unroll
            for (int c = 0; c < COPIES; c++) {
                // The last copy may have fewer rows.
                const i32 past = row() + c * ROWS;
                if (row() < ROWS && (16 % ROWS == 0 || c + 1 < COPIES || past < tiles::TILE_ROWS))
                    cp_async16(to + r * geometry::STAGE + geometry::slot(past) * SLOT, down16(from), true);
                from += ROWS * panel[0].stride;
            }
        }
    }
    // Where a word may reach past the last row, which nothing may read: those of its bytes that are the row's.
    __device__ __forceinline__ void fill_end(char *to, const char *from, const native_panel &panel) const {
#pragma unroll 1
        for (i32 i = row() < ROWS ? row() : panel.rows; i < panel.rows; i += ROWS) {
            const char *begin = from + i * panel.stride, *end = begin + geometry::BYTES;
            const char *p = down16(begin) + word() * 16;
            char *q = to + geometry::slot(i) * SLOT;
            if (p + 16 <= end) cp_async16(q, p, true);
            else
#pragma unroll 1
                for (; p < end; p++, q++) *q = *p;
        }
    }

    __device__ __forceinline__ native_tile<W> tile(i32 stage, i32 r, i64 index) const {
        native_tile<W> tile{shared + stage * STAGE_BYTES + r * geometry::STAGE, {}};
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const i32 row = half * 8 + (lane >> 2);
            // Eight rows on, what is even begins alike.
            const u32 odd =
                (u32)(index * geometry::BYTES) + (geometry::ALIGN == 1 ? row : row & 7) * (u32)panel[0].stride;
            tile.first[half] = geometry::slot(row) * SLOT + (geometry::ALIGN == 16 ? 0 : odd & 15);
        }
        return tile;
    }
};

// As int8_vector_packed, of complete tiles.
template <class W, int R, int S, class Wait>
__device__ __forceinline__ void int8_vector_staged(const native_panel (&panel)[R], const bool (&last)[R], const char *x,
                                                   i32 k, i32 split, i32 splits, char *shared, i32 lane, Wait &work,
                                                   float (&acc)[R][2]) {
    using F = native_format<W>;
    const native_ring<W, R, S> ring{shared, lane, k / tiles::TILE_K, panel, last};
    int8_vector_ring<F, R, S>(ring, x, k, split, splits, lane, work, acc);
}

}  // namespace reflex
