// What a GGUF file says about its model: hyperparameters, and the tensors by their role, every shape checked against them.
// Nothing here touches a device or copies a weight. What the architectures differ in stands in architectures.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "architectures.h"
#include "gguf.h"
#include "rotation.h"

namespace llm {

struct model_config {
    architecture arch;
    std::string arch_name;  // also the prefix of the metadata keys
    std::string name;
    uint32_t layers, hidden, ffn, heads, kv_heads, head_dim, context_length;
    uint32_t vocab;        // number of tokens; embedding and output may have rows beyond them, which are never drawn
    uint32_t logit_width;  // rows of the output matrix
    rope_config rope;
    float attention_scale;  // multiplies q k^T; 0: 1 / sqrt(head_dim)
    float rms_epsilon;

    uint64_t q_width() const { return uint64_t{heads} * head_dim; }
    uint64_t kv_width() const { return uint64_t{kv_heads} * head_dim; }
};

// Tensors of one decoder layer. Biases and head norms are nullptr where the file has none.
struct layer_tensors {
    const gguf_tensor *attn_norm, *q, *k, *v, *output, *q_bias, *k_bias, *v_bias, *output_bias, *q_norm, *k_norm;
    const gguf_tensor *ffn_norm, *gate, *up, *down;
};

struct model_tensors {
    const gguf_tensor *embedding, *output_norm;
    const gguf_tensor *output;  // the embedding itself when the file ties them
    // They divide the frequencies of the rotation: `rope_factors` always, the other two in contexts up to the original length and
    // beyond it. They are nullptr where the file has none.
    const gguf_tensor *rope_factors, *rope_short, *rope_long;
    std::vector<layer_tensors> layers;
    std::vector<const gguf_tensor *> all;  // every tensor that the device reads, once, in the order of use

    uint64_t bytes() const;
    // Bytes of the weights that one decoded token reads: all but the embedding table, unless that is the output matrix too.
    uint64_t bytes_per_token() const;
};

// Both throw gguf_error for an architecture, feature, type or shape that this engine cannot run. `file` has to outlive the result.
model_config read_config(const gguf &file);
model_tensors find_tensors(const gguf &file, const model_config &config);

// The rotation of a run with a context of so many tokens: LongRoPE has other factors for long contexts.
rotation find_rotation(const model_config &config, const model_tensors &tensors, uint32_t context);

}  // namespace llm
