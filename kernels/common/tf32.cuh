// Matrix fragments in TF32 (8-bit exponent, 10-bit mantissa): the tensor-core type with the range of f32. SM 8.0 or later.
#pragma once

#include "common/types.cuh"

namespace reflex {

// Rounds to nearest, ties away from zero.
__device__ __forceinline__ u32 to_tf32(float v) {
    u32 bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
    return bits;
}

// Four 8 x 8 matrices of 16-bit elements, which are 8 x 4 of 32-bit ones: lanes 8 i to 8 i + 7 give the addresses of the
// rows of matrix i; lane 4 r + c receives word c of row r of each.
__device__ __forceinline__ void load_matrices(const void *shared_row, u32 &m0, u32 &m1, u32 &m2, u32 &m3) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m0), "=r"(m1), "=r"(m2), "=r"(m3)
                 : "r"((u32)__cvta_generic_to_shared(shared_row)));
}

// d[16][8] += a[16][8] * b[8][8]. With g = lane / 4 and t = lane % 4: a holds (g, t), (g + 8, t), (g, t + 4),
// (g + 8, t + 4); b holds (t, g), (t + 4, g); d holds (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
__device__ __forceinline__ void mma_tf32(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace reflex
