// Activation function of a gate, times an optional second operand: y = f(gate) * up.
//
// Layout: rows of `n` contiguous elements; up to three outer dimensions with strides of their own, so that gate and up
// may be the halves of a merged buffer. `chunks` neighbouring blocks share a row; a thread takes N elements. Bound by
// memory.
#pragma once

#include "common/act_i8.cuh"

namespace reflex {

// The numbers of REFLEX_ACTIVATION_*.
enum activation_kind : u32 { SILU = 0, GELU_TANH = 1, GELU_ERF = 2 };

struct activation_args {
    const void *gate, *up;  // up may be NULL
    void *y;
    row_stride gate_stride, up_stride, y_stride;
    i32 extent1, extent2;  // inner outer dimensions
    i32 n, chunks;
    u32 gate_type, up_type, y_type;
    u32 kind;
};
REFLEX_ARGS_LAYOUT(activation_args, 128, kind, 124);

// x / (1 + e^-z), by the exponential that does not overflow. The divisor is between 1 and 2: a division for that range alone, off by two
// units in the last place at most, has no branch.
__device__ __forceinline__ float activation_logistic(float x, float z) {
    const float t = expf(-fabsf(z));
    return x * __fdividef(z >= 0.0f ? 1.0f : t, 1.0f + t);
}

// One branch for all: elements do not wait for one another.
template <int N> __device__ __forceinline__ void activation_values(float (&v)[N], u32 kind) {
    // Down there every function is 0 in f32; minus infinity itself would become NaN. NaN passes the comparison.
#pragma unroll
    for (int k = 0; k < N; k++) v[k] = v[k] < -200.0f ? -200.0f : v[k];
    if (kind == SILU) {
#pragma unroll
        for (int k = 0; k < N; k++) v[k] = activation_logistic(v[k], v[k]);
    } else if (kind == GELU_TANH) {
        // (1 + tanh u) / 2 is the logistic function of 2 u: no cancellation for negative x.
#pragma unroll
        for (int k = 0; k < N; k++)
            v[k] = activation_logistic(v[k], 1.5957691216057308f * v[k] * fmaf(0.044715f * v[k], v[k], 1.0f));
    } else {
#pragma unroll
        for (int k = 0; k < N; k++) v[k] = 0.5f * v[k] * erfcf(-0.70710678118654752f * v[k]);
    }
}

__device__ __forceinline__ float activation_value(float x, u32 kind) {
    float v[1] = {x};
    activation_values(v, kind);
    return v[0];
}

template <int N> __device__ __forceinline__ void activation(const activation_args &a) {
    const u32 row = blockIdx.x / (u32)a.chunks, chunk = blockIdx.x % (u32)a.chunks;
    const i32 i = (i32)(chunk * blockDim.x + threadIdx.x) * N;
    if (i - (i32)(threadIdx.x % WARP) * N >= a.n) return;  // whole warps, which ACT_I8 wants
    const row_index index(row, a.extent1, a.extent2);
    float v[N] = {};
    if (i < a.n) {
        load_n<N>(static_cast<const char *>(a.gate) + index.offset(a.gate_stride), a.gate_type, i, v);
        float up[N];
        if (a.up) load_n<N>(static_cast<const char *>(a.up) + index.offset(a.up_stride), a.up_type, i, up);
        activation_values(v, a.kind);
#pragma unroll
        for (int k = 0; k < N; k++)
            if (a.up) v[k] *= up[k];
    }
    store_activations<N>(static_cast<char *>(a.y) + index.offset(a.y_stride), a.y_type, a.n, i, v, i < a.n);
}

}  // namespace reflex
