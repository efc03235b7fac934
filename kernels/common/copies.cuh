// Copies to shared memory that nobody waits for at once.
#pragma once

#include "common/mma.cuh"

namespace reflex {

// cp_async16 (common/mma.cuh) to an address in shared memory.
__device__ __forceinline__ void cp_async16_at(u32 shared, const void *global, bool valid) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0)
                 : "memory");
#else
    const uint4 w = valid ? *static_cast<const uint4 *>(global) : make_uint4(0, 0, 0, 0);
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(shared), "r"(w.x), "r"(w.y), "r"(w.z), "r"(w.w)
                 : "memory");
#endif
}

// The copies that this thread started since the last group are a group.
__device__ __forceinline__ void cp_async_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// All but the latest N groups have arrived.
template <int N> __device__ __forceinline__ void cp_async_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

}  // namespace reflex
