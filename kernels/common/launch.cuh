// Programmatic dependent launch (SM 9.0 on): a kernel that declares itself `dependent()` in src/ops may become resident
// while the launch before it still runs, which hides its start. Two rules make that safe.
//
// - Every block of such a kernel calls pdl_wait() before it reads what an earlier launch may have written, and before it
//   writes anything: also a block that turns out to have no work, since the launch after this one relies on it.
// - What an earlier launch may have written is never read with ld.global.nc (load_stream): for that, memory must not
//   change while the kernel is resident.
//
// Code for older GPUs has no such wait and is launched without the attribute, whatever it runs on.
#pragma once

#include "common/types.cuh"

namespace reflex {

// Until all earlier launches of the stream are complete and what they wrote can be seen. A compiler barrier, too.
__device__ __forceinline__ void pdl_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next launch become resident once every block has come here. It waits for this one to end, which waits for those
// in front: before pdl_wait() is early enough to hide the start of two launches. A kernel that needs the SMs for itself
// comes here later.
__device__ __forceinline__ void pdl_launch_dependents() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// How a kernel begins that has nothing to do before its operands are there. Here and not further down, so that no block
// leaves before it.
__device__ __forceinline__ void pdl_begin() {
    pdl_launch_dependents();
    pdl_wait();
}

}  // namespace reflex
