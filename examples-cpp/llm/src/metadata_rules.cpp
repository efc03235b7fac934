#include "metadata_rules.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

namespace llm {
namespace {

// The keys that `read_config` reads.
constexpr std::string_view applied[] = {
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.scale",
    "attention.value_length",
    "expert_count",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
};

// Words in names of keys that change the computation: unless a rule below knows the key, it is refused.
constexpr std::string_view prefixes[] = {"rope.", "attention.", "expert", "moe_", "ssm.",  "wkv.",
                                         "kda.",  "shortconv.", "altup.", "hc_",  "attn_", "residual_"};
constexpr std::string_view parts[] = {"scale", "scaling", "softcap", "clamp", "sliding_window", "alibi"};

// Keys that change nothing when every number in them is one of these two. Writers give 0 where a model has no such thing.
struct neutral_rule {
    std::string_view name;
    double first, second;
};
constexpr neutral_rule rules[] = {
    {"activation_sparsity_scale", 0, 0},
    {"attention.causal", 1, 1},
    {"attention.clamp_kqv", 0, 0},
    {"attention.decay_lora_rank", 0, 0},
    {"attention.gate_lora_rank", 0, 0},
    {"attention.group_norm_groups", 0, 0},
    {"attention.iclr_lora_rank", 0, 0},
    {"attention.indexer.head_count", 0, 0},
    {"attention.indexer.key_length", 0, 0},
    {"attention.indexer.top_k", 0, 0},
    {"attention.key_length_mla", 0, 0},
    {"attention.kv_lora_rank", 0, 0},
    {"attention.max_alibi_bias", 0, 0},
    {"attention.output_scale", 0, 1},
    {"attention.q_lora_rank", 0, 0},
    {"attention.recurrent_layers", 0, 0},
    {"attention.relative_buckets_count", 0, 0},
    {"attention.shared_kv_layers", 0, 0},
    {"attention.temperature_length", 0, 0},
    {"attention.temperature_scale", 0, 0},
    {"attention.value_length_mla", 0, 0},
    {"attention.value_residual_mix_lora_rank", 0, 0},
    {"attn_logit_softcapping", 0, 0},
    {"decoder_block_count", 0, 0},
    {"embedding_length_per_layer_input", 0, 0},
    {"embedding_scale", 0, 1},
    {"expert_chunk_feed_forward_length", 0, 0},
    {"expert_feed_forward_length", 0, 0},
    {"expert_gating_func", 0, 0},
    {"expert_group_count", 0, 0},
    {"expert_group_scale", 0, 1},
    {"expert_group_used_count", 0, 0},
    {"expert_shared_count", 0, 0},
    {"expert_shared_feed_forward_length", 0, 0},
    {"expert_used_count", 0, 0},
    {"expert_weights_norm", 0, 0},
    {"expert_weights_scale", 0, 1},
    {"experts_per_group", 0, 0},
    {"final_logit_softcapping", 0, 0},
    {"full_attention_interval", 0, 1},
    {"interleave_moe_layer_step", 0, 0},
    {"leading_dense_block_count", 0, 0},
    {"logit_scale", 0, 1},
    {"moe_every_n_layers", 0, 0},
    {"moe_latent_size", 0, 0},
    {"n_deepstack_layers", 0, 0},
    {"nextn_predict_layers", 0, 0},
    {"rescale_every_n_layers", 0, 0},
    {"residual_scale", 0, 1},
    {"rope.dimension_sections", 0, 0},
    {"rope.scaling.alpha", 0, 1},
    // Some writers put here what multiplies YaRN's magnitude, others what replaces it: 1 alone means the same in both.
    {"rope.scaling.yarn_attn_factor", 1, 1},
    {"router_logit_softcapping", 0, 0},
    {"swiglu_clamp_exp", 0, 0},
    {"swiglu_clamp_shexp", 0, 0},
    {"swin_norm", 0, 0},
    {"token_shift_count", 0, 0},
    {"use_parallel_residual", 0, 0},
};

bool starts_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

template <typename List>
bool any_in(const List &list, std::string_view name) {
    return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

bool all_are(const gguf_value &value, double first, double second) {
    const auto numbers = value.numbers();
    return numbers &&
           std::all_of(numbers->begin(), numbers->end(), [&](double n) { return n == first || n == second; });
}

class checker {
public:
    checker(const gguf &file, const model_config &config) : file_(file), config_(config) {}

    // Whether the key changes nothing, or is applied.
    bool passes(std::string_view name, const gguf_value &value) const {
        if (any_in(applied, name)) return true;
        if (starts_with(name, "expert") && no_experts()) return true;
        // This key says where the weights come from.
        if (name == "rope.scaling.finetuned") return true;
        if (name == "attention.sliding_window") return window_covers_all(value);
        if (name == "attention.sliding_window_pattern") {
            const gguf_value *window = find("attention.sliding_window");
            return all_are(value, 0, 0) || (window != nullptr && window_covers_all(*window));
        }
        if (name == "attention.key_length_swa" || name == "attention.value_length_swa")
            return all_are(value, 0, config_.head_dim);
        if (name == "rope.dimension_count_swa") return all_are(value, 0, config_.rope.dims);
        if (name == "rope.freq_base_swa") return all_are(value, 0, config_.rope.base);
        // These are of other kinds of norms, which no architecture of the table has.
        if (name == "attention.layer_norm_epsilon" || name == "attention.group_norm_epsilon") return true;
        if (name == "tensor_data_layout")
            return value.type == gguf_type::string &&
                   any_in(std::initializer_list<std::string_view>{"", "reference", "Meta AI original pth"},
                          value.as_string());
        const auto *rule =
            std::find_if(std::begin(rules), std::end(rules), [&](const neutral_rule &r) { return r.name == name; });
        if (rule != std::end(rules)) return all_are(value, rule->first, rule->second);
        return std::none_of(std::begin(prefixes), std::end(prefixes),
                            [&](std::string_view prefix) { return starts_with(name, prefix); }) &&
               std::none_of(std::begin(parts), std::end(parts),
                            [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
    }

private:
    const gguf_value *find(const char *name) const { return file_.find(config_.arch_name + "." + name); }

    bool no_experts() const {
        const gguf_value *count = find("expert_count");
        return count != nullptr && all_are(*count, 0, 0);
    }

    // A window as long as the longest context hides nothing.
    bool window_covers_all(const gguf_value &value) const {
        const auto numbers = value.numbers();
        return numbers && std::all_of(numbers->begin(), numbers->end(),
                                      [this](double n) { return n == 0 || n >= config_.context_length; });
    }

    const gguf &file_;
    const model_config &config_;
};

}  // namespace

void refuse_what_is_not_applied(const gguf &file, const model_config &config) {
    const checker check(file, config);
    const std::string prefix = config.arch_name + ".";
    for (const gguf_value &value : file.values()) {
        if (!starts_with(value.key, prefix) || check.passes(value.key.substr(prefix.size()), value)) continue;
        throw gguf_error("model: " + printable(value.key) + " is " + value.describe() +
                         ": this changes what the model computes, and is not supported");
    }
}

}  // namespace llm
