// What a GGUF file says about its model: hyperparameters, and the tensors by their role, every shape checked against them.
// Nothing here touches a device or copies a weight.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gguf.h"

namespace llm {

enum class architecture { llama, qwen2, qwen3 };

struct model_config {
    architecture arch;
    std::string arch_name;  // also the prefix of the metadata keys
    std::string name;
    uint32_t layers, hidden, ffn, heads, kv_heads, head_dim, vocab, context_length;
    uint32_t rope_dims;           // leading dimensions of a head that are rotated
    bool rope_neox;               // rotate (i, i + rope_dims/2); otherwise neighbours (2i, 2i + 1)
    float rope_base, rope_scale;  // positions are divided by rope_scale
    float rms_epsilon;

    uint64_t q_width() const { return uint64_t{heads} * head_dim; }
    uint64_t kv_width() const { return uint64_t{kv_heads} * head_dim; }
};

// Tensors of one decoder layer; biases and the per-head norms may be nullptr.
struct layer_tensors {
    const gguf_tensor *attn_norm, *q, *k, *v, *output, *q_bias, *k_bias, *v_bias, *output_bias, *q_norm, *k_norm;
    const gguf_tensor *ffn_norm, *gate, *up, *down;
};

struct model_tensors {
    const gguf_tensor *embedding, *output_norm;
    const gguf_tensor *output;        // the embedding itself when the file ties them
    const gguf_tensor *rope_factors;  // may be nullptr
    std::vector<layer_tensors> layers;
    std::vector<const gguf_tensor *> all;  // each tensor once, in the order they are used

    uint64_t bytes() const;
    // Bytes of the weights that one decoded token reads: all but the embedding table, unless that is the output matrix too.
    uint64_t bytes_per_token() const;
};

// Throw gguf_error for an architecture, feature, type or shape that this engine cannot run. `file` has to outlive the result.
model_config read_config(const gguf &file);
model_tensors find_tensors(const gguf &file, const model_config &config);

}  // namespace llm
