// Asks for what a launch will read once it may: weights that are read once in a token have left L2. A prefetch reads nothing that
// could be old, so it may come before pdl_wait().
#pragma once

namespace reflex {

__device__ __forceinline__ void prefetch_l2(const void *p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }

}  // namespace reflex
