// Tensor cores for f16 and bf16, and what feeds them.
#pragma once

#include "common/tf32.cuh"
#include "common/types.cuh"

namespace reflex {

// c += a b with f32 sums: a is 16x16, b is 16x8, both of type T (F16; BF16 from SM 8.0), two elements a register.
// With g = lane / 4 and t = lane % 4 a lane holds
//   a0 a1 a2 a3: rows g, g+8, g, g+8 of columns 2t 2t+1, 2t 2t+1, 2t+8 2t+9, 2t+8 2t+9
//   b0 b1:       rows 2t 2t+1, 2t+8 2t+9 of column g
//   c0 c1 c2 c3: rows g, g, g+8, g+8 of columns 2t, 2t+1, 2t, 2t+1
template <u32 T> __device__ __forceinline__ void mma_16x8x16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#if __CUDA_ARCH__ >= 800
    if constexpr (T == F16)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    static_assert(T == F16, "Turing multiplies no bf16");
    // Turing has the half of it.
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

// Four 8 x 8 matrices of 16-bit elements, as load_matrices (common/tf32.cuh) takes them, but transposed on the way: lane
// 4 g + t receives rows 2t, 2t+1 of column g of each.
__device__ __forceinline__ void load_matrices_transposed(const void *shared_row, u32 &m0, u32 &m1, u32 &m2, u32 &m3) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m0), "=r"(m1), "=r"(m2), "=r"(m3)
                 : "r"((u32)__cvta_generic_to_shared(shared_row))
                 : "memory");
}

// Copies 16 bytes to shared memory without waiting, or writes zeros; `global` is not read then.
__device__ __forceinline__ void cp_async16(void *shared, const void *global, bool valid) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((u32)__cvta_generic_to_shared(shared)),
                 "l"(global), "r"(valid ? 16 : 0)
                 : "memory");
#else
    *static_cast<uint4 *>(shared) = valid ? *static_cast<const uint4 *>(global) : make_uint4(0, 0, 0, 0);
#endif
}

// Every copy that this thread started so far has arrived. Other threads' copies need a barrier after it.
__device__ __forceinline__ void cp_async_wait_all() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

}  // namespace reflex
