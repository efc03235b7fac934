// Puts the splits of each query head together, in their order: a block per (sequence, query head). Bound by latency.
#pragma once

#include "attention_decode/args.cuh"
#include "common/reduce.cuh"

namespace reflex {

__device__ __forceinline__ void attention_decode_combine(const attention_decode_args &a) {
    __shared__ float factor[DECODE_SPLITS], scratch[WARP];
    const i32 heads = a.kv_heads * a.group;
    const i32 batch = (i32)(blockIdx.x / (u32)heads), head = (i32)(blockIdx.x % (u32)heads);
    const i32 length = kv_length(a.kv_lengths, batch, a.capacity);
    // Blocks of the splits beyond these wrote nothing.
    const i32 used = decode_used_splits(length, decode_split_keys(length, a.splits));
    if (used <= 1) return;  // y is there already
    const i64 first = (i64)blockIdx.x * a.splits;

    float max = -REFLEX_INF, sum = 0.0f;
    for (i32 s = threadIdx.x; s < used; s += blockDim.x) max = fmaxf(max, a.partial_ml[first + s].x);
    max = block_max(max, scratch);
    for (i32 s = threadIdx.x; s < used; s += blockDim.x) {
        const float2 ml = a.partial_ml[first + s];
        factor[s] = rescale(ml.x, max, a.scale_log2);
        sum += ml.y * factor[s];
    }
    sum = block_sum(sum, scratch);  // its barriers also publish the factors

    char *y = static_cast<char *>(a.y) + batch * a.y_stride.bytes[1] + head * a.y_stride.bytes[2];
    const decode_act_i8_row quantized(a, batch, head);
    for (i32 d = threadIdx.x; d < a.v_dim; d += blockDim.x) {
        float o = 0.0f;
#pragma unroll 8
        for (i32 s = 0; s < used; s++) o = fmaf(factor[s], a.partial[(first + s) * a.v_dim + d], o);
        const float v[1] = {sum == 0.0f ? 0.0f : o / sum};
        // v_dim is then a multiple of 32: whole warps come here.
        if (a.y_type == ACT_I8) act_i8_store<1>(quantized.data, quantized.k, quantized.first + d, v);
        else store1(y, a.y_type, d, v[0]);
    }
}

}  // namespace reflex
