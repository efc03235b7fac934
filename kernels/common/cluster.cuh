// Thread block clusters (SM 9.0 on): blocks that run at the same time and read each other's shared memory. Code for older
// GPUs is never launched as one.
#pragma once

#include "common/types.cuh"

namespace reflex {

// 1 where a launch has no clusters.
__device__ __forceinline__ u32 cluster_blocks() {
    u32 n = 1;
#if __CUDA_ARCH__ >= 900
    asm volatile("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(n));
#endif
    return n;
}

__device__ __forceinline__ u32 cluster_rank() {
    u32 n = 0;
#if __CUDA_ARCH__ >= 900
    asm volatile("mov.u32 %0, %%cluster_ctaid.x;" : "=r"(n));
#endif
    return n;
}

// All threads of the cluster's blocks, but for blocks that have ended. What was written to shared memory before can be
// read from other blocks after. A block that others still read from must not end before a second one of these.
__device__ __forceinline__ void cluster_sync() {
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "barrier.cluster.arrive.release.aligned;\n\t"
        "barrier.cluster.wait.acquire.aligned;" ::
            : "memory");
#endif
}

// The last one of a block whose shared memory others read: orders nothing, but that all have read by then.
__device__ __forceinline__ void cluster_leave() {
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "barrier.cluster.arrive.relaxed.aligned;\n\t"
        "barrier.cluster.wait.aligned;" ::
            : "memory");
#endif
}

// The address of this block's `p` in the shared memory of another block of the cluster.
__device__ __forceinline__ u32 cluster_address(const void *p, u32 rank) {
    u32 address = (u32)__cvta_generic_to_shared(p);
#if __CUDA_ARCH__ >= 900
    asm volatile("mapa.shared::cluster.u32 %0, %0, %1;" : "+r"(address) : "r"(rank));
#endif
    return address;
}

__device__ __forceinline__ float4 cluster_load4(u32 address) {
    float4 v = {};
#if __CUDA_ARCH__ >= 900
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(address));
#endif
    return v;
}

__device__ __forceinline__ float2 cluster_load2(u32 address) {
    float2 v = {};
#if __CUDA_ARCH__ >= 900
    asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(address));
#endif
    return v;
}

}  // namespace reflex
