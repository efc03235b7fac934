// The place and the size of everything that a run keeps on the device, computed before any of it is allocated.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "library_facts.h"
#include "model_file.h"

namespace llm {

// What a run is planned for.
struct run_shape {
    uint32_t context;        // tokens the cache of a sequence holds
    uint32_t batch;          // rows of a prefill step
    uint32_t logit_rows;     // rows whose logits are kept at once
    uint32_t sequences = 1;  // decoded at once, each with a cache of its own
};

// The memory that the weights take.
struct weight_memory {
    uint64_t bytes;    // in device memory, or mapped in memory that the device shares
    uint64_t scratch;  // needed while they are loaded, before anything else is allocated
};

// Steps of decoding that are recorded as one graph beside the graph of a single one.
constexpr uint32_t burst_steps = 8;

// Every buffer starts on a multiple of this. No operand needs more than scratch does.
constexpr uint64_t buffer_alignment = workspace_alignment;
constexpr uint64_t align_up(uint64_t bytes) {
    return (bytes + buffer_alignment - 1) / buffer_alignment * buffer_alignment;
}

// Offsets into one block of device memory. Activations have room for f32, and hold quantised rows, which are smaller, in int8 runs. The
// cache is f16.
struct run_layout {
    // The host writes these. They come first so that one copy of `inputs` bytes brings them all.
    uint64_t ids, positions;  // [batch] i32
    uint64_t drawn;           // [burst_steps, sequences] i32: the tokens that the steps of a burst drew
    uint64_t token;           // [sequences] i32: the token to decode next, the last of these
    // [2, sequences] i32: its position, and the cache's length with it
    uint64_t counters;
    uint64_t inputs;
    uint64_t rope_factors;  // [rope.dims / 2] f32, written once
    // The number of rows is the batch, or the number of sequences if that is larger.
    uint64_t hidden, normed;  // [rows, hidden]
    uint64_t squares;         // [rows, blocks of hidden as ACT_I8]: the sums of squares of a deferred norm
    uint64_t q, attended;     // [rows, heads * head_dim]
    uint64_t k, v;            // [rows, kv_heads * head_dim]
    uint64_t gated;           // [rows, ffn]
    uint64_t activations_end;
    uint64_t logits;      // [logit_rows or sequences, logit_width]
    uint64_t cache;       // layers x (keys, values), each [sequences, context, kv_heads, head_dim]
    uint64_t cache_part;  // bytes of one layer's keys, and of its values
    uint64_t workspace;
    uint64_t end;
};

// `workspace` is the scratch that the ops ask for. A layout without scratch serves to ask them.
run_layout lay_out(const model_config &config, const run_shape &shape, uint64_t workspace);

struct memory_plan {
    run_shape shape;
    run_layout layout;
    weight_memory weights;
    uint64_t cache_per_token;  // for all sequences together

    uint64_t activations() const { return layout.activations_end; }
    uint64_t logits() const { return layout.cache - layout.logits; }
    uint64_t kv_cache() const { return layout.workspace - layout.cache; }
    uint64_t workspace() const { return layout.end - layout.workspace; }
    // The peak: the scratch of loading is freed before the block of the layout is allocated.
    uint64_t total() const { return weights.bytes + std::max(weights.scratch, layout.end); }
};

memory_plan plan_memory(const model_config &config, const weight_memory &weights, const run_shape &shape,
                        uint64_t workspace);

// Bytes of copies of all tensors one after the other, each at an aligned start.
uint64_t copies_bytes(const model_tensors &tensors);

// Bytes that stay free for the driver, the code of kernels and whatever else runs on the device.
uint64_t memory_reserve(uint64_t total_memory);

// The result is empty when the plan fits into `free` bytes. Otherwise it says what does not fit, with the figures and the context that
// would fit.
std::string why_not(const memory_plan &plan, uint64_t free, uint64_t total);

// "2.49 GB" or "860.20 kB": decimal units, as those of memory bandwidth.
std::string bytes_text(uint64_t bytes);

}  // namespace llm
