// Products of a warpgroup (SM 9.0a): four warps multiply 64 rows together, b comes from shared memory.
#pragma once

#include "common/types.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define REFLEX_WGMMA 1
#else
#define REFLEX_WGMMA 0
#endif

namespace reflex {

#if REFLEX_WGMMA

// None of these is a barrier for memory: shared memory may be read for what follows while products run.
//
// Before the first product, and wherever a register that a product takes was written by anything else.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;"); }
// All but the latest N groups have ended.
template <int N> __device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N));
}

// b of 16 by NB x 8 from matrices of 8 x 8, each 128 bytes together and of eight columns: the second one along k follows the
// first, and those of the next columns lie `stride` bytes on.
__device__ __forceinline__ u64 wgmma_matrices(const void *shared, u32 stride) {
    return (u64)((__cvta_generic_to_shared(shared) & 0x3ffff) >> 4) | (u64)(128 >> 4) << 16 | (u64)(stride >> 4) << 32;
}

// c += a b with f32 sums of f16, as mma_16x8x16 has it: a's and c's rows are this warp's sixteen. FIRST: c = a b, whatever c was. c and a
// belong to the product until wgmma_wait.
#define REFLEX_SUM(kind, n) kind(c[n][0]), kind(c[n][1]), kind(c[n][2]), kind(c[n][3])
#define REFLEX_SUMS_2(kind) REFLEX_SUM(kind, 0), REFLEX_SUM(kind, 1)
#define REFLEX_SUMS_4(kind) REFLEX_SUMS_2(kind), REFLEX_SUM(kind, 2), REFLEX_SUM(kind, 3)
#define REFLEX_SUMS_8(kind) \
    REFLEX_SUMS_4(kind), REFLEX_SUM(kind, 4), REFLEX_SUM(kind, 5), REFLEX_SUM(kind, 6), REFLEX_SUM(kind, 7)
#define REFLEX_FACTORS "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)
#define REFLEX_WGMMA_16(eights, columns, operands)                                                                   \
    template <bool FIRST> __device__ __forceinline__ void wgmma_16(float (&c)[eights][4], const u32(&a)[4], u64 b) { \
        if constexpr (FIRST)                                                                                         \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" columns "k16.f32.f16.f16 " operands ", 0, 1, 1, 0;"     \
                         : REFLEX_SUMS_##eights("=&f")                                                               \
                         : REFLEX_FACTORS);                                                                          \
        else                                                                                                         \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" columns "k16.f32.f16.f16 " operands ", 1, 1, 1, 0;"     \
                         : REFLEX_SUMS_##eights("+f")                                                                \
                         : REFLEX_FACTORS);                                                                          \
    }
REFLEX_WGMMA_16(2, "16", "{%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9,%10,%11}, %12")
REFLEX_WGMMA_16(4, "32", "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, {%16,%17,%18,%19}, %20")
REFLEX_WGMMA_16(8, "64",
                "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
                "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35}, %36")

#undef REFLEX_SUM
#undef REFLEX_SUMS_2
#undef REFLEX_SUMS_4
#undef REFLEX_SUMS_8
#undef REFLEX_FACTORS
#undef REFLEX_WGMMA_16

#endif

}  // namespace reflex
