// Hyperparameters, tensor roles and the memory plan. Usage: model_file_test MODEL.gguf
#include "model_file.h"
#include "check.h"
#include "gguf_builder.h"
#include "mapped_file.h"
#include "memory_plan.h"

using llm::gguf;
using llm::gguf_error;

namespace {

// A one-layer model of a few floats, to be bent.
struct tiny {
    struct entry {
        std::string name;
        std::vector<uint64_t> shape;
        uint32_t type;
    };
    std::string arch = "llama";
    uint32_t hidden = 8, heads = 2, kv_heads = 1, head_dim = 0, ffn = 16, layers = 1, vocab = 10;
    bool with_ffn = true;
    test::gguf_builder extra;
    std::vector<entry> tensors = {
        {"token_embd.weight", {8, 10}, 0},       {"output_norm.weight", {8}, 0},
        {"blk.0.attn_norm.weight", {8}, 0},      {"blk.0.attn_q.weight", {8, 8}, 0},
        {"blk.0.attn_k.weight", {8, 4}, 0},      {"blk.0.attn_v.weight", {8, 4}, 0},
        {"blk.0.attn_output.weight", {8, 8}, 0}, {"blk.0.ffn_norm.weight", {8}, 0},
        {"blk.0.ffn_gate.weight", {8, 16}, 0},   {"blk.0.ffn_up.weight", {8, 16}, 0},
        {"blk.0.ffn_down.weight", {16, 8}, 0},
    };

    tiny &add(const std::string &name, const std::vector<uint64_t> &shape, uint32_t type = 0) {
        tensors.push_back({name, shape, type});
        return *this;
    }
    entry &at(const std::string &name) {
        for (entry &e : tensors) {
            if (e.name == name) return e;
        }
        throw std::logic_error(name);
    }
    void remove(const std::string &name) {
        for (size_t i = 0; i < tensors.size(); ++i) {
            if (tensors[i].name == name) tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i));
        }
    }
    std::vector<uint8_t> file() const {
        test::gguf_builder b = extra;
        b.string("general.architecture", arch)
            .u32(arch + ".context_length", 64)
            .u32(arch + ".embedding_length", hidden)
            .u32(arch + ".block_count", layers);
        b.u32(arch + ".attention.head_count", heads).u32(arch + ".attention.head_count_kv", kv_heads);
        if (with_ffn) b.u32(arch + ".feed_forward_length", ffn);
        if (head_dim != 0) b.u32(arch + ".attention.key_length", head_dim);
        uint64_t offset = 0;
        for (const entry &e : tensors) {
            b.tensor(e.name, e.shape, e.type, offset);
            offset += 4096;
        }
        return b.data(offset).build();
    }
    void load() const {
        const std::vector<uint8_t> bytes = file();
        const gguf parsed(bytes.data(), bytes.size());
        llm::find_tensors(parsed, llm::read_config(parsed));
    }
};

void reads_the_fixture(const char *path) {
    const llm::mapped_file mapped(path);
    const gguf file(mapped.data(), mapped.size());
    const llm::model_config c = llm::read_config(file);
    CHECK(c.arch == llm::architecture::qwen3 && c.layers == 6 && c.hidden == 256 && c.ffn == 768 && c.heads == 8 &&
          c.kv_heads == 2 && c.head_dim == 64 && c.vocab == 4096 && c.context_length == 512);
    CHECK(c.rope_neox && c.rope_dims == 64 && c.rope_base == 1e6f && c.rope_scale == 1.0f && c.rms_epsilon == 1e-6f);
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
    CHECK(!c.rope_neox && c.head_dim == 4 && c.rope_base == 500000.0f && c.rms_epsilon == 1e-5f);
    const llm::model_tensors t = llm::find_tensors(file, c);
    CHECK(t.output != t.embedding && t.rope_factors != nullptr && t.bytes_per_token() == t.bytes() - 320);

    tiny qwen2;
    qwen2.arch = "qwen2";
    qwen2.add("blk.0.attn_q.bias", {8}).add("blk.0.attn_k.bias", {4}).add("blk.0.attn_v.bias", {4});
    qwen2.load();
    tiny linear;
    linear.extra.string("llama.rope.scaling.type", "linear").f32("llama.rope.scaling.factor", 4);
    linear.load();
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
    refuse("must be F32", [](tiny &t) { t.at("output_norm.weight").type = 1; });
    refuse("has a type that is not supported", [](tiny &t) { t.at("blk.0.attn_q.weight").type = 26; });
    refuse("only none and linear", [](tiny &t) { t.extra.string("llama.rope.scaling.type", "yarn"); });
    refuse("must be a positive number", [](tiny &t) { t.extra.f32("llama.rope.freq_base", 0); });
    refuse("must be a positive number", [](tiny &t) { t.extra.f32("llama.rope.freq_base", __builtin_nanf("")); });
    refuse("must be even", [](tiny &t) { t.extra.u32("llama.rope.dimension_count", 3); });
    refuse("must be 1 to 4", [](tiny &t) { t.extra.u32("llama.rope.dimension_count", 6); });
    refuse("mixtures of experts", [](tiny &t) { t.extra.u32("llama.expert_count", 8); });
    refuse("value_length differs", [](tiny &t) { t.extra.u32("llama.attention.value_length", 8); });
    refuse("disagrees with llama.vocab_size", [](tiny &t) { t.extra.u32("llama.vocab_size", 11); });
    refuse("must be an integer", [](tiny &t) { t.extra.string("llama.vocab_size", "11"); });
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    reads_the_fixture(argv[1]);
    reads_the_variants();
    refuses();
    return test::summary();
}
