// The rotation of queries and keys as the metadata of a model describes it: base, scaling for longer contexts (linear, YaRN, LongRoPE)
// and factors of single frequencies, brought into the form in which reflex_rope and reflex_attention_decode take it.
#pragma once

#include <cstdint>
#include <vector>

namespace llm {

enum class rope_scaling { none, linear, yarn, longrope };

struct rope_config {
    uint32_t dims;  // leading elements of a head that are rotated
    bool neox;      // rotate (i, i + dims/2); otherwise neighbours (2i, 2i + 1)
    double base;
    rope_scaling scaling;
    double factor;  // by which the context was lengthened: frequencies are divided by it, by YaRN only the low ones
    double attention_factor;    // multiplies cosine and sine
    uint32_t original_context;  // in tokens, before it was lengthened
    // YaRN: frequencies that turn more than beta_fast times within the original context stay, those that turn less than beta_slow
    // times are divided by `factor`; between them lies a ramp. extrapolation says how much of the ramp is applied, 0 is linear scaling.
    double extrapolation, beta_fast, beta_slow;
    double log_multiplier;  // Mistral's mscale_all_dim, 0: absent
};

// What the ops take: angle = position * frequency_scale * base^(-2i/dims) / factors[i], cosine and sine times magnitude.
struct rotation {
    float frequency_scale, magnitude;
    std::vector<float> factors;  // dims/2, or none
};

// `factors` are those of the file for the context of this run, dims/2 of them or none. Throws gguf_error where the result is no
// positive number.
rotation plan_rotation(const rope_config &config, const std::vector<float> &factors);

}  // namespace llm
