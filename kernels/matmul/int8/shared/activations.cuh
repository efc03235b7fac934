// x as the f16 tensor cores take it: tiles of 256 elements and NB x 8 columns, which a launch of their own (convert.cuh) left in
// memory, and of which each group of warps copies what it multiplies.
//
// Of each block and each eight columns 512 bytes, four 8 x 8 matrices, whose rows are columns of x: the even and the odd elements
// of the words that meet a[0] a[1], then of those that meet a[2] a[3]. Behind them the units of the columns, and for the minima
// sums of x as two f16 each, the second what the first leaves: of eight columns a matrix of either, or where sums are of 16
// elements two of those of even blocks and two of those of odd ones. ldmatrix and products of a warpgroup take the
// matrices as they lie.
//
// Formats that scale 16 elements want the elements in another order than those that scale 32. Both may meet in a launch.
#pragma once

#include "matmul/int8/columns.cuh"

namespace reflex {

// GROUP: elements that a format scales together.
template <i32 GROUP> struct x_layout {
    static constexpr i32 CHAINS = 32 / GROUP;
    // Of eight columns.
    static constexpr i32 FRAGMENTS = INT8_X_FRAGMENTS, UP = INT8_X_UNITS, SUMS = int8_x_sums(GROUP);
    static constexpr i32 BYTES = int8_x_bytes(GROUP);
    // Sums of x are taken in units of this: at most 4064 x 2^15 of them are to be an f16.
    static constexpr float SHARE = 8192.0f;
};

template <class F, int NB> struct x_tile : x_layout<F::GROUP> {
    using layout = x_layout<F::GROUP>;
    static constexpr i32 FRAGMENTS = NB * layout::FRAGMENTS, UP = NB * layout::UP, BYTES = NB * layout::BYTES;
    // Without minima nobody reads the sums.
    static constexpr i32 WORDS = (F::MINIMA ? BYTES : FRAGMENTS + UP) / 16;

    // Starts the copies of thread `thread` of `threads`.
    static __device__ __forceinline__ void fill(const char *from, char *to, i32 thread, i32 threads) {
        from += thread * 16, to += thread * 16;
#pragma unroll 1
        for (i32 i = thread; i < WORDS; i += threads, from += threads * 16, to += threads * 16)
            cp_async16(to, from, true);
    }
};

// What a warp reads of a tile.
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
        const u32 *const words =
            reinterpret_cast<const u32 *>(from + tile::FRAGMENTS + tile::UP) + (nb * tile::CHAINS + chain) * 64 + lane;
        return make_uint2(words[0], words[32]);
    }
};

}  // namespace reflex
