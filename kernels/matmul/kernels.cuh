// The entry points of one weight format. One file for each format, so that they compile in parallel: build/formats.rs writes those of the
// formats in blocks.
//
// The second launch bound is there because ptxas, left alone, spills a few registers for one more block on an SM.
#pragma once

#include "matmul/tile.cuh"
#include "matmul/vector.cuh"

namespace reflex {
template <class Tile, i32 ROWS, i32 WARPS>
constexpr bool MATMUL_TILE_IS = Tile::BM == ROWS && Tile::THREADS == WARPS * (i32)WARP;
static_assert(MATMUL_TILE_IS<matmul_tile<weight::f32, 2, 1>, MATMUL_TILE32_ROWS, MATMUL_TILE32_WARPS>, "tile32");
static_assert(MATMUL_TILE_IS<matmul_tile<weight::f32, 4, 2>, MATMUL_TILE128_ROWS, MATMUL_TILE128_WARPS>, "tile128");
}  // namespace reflex

#define REFLEX_MATMUL_KERNEL(format, variant, threads, blocks, body)                        \
    extern "C" __global__ void __launch_bounds__(threads, blocks)                           \
        reflex_matmul_##format##_##variant(const __grid_constant__ reflex::matmul_args a) { \
        using namespace reflex;                                                             \
        using F = weight::format;                                                           \
        body(a);                                                                            \
    }

#define REFLEX_MATMUL_KERNELS(format)                                                                               \
    REFLEX_MATMUL_KERNEL(format, vector1, reflex::VECTOR_WARPS *reflex::WARP, 4, (matmul_vector<F, 1, true>))       \
    REFLEX_MATMUL_KERNEL(format, vector2, reflex::VECTOR_WARPS *reflex::WARP, 4, (matmul_vector<F, 2, true>))       \
    REFLEX_MATMUL_KERNEL(format, vector4, reflex::VECTOR_WARPS *reflex::WARP, 2, (matmul_vector<F, 4, true>))       \
    REFLEX_MATMUL_KERNEL(format, vector8, reflex::VECTOR_WARPS *reflex::WARP, 2, (matmul_vector<F, 8, true>))       \
    REFLEX_MATMUL_KERNEL(format, vector_any, reflex::VECTOR_WARPS *reflex::WARP, 4, (matmul_vector<F, 1, false>))   \
    REFLEX_MATMUL_KERNEL(format, tile32, reflex::MATMUL_TILE32_WARPS *reflex::WARP, 4, (matmul_tile<F, 2, 1>::run)) \
    REFLEX_MATMUL_KERNEL(format, tile128, reflex::MATMUL_TILE128_WARPS *reflex::WARP, 2, (matmul_tile<F, 4, 2>::run))
