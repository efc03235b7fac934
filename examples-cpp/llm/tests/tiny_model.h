// A one-layer model of a few floats, to be bent.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "gguf_builder.h"
#include "model_file.h"

namespace test {

struct tiny {
    struct entry {
        std::string name;
        std::vector<uint64_t> shape;
        uint32_t type;
    };
    std::string arch = "llama";
    uint32_t hidden = 8, heads = 2, kv_heads = 1, head_dim = 0, ffn = 16, layers = 1, vocab = 10;
    bool with_ffn = true, with_heads = true, with_epsilon = true;
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
        if (with_heads) b.u32(arch + ".attention.head_count", heads).u32(arch + ".attention.head_count_kv", kv_heads);
        if (with_ffn) b.u32(arch + ".feed_forward_length", ffn);
        if (with_epsilon) b.f32(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
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
        const llm::gguf parsed(bytes.data(), bytes.size());
        llm::find_tensors(parsed, llm::read_config(parsed));
    }
    // Loads it, and gives the rotation of a run with a context of so many tokens. Frequency factors are zeros unless `data` has others.
    llm::rotation turned(uint32_t context, const std::vector<float> &values = {}) const {
        std::vector<uint8_t> bytes = file();
        const llm::gguf parsed(bytes.data(), bytes.size());
        const llm::model_config config = llm::read_config(parsed);
        const llm::model_tensors found = llm::find_tensors(parsed, config);
        size_t next = 0;
        for (const llm::gguf_tensor *tensor : {found.rope_factors, found.rope_short, found.rope_long}) {
            if (tensor == nullptr) continue;
            for (uint64_t i = 0; i < tensor->elements() && next < values.size(); ++i, ++next)
                std::memcpy(&bytes[static_cast<size_t>(tensor->data - bytes.data()) + 4 * i], &values[next], 4);
        }
        return llm::find_rotation(config, found, context);
    }
};

}  // namespace test
