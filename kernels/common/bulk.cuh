// Copies to shared memory that one thread starts for all (SM 9.0 on), and the barriers in shared memory that they arrive at.
#pragma once

#include "common/types.cuh"

namespace reflex {

#if __CUDA_ARCH__ >= 900

// A phase ends when `arrivals` threads, and as many bytes as were announced, have arrived. The first phase is 0, the next 1,
// then 0 again.
__device__ __forceinline__ void barrier_start(u64 *barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"((u32)__cvta_generic_to_shared(barrier)), "r"(arrivals)
                 : "memory");
}
// Barriers that this thread started are there for copies; for other threads after they have met.
__device__ __forceinline__ void barriers_publish() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void barrier_arrive(u64 *barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"((u32)__cvta_generic_to_shared(barrier)) : "memory");
}
// Arrives, and announces bytes.
__device__ __forceinline__ void barrier_expect(u64 *barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"((u32)__cvta_generic_to_shared(barrier)),
                 "r"(bytes)
                 : "memory");
}
// Until the phase has ended.
__device__ __forceinline__ void barrier_wait(u64 *barrier, u32 phase) {
    asm volatile(
        "{ .reg .pred done;\n"
        "again%=: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra again%=; }" ::"r"((u32)__cvta_generic_to_shared(barrier)),
        "r"(phase)
        : "memory");
}

// `bytes` and both addresses are multiples of 16. The bytes arrive at the barrier.
__device__ __forceinline__ void bulk_copy(void *shared, const void *global, u32 bytes, u64 *barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     (u32)__cvta_generic_to_shared(shared)),
                 "l"(global), "r"(bytes), "r"((u32)__cvta_generic_to_shared(barrier))
                 : "memory");
}

#endif

}  // namespace reflex
