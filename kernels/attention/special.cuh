// Infinities and NaN in values that some rows of a block see and others do not.
#pragma once

#include "attention/args.cuh"

namespace reflex {

// Some element is infinite or NaN: its exponent is all ones, and adding one to that carries into the sign's place.
template <u32 T> __device__ __forceinline__ bool not_finite(uint4 w) {
    constexpr u32 exponent = T == F16 ? 0x7C007C00u : 0x7F807F80u, one = T == F16 ? 0x04000400u : 0x00800080u;
    const u32 carry =
        ((w.x & exponent) + one) | ((w.y & exponent) + one) | ((w.z & exponent) + one) | ((w.w & exponent) + one);
    return carry & 0x80008000u;
}

// A weight of 0 hides no NaN: 0 * NaN is NaN in a matrix product. Where the rows of a block see different keys of
// a tile, V rows with anything not finite are taken out of the tile here, and added by `add_special`.
template <u32 T, int KEYS, int CHUNKS, int THREADS, typename Row>
__device__ __forceinline__ bool remove_special(uint4 *v_tile, u32 *special, Row row_of) {
    const i32 thread = thread_index_anew();
    bool found = false;
    for (i32 i = thread; i < KEYS * CHUNKS; i += THREADS) found |= not_finite<T>(v_tile[i]);
    if (!__syncthreads_or(found)) return false;
    if (thread < (KEYS + 31) / 32) special[thread] = 0;
    __syncthreads();
    for (i32 i = thread; i < KEYS * CHUNKS; i += THREADS)
        if (not_finite<T>(v_tile[i])) atomicOr(&special[row_of(i) / 32], 1u << (row_of(i) % 32));
    __syncthreads();
    for (i32 i = thread; i < KEYS * CHUNKS; i += THREADS)
        if (special[row_of(i) / 32] >> (row_of(i) % 32) & 1) v_tile[i] = make_uint4(0, 0, 0, 0);
    __syncthreads();
    return true;
}

// The keys marked in `special`, for the rows that see them alone. Slow, and hardly ever run.
template <u32 T, int EIGHTS, int SIXTEENS>
__device__ __forceinline__ void add_special(float (&o)[EIGHTS][4], const u32 (&p)[SIXTEENS][4], const u32 *special,
                                            const char *v, i64 stride, i32 v_dim, const i32 (&visible)[2]) {
    const i32 lane = threadIdx.x % WARP, t = lane % 4;
    for (i32 word = 0; word < (SIXTEENS + 1) / 2; word++) {
        for (u32 bits = special[word]; bits; bits &= bits - 1) {
            const i32 key = word * 32 + __ffs(bits) - 1, from = (lane & ~3) | (key % 8 / 2);
            u32 lo = 0, hi = 0;
#pragma unroll
            for (i32 i = 0; i < SIXTEENS; i++) {
                // By mask: from a branch the compiler makes an index, and moves p to memory for it.
                const u32 mask = i == key / 16 ? ~0u : 0u;
                lo |= (key & 8 ? p[i][2] : p[i][0]) & mask, hi |= (key & 8 ? p[i][3] : p[i][1]) & mask;
            }
            const float2 two_lo = unpack2(__shfl_sync(FULL_MASK, lo, from), T),
                         two_hi = unpack2(__shfl_sync(FULL_MASK, hi, from), T);
            const float p_lo = key & 1 ? two_lo.y : two_lo.x, p_hi = key & 1 ? two_hi.y : two_hi.x;
#pragma unroll
            for (i32 j = 0; j < EIGHTS; j++) {
                if (j * 8 >= v_dim) continue;
                const float x = load1(v + key * stride, T, j * 8 + 2 * t),
                            y = load1(v + key * stride, T, j * 8 + 2 * t + 1);
                if (key < visible[0]) o[j][0] += p_lo * x, o[j][1] += p_lo * y;
                if (key < visible[1]) o[j][2] += p_hi * x, o[j][3] += p_hi * y;
            }
        }
    }
}

}  // namespace reflex
