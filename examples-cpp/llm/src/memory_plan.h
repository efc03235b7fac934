// Where everything that a run keeps on the device lies, and how much that is, computed before any of it is allocated.
#pragma once

#include <cstdint>
#include <string>

#include "model_file.h"

namespace llm {

// What the run is made for.
struct run_shape {
    uint32_t context;     // tokens the cache holds
    uint32_t batch;       // rows of a prefill step
    uint32_t logit_rows;  // rows whose logits are kept at once
};

// Every buffer starts on a multiple of this.
constexpr uint64_t buffer_alignment = 256;
constexpr uint64_t align_up(uint64_t bytes) {
    return (bytes + buffer_alignment - 1) / buffer_alignment * buffer_alignment;
}

// Offsets into one block of device memory. Activations are f32, the cache is f16.
struct run_layout {
    // What the host writes, in front so that one copy of `inputs` bytes brings it all.
    uint64_t ids, positions;   // [batch] i32
    uint64_t token, counters;  // [1], [2] i32: the token to decode next; its position, and the cache's length with it
    uint64_t inputs;
    uint64_t hidden, normed;  // [batch, hidden]
    uint64_t q, attended;     // [batch, heads * head_dim]
    uint64_t k, v;            // [batch, kv_heads * head_dim]
    uint64_t gate, up;        // [batch, ffn]
    uint64_t activations_end;
    uint64_t logits;      // [logit_rows, vocab]
    uint64_t cache;       // layers x (keys, values), each [context, kv_heads, head_dim]
    uint64_t cache_part;  // bytes of one layer's keys, and of its values
    uint64_t workspace;
    uint64_t end;
};

// `workspace` is the scratch that the ops ask for; it can be asked for with a layout that has none.
run_layout lay_out(const model_config &config, const run_shape &shape, uint64_t workspace);

struct memory_plan {
    run_shape shape;
    run_layout layout;
    uint64_t weights;  // in device memory, or mapped in memory that the device shares
    uint64_t cache_per_token;

    uint64_t activations() const { return layout.activations_end; }
    uint64_t logits() const { return layout.cache - layout.logits; }
    uint64_t kv_cache() const { return layout.workspace - layout.cache; }
    uint64_t workspace() const { return layout.end - layout.workspace; }
    uint64_t total() const { return weights + layout.end; }
};

memory_plan plan_memory(const model_config &config, const model_tensors &tensors, const run_shape &shape,
                        uint64_t workspace);

// Kept free for the driver, the kernels' code and whatever else runs on the device.
uint64_t memory_reserve(uint64_t total_memory);

// Empty when the plan fits into `free` bytes; otherwise what does not fit, with the figures and the context that would.
std::string why_not(const memory_plan &plan, uint64_t free, uint64_t total);

// "2.49 GB", "860.20 kB": decimal units, as memory bandwidth is given in.
std::string bytes_text(uint64_t bytes);

}  // namespace llm
