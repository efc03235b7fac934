// Memory accesses that C++ has no words for.
#pragma once

#include "common/types.cuh"

namespace reflex {

// Sixteen bytes that are read once by the whole grid, from a 16-byte aligned address: they do not push what is reused
// out of L1. Of memory that no launch writes, such as weights.
__device__ __forceinline__ uint4 load_stream(const void *p) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(__cvta_generic_to_global(p)));
    return v;
}

// The same of memory that the launch before may have written (see launch.cuh), such as a cache of keys and values.
__device__ __forceinline__ uint4 load_once(const void *p) {
    uint4 v;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(__cvta_generic_to_global(p)));
    return v;
}

}  // namespace reflex
