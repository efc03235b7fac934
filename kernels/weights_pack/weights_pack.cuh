// Weights between the native arrangement of GGUF rows and the packed one that matrix products read: the same bits, moved.
//
// docs/packed-weights.md has the layout. Panels of 16 rows; in a panel, tiles of 256 columns, then the 32-element blocks
// that are left of each row, native; after the last panel the rows that are left, native.
//
// A thread moves rows g and g + 8 of a tile: what it writes, on either side, no other thread writes. Eight neighbouring
// threads share a tile. What stays native is copied by a kernel of its own. Limits: packed data is 16-byte aligned, native
// data at least as its blocks are. Bound by memory: native rows are read four bytes at a time, through L1.
#pragma once

#include "common/packed/formats.cuh"

namespace reflex {

struct weights_pack_args {
    const void *source;
    void *destination;
    i64 row_stride;   // bytes between rows of the native side
    i64 panel_bytes;  // of the packed side
    i64 panels;
    i64 tiles;  // of one panel
};
REFLEX_ARGS_LAYOUT(weights_pack_args, 48, tiles, 40);

// Rows in panels, each `units` times `unit` bytes long.
struct weights_pack_copy_args {
    const void *source;
    void *destination;
    i64 source_panel, source_row, destination_panel, destination_row;  // byte strides
    i64 units;
    i64 count;  // of units in the whole
    i32 rows;   // of a panel
    i32 unit;   // 16, 4, 2 or 1; every address is a multiple of it
};
REFLEX_ARGS_LAYOUT(weights_pack_copy_args, 72, unit, 68);

namespace packed {

template <class F> __device__ __forceinline__ void pack_rows(const char *const (&run)[2], char *tile, u32 g) {
    constexpr u32 CHUNKS = F::plane::CHUNKS;
    // In front of the loop: behind it, addresses that it does not need would take registers in it.
    F::scales::pack(run, tile + F::QUANTS, g);
#pragma unroll 1
    for (u32 t = 0; t < 4; t++) {
        u32 words[CHUNKS][4];
#pragma unroll
        for (u32 w = 0; w < 2; w++) {
#pragma unroll
            for (u32 half = 0; half < 2; half++) {
                u32 q[8], word[CHUNKS];
#pragma unroll
                for (u32 b = 0; b < 8; b++) q[b] = F::native::get(run[half], b, element<F::SPLIT>(t, w));
                F::plane::put(q, word);
#pragma unroll
                for (u32 c = 0; c < CHUNKS; c++) words[c][2 * w + half] = word[c];
            }
        }
#pragma unroll
        for (u32 c = 0; c < CHUNKS; c++)
            at<uint4>(tile + c * CHUNK + (4 * g + t) * 16) =
                make_uint4(words[c][0], words[c][1], words[c][2], words[c][3]);
    }
}

template <class F> __device__ __forceinline__ void unpack_rows(const char *tile, u32 g, char *const (&run)[2]) {
#pragma unroll 1
    for (u32 half = 0; half < 2; half++) {
        char *to = half ? run[1] : run[0];
        u32 carry[8] = {0, 0, 0, 0, 0, 0, 0, 0};
#pragma unroll 1
        for (u32 e = 0; e < 16; e += 4) {
            const char *low_words = tile + word_offset<F::SPLIT>(g, half, e);
            const char *high_words = tile + word_offset<F::SPLIT>(g, half, e + 16);
            u32 low[8], high[8];
#pragma unroll
            for (u32 b = 0; b < 8; b++) {
                low[b] = F::plane::get([&](u32 c) { return at<u32>(low_words + c * CHUNK); }, b);
                high[b] = F::plane::get([&](u32 c) { return at<u32>(high_words + c * CHUNK); }, b);
            }
            F::native::put(to, e, low, high, carry);
        }
        F::native::finish(to, carry);
    }
    F::scales::unpack(tile + F::QUANTS, g, run);
}

// This thread's rows g and g + 8 of a tile.
struct share {
    i64 panel, tile;
    u32 g;
    bool none;
    __device__ __forceinline__ share(const weights_pack_args &a, i64 thread) {
        const i64 index = thread >> 3;
        g = (u32)thread & 7;
        none = index >= a.panels * a.tiles;
        panel = index / a.tiles;
        tile = index - panel * a.tiles;
    }
    template <class F> __device__ __forceinline__ i64 native_row(const weights_pack_args &a) const {
        return (16 * panel + g) * a.row_stride + tile * F::RUN;
    }
    template <class F> __device__ __forceinline__ i64 packed_tile(const weights_pack_args &a) const {
        return panel * a.panel_bytes + tile * F::TILE;
    }
};

}  // namespace packed

template <class F> __device__ __forceinline__ void weights_pack(const weights_pack_args &a) {
    const packed::share share(a, (i64)blockIdx.x * blockDim.x + threadIdx.x);
    if (share.none) return;
    const char *row = static_cast<const char *>(a.source) + share.native_row<F>(a);
    const char *const run[2] = {row, row + 8 * a.row_stride};
    packed::pack_rows<F>(run, static_cast<char *>(a.destination) + share.packed_tile<F>(a), share.g);
}

template <class F> __device__ __forceinline__ void weights_unpack(const weights_pack_args &a) {
    const packed::share share(a, (i64)blockIdx.x * blockDim.x + threadIdx.x);
    if (share.none) return;
    char *row = static_cast<char *>(a.destination) + share.native_row<F>(a);
    char *const run[2] = {row, row + 8 * a.row_stride};
    packed::unpack_rows<F>(static_cast<const char *>(a.source) + share.packed_tile<F>(a), share.g, run);
}

__device__ __forceinline__ void weights_pack_copy(const weights_pack_copy_args &a) {
    const i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= a.count) return;
    const i64 line = index / a.units, offset = (index - line * a.units) * a.unit;
    const i64 panel = line / a.rows, row = line - panel * a.rows;
    const char *from = static_cast<const char *>(a.source) + panel * a.source_panel + row * a.source_row + offset;
    char *to = static_cast<char *>(a.destination) + panel * a.destination_panel + row * a.destination_row + offset;
    switch (a.unit) {
        case 16:
            packed::at<uint4>(to) = packed::at<uint4>(from);
            break;
        case 4:
            packed::at<u32>(to) = packed::at<u32>(from);
            break;
        case 2:
            packed::at<u16>(to) = packed::at<u16>(from);
            break;
        default:
            *to = *from;
    }
}

}  // namespace reflex
