// Products of a warpgroup whose factors lie in shared memory with 128-byte swizzle (SM 9.0a): rows of 64 16-bit elements, whose
// chunk c of 16 bytes lies at c ^ (row % 8), in blocks of 64 columns. Eight rows are 1,024 bytes, to which blocks are aligned.
#pragma once

#include "common/wgmma.cuh"

namespace reflex {

// The byte of chunk c of a row, where a block of 64 columns has `rows` rows.
__device__ __forceinline__ u32 swizzled_chunk(i32 rows, i32 row, i32 c) {
    return c / 8 * (rows * 128) + row * 128 + ((c & 7) ^ (row & 7)) * 16;
}

#if REFLEX_WGMMA

// Writes to shared memory that this thread made become visible to products; a barrier makes them so for other threads' products.
__device__ __forceinline__ void wgmma_publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// A factor in swizzled blocks. `columns` is the distance of blocks, which a factor whose columns are summed over does not need.
__device__ __forceinline__ u64 wgmma_swizzled(u32 shared, u32 columns) {
    return (u64)((shared & 0x3ffff) >> 4) | (u64)(columns >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

#define REFLEX_SUM(kind, n) kind(c[n][0]), kind(c[n][1]), kind(c[n][2]), kind(c[n][3])
#define REFLEX_SUMS_2(kind, n) REFLEX_SUM(kind, n), REFLEX_SUM(kind, n + 1)
#define REFLEX_SUMS_4(kind, n) REFLEX_SUMS_2(kind, n), REFLEX_SUMS_2(kind, n + 2)
#define REFLEX_SUMS_8(kind, n) REFLEX_SUMS_4(kind, n), REFLEX_SUMS_4(kind, n + 4)
#define REFLEX_SUMS_16(kind, n) REFLEX_SUMS_8(kind, n), REFLEX_SUMS_8(kind, n + 8)
#define REFLEX_COLUMNS_48(kind) REFLEX_SUMS_4(kind, 0), REFLEX_SUMS_2(kind, 4)
#define REFLEX_COLUMNS_64(kind) REFLEX_SUMS_8(kind, 0)
#define REFLEX_COLUMNS_96(kind) REFLEX_SUMS_8(kind, 0), REFLEX_SUMS_4(kind, 8)
#define REFLEX_COLUMNS_128(kind) REFLEX_SUMS_16(kind, 0)
#define REFLEX_COLUMNS_256(kind) REFLEX_SUMS_16(kind, 0), REFLEX_SUMS_16(kind, 16)
#define REFLEX_NAMES_24 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23"
#define REFLEX_NAMES_32 REFLEX_NAMES_24 ",%24,%25,%26,%27,%28,%29,%30,%31"
#define REFLEX_NAMES_48 REFLEX_NAMES_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define REFLEX_NAMES_64 REFLEX_NAMES_48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define REFLEX_NAMES_96                                                                                \
    REFLEX_NAMES_64                                                                                    \
    ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87" \
    ",%88,%89,%90,%91,%92,%93,%94,%95"
#define REFLEX_NAMES_128                                                                                         \
    REFLEX_NAMES_96                                                                                              \
    ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117" \
    ",%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

// c += a b, or c = a b where FIRST: a has 64 rows and b, transposed, N, of 16 columns that are summed over.
template <u32 T, int N, bool FIRST> struct wgmma_rows_by_rows;
#define REFLEX_ROWS_BY_ROWS(T, type, N, names, a, b)                                                                   \
    template <bool FIRST> struct wgmma_rows_by_rows<T, N, FIRST> {                                                     \
        static __device__ __forceinline__ void add(float (&c)[N / 8][4], u64 x, u64 y) {                               \
            if constexpr (FIRST)                                                                                       \
                asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" names "}, " a ", " b \
                             ", 0, 1, 1, 0, 0;"                                                                        \
                             : REFLEX_COLUMNS_##N("=f")                                                                \
                             : "l"(x), "l"(y));                                                                        \
            else                                                                                                       \
                asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" names "}, " a ", " b \
                             ", 1, 1, 1, 0, 0;"                                                                        \
                             : REFLEX_COLUMNS_##N("+f")                                                                \
                             : "l"(x), "l"(y));                                                                        \
        }                                                                                                              \
    };
#define REFLEX_BOTH_TYPES(define, ...) define(F16, "f16", __VA_ARGS__) define(BF16, "bf16", __VA_ARGS__)
REFLEX_BOTH_TYPES(REFLEX_ROWS_BY_ROWS, 48, REFLEX_NAMES_24, "%24", "%25")
REFLEX_BOTH_TYPES(REFLEX_ROWS_BY_ROWS, 96, REFLEX_NAMES_48, "%48", "%49")
REFLEX_BOTH_TYPES(REFLEX_ROWS_BY_ROWS, 128, REFLEX_NAMES_64, "%64", "%65")

// c += a b: a has this warpgroup's 64 rows in registers, as mma_16x8x16 has them, and b 16 rows of N columns.
template <u32 T, int N> struct wgmma_registers_by_columns;
#define REFLEX_REGISTERS_BY_COLUMNS(T, type, N, names, a, b)                                                         \
    template <> struct wgmma_registers_by_columns<T, N> {                                                            \
        static __device__ __forceinline__ void add(float (&c)[N / 8][4], const u32 (&x)[4], u64 y) {                 \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" names "}, {" a "}, " b \
                         ", 1, 1, 1, 1;"                                                                             \
                         : REFLEX_COLUMNS_##N("+f")                                                                  \
                         : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "l"(y));                                      \
        }                                                                                                            \
    };
REFLEX_BOTH_TYPES(REFLEX_REGISTERS_BY_COLUMNS, 64, REFLEX_NAMES_32, "%32,%33,%34,%35", "%36")
REFLEX_BOTH_TYPES(REFLEX_REGISTERS_BY_COLUMNS, 128, REFLEX_NAMES_64, "%64,%65,%66,%67", "%68")
REFLEX_BOTH_TYPES(REFLEX_REGISTERS_BY_COLUMNS, 256, REFLEX_NAMES_128, "%128,%129,%130,%131", "%132")

#undef REFLEX_SUM
#undef REFLEX_SUMS_2
#undef REFLEX_SUMS_4
#undef REFLEX_SUMS_8
#undef REFLEX_SUMS_16
#undef REFLEX_COLUMNS_48
#undef REFLEX_COLUMNS_64
#undef REFLEX_COLUMNS_96
#undef REFLEX_COLUMNS_128
#undef REFLEX_COLUMNS_256
#undef REFLEX_NAMES_24
#undef REFLEX_NAMES_32
#undef REFLEX_NAMES_48
#undef REFLEX_NAMES_64
#undef REFLEX_NAMES_96
#undef REFLEX_NAMES_128
#undef REFLEX_ROWS_BY_ROWS
#undef REFLEX_REGISTERS_BY_COLUMNS
#undef REFLEX_BOTH_TYPES

#endif

}  // namespace reflex
