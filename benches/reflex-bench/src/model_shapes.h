// The sizes of known models, from which the ops get their shapes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <reflex/infer.h>

namespace bench {

struct model_shapes {
    std::string name;
    int64_t hidden, ffn, vocab;
    int64_t heads, kv_heads, head_dim;
    bool qk_norm;
    reflex_activation_kind activation;
    float rope_base;

    int64_t q_width() const { return heads * head_dim; }
    int64_t kv_width() const { return kv_heads * head_dim; }
};

// More rows than this are never asked of what runs once a step: head, argmax, sample.
constexpr int64_t most_logit_rows = 64;

inline const std::vector<model_shapes> &all_model_shapes() {
    static const std::vector<model_shapes> all = {
        {"qwen3-4b", 2560, 9728, 151936, 32, 8, 128, true, REFLEX_ACTIVATION_SILU, 1e6f},
        {"llama3-8b", 4096, 14336, 128256, 32, 8, 128, false, REFLEX_ACTIVATION_SILU, 5e5f},
        {"gemma3-4b", 2560, 10240, 262208, 8, 4, 256, true, REFLEX_ACTIVATION_GELU_TANH, 1e6f},
        // No model: small enough to try every case on a CPU.
        {"tiny", 256, 512, 1024, 4, 2, 64, true, REFLEX_ACTIVATION_SILU, 1e4f},
    };
    return all;
}

inline const model_shapes *find_model_shapes(const std::string &name) {
    for (const model_shapes &shapes : all_model_shapes()) {
        if (shapes.name == name) return &shapes;
    }
    return nullptr;
}

// What weights are measured as unless --dtype says otherwise: the formats most models are stored in.
inline const std::vector<reflex_dtype> &usual_weight_dtypes() {
    static const std::vector<reflex_dtype> usual = {REFLEX_DTYPE_Q4_K, REFLEX_DTYPE_Q5_K, REFLEX_DTYPE_Q6_K,
                                                    REFLEX_DTYPE_Q8_0, REFLEX_DTYPE_Q4_0, REFLEX_DTYPE_F16,
                                                    REFLEX_DTYPE_BF16, REFLEX_DTYPE_F32};
    return usual;
}

// What a weight can be stored as.
inline const std::vector<reflex_dtype> &weight_dtypes() {
    static const std::vector<reflex_dtype> all = [] {
        std::vector<reflex_dtype> out = usual_weight_dtypes();
        // Every block format that the library has: these are 0x100 + ggml's number.
        for (uint32_t ggml = 0; ggml < 0x100; ++ggml) {
            const reflex_dtype dtype = reflex_dtype_from_ggml(ggml);
            if (dtype == 0x100 + ggml && std::find(out.begin(), out.end(), dtype) == out.end()) out.push_back(dtype);
        }
        return out;
    }();
    return all;
}

}  // namespace bench
