// Integer tensor cores: bytes times signed bytes, 32-bit sums.
#pragma once

#include "common/types.cuh"

namespace reflex {

// c += a b: a is 16 x 16 of bytes (signed or not), b is 16 x 8 of signed bytes, four elements a register, first at the lowest
// bits. With g = lane / 4 and t = lane % 4 a lane holds
//   a0 a1:     rows g, g + 8, columns 4t..4t+3      b: rows 4t..4t+3 of column g
//   c[0] c[1]: row g, columns 2t, 2t+1              c[2] c[3]: row g + 8
template <bool SIGNED>
__device__ __forceinline__ void mma_16x8x16(i32 (&c)[4], u32 a0, u32 a1, u32 b) {
#if __CUDA_ARCH__ >= 800
    if constexpr (SIGNED)
        asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
            : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
            : "r"(a0), "r"(a1), "r"(b));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
            : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
            : "r"(a0), "r"(a1), "r"(b));
#else
    // Turing multiplies eight rows at a time.
    if constexpr (SIGNED) {
        asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
            : "+r"(c[0]), "+r"(c[1])
            : "r"(a0), "r"(b));
        asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
            : "+r"(c[2]), "+r"(c[3])
            : "r"(a1), "r"(b));
    } else {
        asm("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
            : "+r"(c[0]), "+r"(c[1])
            : "r"(a0), "r"(b));
        asm("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
            : "+r"(c[2]), "+r"(c[3])
            : "r"(a1), "r"(b));
    }
#endif
}

// The same with twice the depth: a[2] a[3] are columns 16+4t.. of the two rows, b1 rows 16+4t...
template <bool SIGNED>
__device__ __forceinline__ void mma_16x8x32(i32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#if __CUDA_ARCH__ >= 800
    if constexpr (SIGNED)
        asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    mma_16x8x16<SIGNED>(c, a[0], a[1], b0);
    mma_16x8x16<SIGNED>(c, a[2], a[3], b1);
#endif
}

}  // namespace reflex
