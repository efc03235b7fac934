// Metadata: what is applied, what is passed over because it changes nothing, and what is refused by name.
#include <cmath>

#include "check.h"
#include "tiny_model.h"

using llm::gguf_error;
using llm::gguf_type;
using test::bytes;
using test::tiny;

namespace {

bool near(double got, double expected) { return std::fabs(got - expected) <= 2e-7 * std::fabs(expected); }

tiny scaled(const char *type, float factor) {
    tiny t;
    t.head_dim = 4;
    t.extra.string("llama.rope.scaling.type", type).f32("llama.rope.scaling.factor", factor);
    return t;
}

void applies_linear_scaling() {
    CHECK(tiny().turned(64).frequency_scale == 1.0f && tiny().turned(64).magnitude == 1.0f &&
          tiny().turned(64).factors.empty());
    CHECK(scaled("linear", 4).turned(64).frequency_scale == 0.25f);
    CHECK(scaled("none", 4).turned(64).frequency_scale == 1.0f);
    tiny bare, old, both, unset, typed;
    bare.extra.f32("llama.rope.scaling.factor", 8);
    old.extra.f32("llama.rope.scale_linear", 8);
    both.extra.f32("llama.rope.scale_linear", 2).f32("llama.rope.scaling.factor", 8);
    unset.extra.f32("llama.rope.scaling.factor", 0).f32("llama.rope.scaling.attn_factor", 0);
    typed.extra.u32("llama.rope.scaling.factor", 8).field("llama.rope.freq_base", gguf_type::f64, bytes().put(5e5));
    CHECK(bare.turned(64).frequency_scale == 0.125f && old.turned(64).frequency_scale == 0.125f &&
          both.turned(64).frequency_scale == 0.125f && typed.turned(64).frequency_scale == 0.125f);
    CHECK(unset.turned(64).frequency_scale == 1.0f && unset.turned(64).magnitude == 1.0f);
    tiny louder;
    louder.extra.f32("llama.rope.scaling.attn_factor", 1.5f);
    CHECK(louder.turned(64).magnitude == 1.5f);
    tiny factors;
    factors.add("rope_freqs.weight", {2});
    CHECK((factors.turned(64, {1, 8}).factors == std::vector<float>{1, 8}));
    // f16: 1, 6e-8 (the least subnormal); bf16: 1, 8.
    const uint16_t halves[] = {0x3C00, 0x0001}, wide[] = {0x3F80, 0x4100};
    float packed;
    std::memcpy(&packed, halves, 4);
    factors.at("rope_freqs.weight").type = 1;
    CHECK((factors.turned(64, {packed}).factors == std::vector<float>{1, 1.0f / 16777216}));
    std::memcpy(&packed, wide, 4);
    factors.at("rope_freqs.weight").type = 30;
    CHECK((factors.turned(64, {packed}).factors == std::vector<float>{1, 8}));
    CHECK_ERROR(gguf_error, factors.turned(64, {0}), "divided by 0.000000, must be a positive number");
}

// The numbers are those of the formula, computed by hand for two pairs: dims 4, base 10000, so that pair 1 turns 100 times slower.
void applies_yarn() {
    tiny t = scaled("yarn", 4);
    t.extra.u32("llama.rope.scaling.original_context_length", 16);
    // 16 / (2 pi) = 2.55 turns of pair 0, 0.0255 of pair 1: 32 turns lie at pair -0.55, so at 0, and 1 turn at 0.203, so at 1.
    const llm::rotation usual = t.turned(64);
    CHECK(usual.frequency_scale == 1.0f && near(usual.magnitude, 0.1 * std::log(4.0) + 1) &&
          usual.factors.size() == 2 && near(usual.factors[0], 1) && near(usual.factors[1], 4));
    tiny half = t;
    half.extra.f32("llama.rope.scaling.yarn_ext_factor", 0.5f);
    CHECK(near(half.turned(64).factors[0], 1 / (0.5 / 4 + 0.5)) && near(half.turned(64).factors[1], 4));
    tiny none = t;
    none.extra.f32("llama.rope.scaling.yarn_ext_factor", 0);
    CHECK(none.turned(64).factors.empty() && none.turned(64).frequency_scale == 0.25f &&
          none.turned(64).magnitude == 1.0f);
    tiny unset = t;
    unset.extra.f32("llama.rope.scaling.yarn_ext_factor", -1);
    CHECK(unset.turned(64).factors == usual.factors);
    // 1e-6 turns lie at pair 3.2, beyond the end: at 3. Pair 1 is on the ramp.
    tiny slow = t;
    slow.extra.f32("llama.rope.scaling.yarn_beta_slow", 1e-6f);
    CHECK(near(slow.turned(64).factors[0], 1) && near(slow.turned(64).factors[1], 1 / (1.0 / 3 / 4 + 2.0 / 3)));
    // 0.01 turns lie at pair 1.203: at 1, so both pairs keep their frequency.
    tiny fast = t;
    fast.extra.f32("llama.rope.scaling.yarn_beta_fast", 0.01f).f32("llama.rope.scaling.yarn_beta_slow", 0.001f);
    CHECK(near(fast.turned(64).factors[0], 1) && near(fast.turned(64).factors[1], 1));
    tiny even = t;
    even.extra.f32("llama.rope.scaling.yarn_log_multiplier", 1);
    CHECK(even.turned(64).magnitude == 1.0f);
    tiny louder = t;
    louder.extra.f32("llama.rope.scaling.attn_factor", 1.5f);
    CHECK(near(louder.turned(64).magnitude, 1.5 * (0.1 * std::log(4.0) + 1)));
    tiny with_factors = t;
    with_factors.add("rope_freqs.weight", {2});
    CHECK(near(with_factors.turned(64, {2, 3}).factors[0], 2) && near(with_factors.turned(64, {2, 3}).factors[1], 12));
    // Without the key the context of the model is the original one.
    CHECK(scaled("yarn", 4).turned(64).factors.size() == 2);
}

void applies_longrope() {
    tiny t;
    t.extra.string("llama.rope.scaling.type", "longrope")
        .u32("llama.rope.scaling.original_context_length", 16)
        .f32("llama.rope.scaling.attn_factor", 1.25f);
    t.add("rope_factors_short.weight", {2}).add("rope_factors_long.weight", {2});
    const std::vector<float> values = {1, 2, 3, 4};
    CHECK((t.turned(16, values).factors == std::vector<float>{1, 2}) && t.turned(16, values).magnitude == 1.25f);
    CHECK((t.turned(17, values).factors == std::vector<float>{3, 4}) && t.turned(17, values).frequency_scale == 1.0f);
    tiny one = t;
    one.remove("rope_factors_long.weight");
    CHECK_ERROR(gguf_error, one.load(), "tensor rope_factors_long.weight is missing");
    tiny factor = t;
    factor.extra.f32("llama.rope.scaling.factor", 4);
    CHECK_ERROR(gguf_error, factor.load(), "llama.rope.scaling.factor is 4");
    tiny other;
    other.add("rope_factors_short.weight", {2});
    CHECK_ERROR(gguf_error, other.load(), "none that this architecture has");
}

// Everything at once that changes nothing.
void passes_over_what_changes_nothing() {
    tiny t;
    t.with_heads = false;
    t.extra.i32s("llama.attention.head_count", {2, 2})
        .i32s("llama.attention.head_count_kv", {1, 1})
        .u32("llama.attention.sliding_window", 0)
        .array("llama.attention.sliding_window_pattern", gguf_type::boolean, 2, bytes().put<uint16_t>(0))
        .f32("llama.attention.max_alibi_bias", 0)
        .f32("llama.attention.clamp_kqv", 0)
        .boolean("llama.attention.causal", 1)
        .f32("llama.attention.scale", 0)
        .f32("llama.attention.layer_norm_epsilon", 1e-5f)
        .u32("llama.attention.value_length", 4)
        .u32("llama.attention.key_length_swa", 4)
        .f32("llama.attn_logit_softcapping", 0)
        .f32("llama.final_logit_softcapping", 0)
        .f32("llama.logit_scale", 1)
        .f32("llama.residual_scale", 0)
        .field("llama.embedding_scale", gguf_type::f64, bytes().put(1.0))
        .u32("llama.expert_count", 0)
        .u32("llama.expert_used_count", 2)
        .f32("llama.expert_weights_scale", 2.5f)
        .u32("llama.ssm_note", 7)
        .i32s("llama.rope.dimension_sections", {0, 0, 0, 0})
        .f32("llama.rope.freq_base", 1e4f)
        .f32("llama.rope.freq_base_swa", 1e4f)
        .u32("llama.rope.dimension_count_swa", 4)
        .boolean("llama.rope.scaling.finetuned", 1)
        .f32("llama.rope.scaling.yarn_attn_factor", 1)
        .boolean("llama.use_parallel_residual", 0)
        .string("llama.tensor_data_layout", "Meta AI original pth")
        .u32("llama.pooling_type", 3)
        .u32("llama.vocab_size", 11)
        .string("llama.note", "whatever")
        .u32("llama.quantisation.version", 2)
        .u32("qwen2.attention.sliding_window", 16)
        .u32("general.name", 7)
        .f32("some.key.of.somebody_scale", 3);
    t.load();
    tiny window;
    window.extra.u32("llama.attention.sliding_window", 64).u32("llama.attention.sliding_window_pattern", 2);
    window.load();
    tiny flags;
    flags.extra.boolean("llama.expert_count", 0)
        .string("llama.rope.scaling.finetuned", "maybe")
        .u32("llama.attention.causal", 1)
        .array("llama.\xC3\xA9", gguf_type::array, 1, bytes().put<uint32_t>(9).put<uint64_t>(0));
    flags.load();
    tiny text_size;
    text_size.extra.string("llama.vocab_size", "eleven");
    text_size.load();
}

void refuses_what_changes_the_computation() {
    const auto refuse = [](const char *part, auto change) {
        tiny t;
        change(t.extra);
        CHECK_ERROR(gguf_error, t.load(), part);
    };
    for (const char *key : {"rope.something",
                            "rope.scaling.something",
                            "rope.scaling.alpha",
                            "rope.scaling.yarn_attn_factor",
                            "rope.freq_base_swa",
                            "rope.dimension_count_swa",
                            "rope.dimension_sections",
                            "attention.something",
                            "attention.sliding_window",
                            "attention.sliding_window_pattern",
                            "attention.max_alibi_bias",
                            "attention.clamp_kqv",
                            "attention.q_lora_rank",
                            "attention.temperature_scale",
                            "attention.temperature_length",
                            "attention.output_scale",
                            "attention.key_length_swa",
                            "attention.shared_kv_layers",
                            "attention.indexer.top_k",
                            "logit_scale",
                            "residual_scale",
                            "embedding_scale",
                            "attention_scale",
                            "my_own_scale",
                            "embedding.scale",
                            "attn_logit_softcapping",
                            "final_logit_softcapping",
                            "some_softcap",
                            "expert_used_count",
                            "expert_shared_count",
                            "expert_weights_norm",
                            "ssm.state_size",
                            "wkv.head_size",
                            "kda.head_dim",
                            "shortconv.l_cache",
                            "altup.num_inputs",
                            "nextn_predict_layers",
                            "leading_dense_block_count",
                            "use_parallel_residual",
                            "full_attention_interval",
                            "swiglu_clamp_exp",
                            "rescale_every_n_layers",
                            "embedding_length_per_layer_input"}) {
        const std::string name = std::string("llama.") + key;
        refuse((name + " is 3: this changes what the model computes").c_str(), [&](auto &b) { b.f32(name, 3); });
        refuse((name + " is [0, 3]: this").c_str(), [&](auto &b) { b.i32s(name, {0, 3}); });
        refuse((name + " is \"yes\": this").c_str(), [&](auto &b) { b.string(name, "yes"); });
    }
    refuse("llama.attention.causal is 0: this", [](auto &b) { b.boolean("llama.attention.causal", 0); });
    refuse("llama.tensor_data_layout is \"other\"", [](auto &b) { b.string("llama.tensor_data_layout", "other"); });
    refuse("mixtures of experts", [](auto &b) { b.boolean("llama.expert_count", 1); });
    refuse("mixtures of experts", [](auto &b) { b.i32s("llama.expert_count", {8, 8}); });
    refuse("head_count_kv_window", [](auto &b) { b.u32("llama.attention.head_count_kv_window", 3); });
    refuse("values that differ from layer to layer", [](auto &b) { b.i32s("llama.attention.key_length", {4, 8}); });
    // A norm with a guessed epsilon would be another one, and nobody would notice.
    tiny bare;
    bare.with_epsilon = false;
    CHECK_ERROR(gguf_error, bare.load(), "\"llama.attention.layer_norm_rms_epsilon\" is missing");
    bare.extra.f32("llama.attention.layer_norm_epsilon", 1e-5f);
    CHECK_ERROR(gguf_error, bare.load(), "\"llama.attention.layer_norm_rms_epsilon\" is missing");
    bare.extra.f32("llama.attention.layer_norm_rms_epsilon", 0);
    CHECK_ERROR(gguf_error, bare.load(), "must be a positive number");
    refuse("must be a positive number", [](auto &b) { b.f32("llama.attention.scale", -1); });
    refuse("must be a positive number", [](auto &b) { b.f32("llama.rope.scaling.factor", -4); });
    refuse("must be a positive number", [](auto &b) { b.f32("llama.rope.scaling.factor", __builtin_inff()); });
    refuse("must be at least 1", [](auto &b) { b.f32("llama.rope.freq_base", 0.5f); });
    refuse("must be at most 1", [](auto &b) { b.f32("llama.rope.scaling.yarn_ext_factor", 2); });
    refuse("which YaRN scaling cannot be applied to",
           [](auto &b) { b.f32("llama.rope.freq_base", 1).string("llama.rope.scaling.type", "yarn"); });
}

void counts_the_vocabulary() {
    tiny t;
    t.at("token_embd.weight").shape = {8, 12};
    t.add("output.weight", {8, 16});
    t.extra.strings("tokenizer.ggml.tokens", std::vector<std::string>(10, "x")).u32("llama.vocab_size", 12);
    const std::vector<uint8_t> file = t.file();
    const llm::gguf parsed(file.data(), file.size());
    const llm::model_config c = llm::read_config(parsed);
    CHECK(c.vocab == 10 && c.logit_width == 16);
    CHECK(llm::find_tensors(parsed, c).embedding->shape[1] == 12);
    t.at("output.weight").shape = {8, 9};
    CHECK_ERROR(gguf_error, t.load(), "output.weight F32 [8, 9] has fewer rows than the vocabulary has tokens, 10");
}

void takes_plain_vectors_of_any_type() {
    for (const uint32_t type : {0u, 1u, 30u}) {
        tiny t;
        t.arch = "qwen2";
        for (const char *name : {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"})
            t.at(name).type = type;
        t.add("blk.0.attn_q.bias", {8}, type).add("rope_freqs.weight", {2}, type);
        t.load();
    }
}

void says_what_is_no_model() {
    const auto refuse = [](const char *part, auto change) {
        tiny t;
        change(t);
        CHECK_ERROR(gguf_error, t.load(), part);
    };
    refuse("is a LoRA adapter, not a model",
           [](tiny &t) { t.extra.string("general.type", "adapter").string("adapter.type", "lora"); });
    refuse("is a LoRA adapter, not a model", [](tiny &t) { t.add("blk.0.attn_q.weight.lora_a", {8, 8}); });
    refuse("is a model's adapter, not a model", [](tiny &t) { t.extra.string("general.type", "adapter"); });
    refuse("projector of a multimodal model", [](tiny &t) { t.arch = "clip"; });
    refuse("projector of a multimodal model", [](tiny &t) { t.extra.string("general.type", "mmproj"); });
    refuse("importance matrix", [](tiny &t) { t.extra.string("general.type", "imatrix"); });
    refuse("control vector, not a model", [](tiny &t) { t.arch = "controlvector"; });
    refuse("of type \"dataset\", not a model", [](tiny &t) { t.extra.string("general.type", "dataset"); });
    refuse("has no tensors", [](tiny &t) { t.tensors.clear(); });
    refuse("a vocab-only file", [](tiny &t) {
        t.tensors.clear();
        t.extra.strings("tokenizer.ggml.tokens", {"a"});
    });
    tiny plain;
    plain.extra.string("general.type", "model");
    plain.load();
}

}  // namespace

int main() {
    applies_linear_scaling();
    applies_yarn();
    applies_longrope();
    passes_over_what_changes_nothing();
    refuses_what_changes_the_computation();
    counts_the_vocabulary();
    takes_plain_vectors_of_any_type();
    says_what_is_no_model();
    return test::summary();
}
