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

#define REFLEX_SUMS(n) "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])
#define REFLEX_FACTORS "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)

// c += a b with f32 sums of f16, as mma_16x8x16 has it: a's and c's rows are this warp's sixteen. c and a belong to the
// product until wgmma_wait.
__device__ __forceinline__ void wgmma_16(float (&c)[2][4], const u32 (&a)[4], u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16 "
        "{%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9,%10,%11}, %12, 1, 1, 1, 0;"
        : REFLEX_SUMS(0), REFLEX_SUMS(1)
        : REFLEX_FACTORS);
}
__device__ __forceinline__ void wgmma_16(float (&c)[4][4], const u32 (&a)[4], u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 "
        "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, {%16,%17,%18,%19}, %20, 1, 1, 1, 0;"
        : REFLEX_SUMS(0), REFLEX_SUMS(1), REFLEX_SUMS(2), REFLEX_SUMS(3)
        : REFLEX_FACTORS);
}
__device__ __forceinline__ void wgmma_16(float (&c)[8][4], const u32 (&a)[4], u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
        "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
        "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35}, %36, 1, 1, 1, 0;"
        : REFLEX_SUMS(0), REFLEX_SUMS(1), REFLEX_SUMS(2), REFLEX_SUMS(3), REFLEX_SUMS(4), REFLEX_SUMS(5),
          REFLEX_SUMS(6), REFLEX_SUMS(7)
        : REFLEX_FACTORS);
}

#undef REFLEX_SUMS
#undef REFLEX_FACTORS

#endif

}  // namespace reflex
