// Hyperparameters, tensor roles and the memory plan. Usage: model_file_test MODEL.gguf
#include "model_file.h"
#include "check.h"
#include "mapped_file.h"
#include "memory_plan.h"
#include "tiny_model.h"

using llm::gguf;
using llm::gguf_error;
using test::tiny;

namespace {

void reads_the_fixture(const char *path) {
    const llm::mapped_file mapped(path);
    const gguf file(mapped.data(), mapped.size());
    const llm::model_config c = llm::read_config(file);
    CHECK(c.arch == llm::architecture::qwen3 && c.layers == 6 && c.hidden == 256 && c.ffn == 768 && c.heads == 8 &&
          c.kv_heads == 2 && c.head_dim == 64 && c.vocab == 4096 && c.context_length == 512);
    CHECK(c.rope.neox && c.rope.dims == 64 && c.rope.base == 1e6 && c.rope.factor == 1 && c.rms_epsilon == 1e-6f);
    CHECK(c.q_width() == 512 && c.kv_width() == 128);
    const llm::model_tensors t = llm::find_tensors(file, c);
    CHECK(t.layers.size() == 6 && t.all.size() == 68 && t.output == t.embedding && t.rope_factors == nullptr &&
          t.layers[0].q_norm != nullptr && t.layers[0].q_bias == nullptr);
    CHECK(t.bytes_per_token() == t.bytes());

    const llm::memory_plan plan = llm::plan_memory(c, {llm::copies_bytes(t), 0}, {512, 512, 1}, 1000);
    CHECK(plan.weights.bytes >= t.bytes() && plan.weights.bytes < t.bytes() + 68 * 256);
    CHECK(plan.kv_cache() == 6ull * 512 * 128 * 2 * 2);
    CHECK(plan.logits() == 4096 * 4 && plan.workspace() == 1024);
    CHECK(llm::why_not(plan, 4ull << 30, 8ull << 30).empty());
    const uint64_t reserve = llm::memory_reserve(8ull << 30);
    CHECK(llm::why_not(plan, plan.total() + reserve, 8ull << 30).empty());
    const std::string refusal = llm::why_not(plan, plan.total() + reserve - 1, 8ull << 30);
    CHECK(refusal.find("--ctx 448 would fit") != std::string::npos && refusal.find("weights") != std::string::npos);
    CHECK(llm::why_not(plan, 1000, 8ull << 30).find("the weights alone are too large") != std::string::npos);
    // Scratch of loading is gone before the rest is there.
    CHECK(llm::plan_memory(c, {1000, 100}, {512, 512, 1}, 0).total() == 1000 + plan.layout.end - 1024);
    CHECK(llm::plan_memory(c, {1000, 1ull << 30}, {512, 512, 1}, 0).total() == 1000 + (1ull << 30));
    // A cache, a token, counters and logits for each sequence; more of them than the batch need more rows.
    const llm::memory_plan many = llm::plan_memory(c, {0, 0}, {512, 4, 1, 8}, 0);
    CHECK(many.kv_cache() == 8 * plan.kv_cache() && many.cache_per_token == 8 * plan.cache_per_token &&
          many.logits() == 8 * plan.logits() && many.layout.squares - many.layout.normed == 8ull * 256 * 4 &&
          many.layout.q - many.layout.squares == 8ull * 256 / 32 * 4);
    CHECK(llm::act_i8_row_bytes(64) == 80 && llm::act_i8_row_bytes(32) == 48 && llm::act_i8_row_bytes(2560) == 3200);
    CHECK(llm::bytes_text(999) == "999 B" && llm::bytes_text(2490000000) == "2.49 GB");
}

void reads_the_variants() {
    tiny().load();
    tiny llama;
    llama.add("output.weight", {8, 10})
        .add("rope_freqs.weight", {2})
        .extra.u32("llama.rope.dimension_count", 4)
        .f32("llama.rope.freq_base", 500000);
    const std::vector<uint8_t> bytes = llama.file();
    const gguf file(bytes.data(), bytes.size());
    const llm::model_config c = llm::read_config(file);
    CHECK(!c.rope.neox && c.head_dim == 4 && c.rope.base == 500000 && c.rms_epsilon == 1e-5f);
    const llm::model_tensors t = llm::find_tensors(file, c);
    CHECK(t.output != t.embedding && t.rope_factors != nullptr && t.bytes_per_token() == t.bytes() - 320);

    tiny qwen2;
    qwen2.arch = "qwen2";
    qwen2.add("blk.0.attn_q.bias", {8}).add("blk.0.attn_k.bias", {4}).add("blk.0.attn_v.bias", {4});
    qwen2.load();
}

void refuses() {
    const auto refuse = [](const char *part, auto change) {
        tiny t;
        change(t);
        CHECK_ERROR(gguf_error, t.load(), part);
    };
    refuse("only llama, qwen2 and qwen3", [](tiny &t) { t.arch = "gemma3"; });
    refuse("\"llama.feed_forward_length\" is missing", [](tiny &t) { t.with_ffn = false; });
    refuse("must be 1 to", [](tiny &t) { t.hidden = 0; });
    refuse("must be 1 to", [](tiny &t) { t.hidden = 0xFFFFFFFF; });
    refuse("must be 1 to", [](tiny &t) { t.layers = 100000; });
    refuse("must be 1 to", [](tiny &t) { t.heads = 0; });
    refuse("not a multiple of head_count_kv", [](tiny &t) { t.kv_heads = 3; });
    refuse("not a multiple of head_count 3", [](tiny &t) { t.heads = 3; });
    refuse("must have shape [8, 8]", [](tiny &t) { t.at("blk.0.attn_q.weight").shape = {8, 16}; });
    refuse("must have shape [8, 8]", [](tiny &t) { t.at("blk.0.attn_q.weight").shape = {8, 8, 2}; });
    refuse("must have shape [8, 4]", [](tiny &t) { t.at("blk.0.attn_k.weight").shape = {4, 8}; });
    refuse("must have shape [16, 8]", [](tiny &t) { t.at("blk.0.ffn_down.weight").shape = {8, 16}; });
    refuse("tensor blk.0.ffn_up.weight is missing", [](tiny &t) { t.remove("blk.0.ffn_up.weight"); });
    refuse("tensor token_embd.weight is missing", [](tiny &t) { t.remove("token_embd.weight"); });
    refuse("tensor blk.1.attn_norm.weight is missing", [](tiny &t) { t.layers = 2; });
    refuse("tensor blk.0.attn_q_norm.weight is missing", [](tiny &t) { t.arch = "qwen3"; });
    refuse("none that this architecture has", [](tiny &t) { t.add("blk.0.attn_q_norm.weight", {4}); });
    refuse("none that this architecture has", [](tiny &t) { t.add("blk.0.attn_sinks", {2}); });
    refuse("must be F32, F16 or BF16", [](tiny &t) { t.at("output_norm.weight").type = 26; });
    refuse("has a type that is not supported", [](tiny &t) { t.at("blk.0.attn_q.weight").type = 26; });
    refuse("only none, linear, yarn and longrope",
           [](tiny &t) { t.extra.string("llama.rope.scaling.type", "dynamic"); });
    refuse("must be a positive number", [](tiny &t) { t.extra.f32("llama.rope.freq_base", 0); });
    refuse("must be a positive number", [](tiny &t) { t.extra.f32("llama.rope.freq_base", __builtin_nanf("")); });
    refuse("must be even", [](tiny &t) { t.extra.u32("llama.rope.dimension_count", 3); });
    refuse("must be 1 to 4", [](tiny &t) { t.extra.u32("llama.rope.dimension_count", 6); });
    refuse("mixtures of experts", [](tiny &t) { t.extra.u32("llama.expert_count", 8); });
    refuse("value_length differs", [](tiny &t) { t.extra.u32("llama.attention.value_length", 8); });
    refuse("must be an integer", [](tiny &t) { t.extra.string("llama.attention.value_length", "4"); });
    refuse("fewer rows than the vocabulary has tokens, 11",
           [](tiny &t) { t.extra.strings("tokenizer.ggml.tokens", std::vector<std::string>(11, "x")); });
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    reads_the_fixture(argv[1]);
    reads_the_variants();
    refuses();
    return test::summary();
}
