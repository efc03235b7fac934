#include "special_tokens.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <unordered_map>

namespace llm {
namespace {

// Names that are such a token wherever they are a control token, and mostly elsewhere.
constexpr std::string_view bos_names[] = {"<bos>", "<s>", "<|begin_of_text|>", "<|startoftext|>",
                                          "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>"};
constexpr std::string_view eos_names[] = {"<eos>", "</s>", "<|end_of_text|>", "<|endoftext|>",
                                          "<\uFF5Cend\u2581of\u2581sentence\uFF5C>"};
constexpr std::string_view eot_names[] = {"<|eot_id|>",         "<|im_end|>", "<|end|>", "<end_of_turn>",
                                          "<end_of_utterance>", "<EOT>",      "_<EOT>",  "[EOT]"};
constexpr std::string_view end_names[] = {
    "<|endoftext|>", "<|end_of_text|>", "</s>",
    "<eos>",         "[EOS]",           "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",  // texts
    "<|im_end|>",    "<|eot_id|>",      "<|end|>",
    "<end_of_turn>", "<turn|>",         "<end_of_utterance>",
    "<EOT>",         "_<EOT>",          "[EOT]",
    "[e~[",  // turns
    "<|eom_id|>",    "<|return|>",      "<|call|>",
    "<|calls|>",     "<|flush|>",       "<|tool_response>"};  // messages, calls
// Fill-in-the-middle: padding, repository, file.
constexpr std::string_view fim_names[] = {"<|fim_pad|>",  "<fim-pad>",     "<fim_pad>",  "<PAD>",  "[PAD]",
                                          "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>",
                                          "<repo_name>",  "<|file_sep|>",  "<file_sep>"};

template <size_t N>
bool is_one_of(const std::string_view (&names)[N], std::string_view entry) {
    return std::find(std::begin(names), std::end(names), entry) != std::end(names);
}

class reader {
public:
    reader(const gguf &file, const std::vector<std::string_view> &entries, const std::vector<bool> &control)
        : file_(file), entries_(entries) {
        for (size_t i = 0; i < entries.size(); ++i) {
            if (control[i] || names_only_an_end(entries[i])) ids_.emplace(entries[i], static_cast<token_id>(i));
        }
    }

    // Every id of the vocabulary that the value holds: a number, or a list of them.
    std::vector<token_id> ids(const std::string &key) const {
        std::vector<token_id> out;
        const gguf_value *value = file_.find("tokenizer.ggml." + key);
        if (value == nullptr) return out;
        try {
            if (value->type == gguf_type::array) {
                for (const int64_t id : value->as_integers()) keep(id, out);
            } else if (value->type == gguf_type::f32 || value->type == gguf_type::f64) {
                const double number = value->as_float();
                if (number == std::floor(number) && std::abs(number) < 1e9) keep(static_cast<int64_t>(number), out);
            } else {
                keep(value->as_integer(), out);
            }
        } catch (const gguf_error &) {
            // No number at all, or one that fits no integer: no id.
        }
        return out;
    }
    token_id id(const std::string &key) const {
        const std::vector<token_id> all = ids(key);
        return all.empty() ? no_token : all.front();
    }

    // Tokens that may go by their name.
    const std::unordered_map<std::string_view, token_id> &by_name() const { return ids_; }
    token_id named(std::string_view name) const {
        const auto found = ids_.find(name);
        return found == ids_.end() ? no_token : found->second;
    }
    template <size_t N>
    token_id first_named(const std::string_view (&names)[N]) const {
        for (const std::string_view name : names) {
            if (named(name) != no_token) return named(name);
        }
        return no_token;
    }

    bool flag(const std::string &key, bool fallback) const {
        const gguf_value *value = file_.find("tokenizer.ggml." + key);
        if (value == nullptr) return fallback;
        try {
            return value->type == gguf_type::boolean ? value->as_bool() : value->as_integer() != 0;
        } catch (const gguf_error &) {
            return fallback;
        }
    }

private:
    void keep(int64_t id, std::vector<token_id> &out) const {
        if (id >= 0 && static_cast<uint64_t>(id) < entries_.size()) out.push_back(static_cast<token_id>(id));
    }

    const gguf &file_;
    const std::vector<std::string_view> &entries_;
    std::unordered_map<std::string_view, token_id> ids_;
};

}  // namespace

bool names_only_an_end(std::string_view entry) {
    const bool format = entry.substr(0, 2) == "<|" || entry.substr(0, 4) == "<\uFF5C" || entry == "<turn|>" ||
                        entry.substr(0, 8) == "<end_of_";
    return format && is_one_of(end_names, entry);
}

special_tokens read_special_tokens(const gguf &file, const std::vector<std::string_view> &entries,
                                   const std::vector<bool> &control, bool adds_bos) {
    const reader in(file, entries, control);
    const auto or_named = [](token_id id, token_id named) { return id != no_token ? id : named; };
    special_tokens out;
    out.bos = or_named(in.id("bos_token_id"), in.first_named(bos_names));
    out.eos = or_named(in.id("eos_token_id"), in.first_named(eos_names));
    out.eot = or_named(in.id("eot_token_id"), in.first_named(eot_names));
    out.unknown = in.id("unknown_token_id");
    out.add_bos = in.flag("add_bos_token", adds_bos);
    out.add_eos = in.flag("add_eos_token", false);
    const auto need = [&](bool &add, token_id token, const char *what) {
        if (!add || token != no_token) return;
        add = false;
        out.notes.push_back(std::string("texts of this model begin or end with a ") + what +
                            " token, but the vocabulary has none: none is added");
    };
    need(out.add_bos, out.bos, "BOS");
    need(out.add_eos, out.eos, "EOS");

    std::vector<uint8_t> ends(entries.size(), 0);
    for (const char *key : {"eos_token_id", "eos_token_ids", "eot_token_id", "eot_token_ids", "eom_token_id",
                            "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id"}) {
        for (const token_id id : in.ids(key)) ends[static_cast<size_t>(id)] = 1;
    }
    for (const auto &token : in.by_name()) {
        if (is_one_of(end_names, token.first) || is_one_of(fim_names, token.first))
            ends[static_cast<size_t>(token.second)] = 1;
    }
    const auto no_end = [&](std::string_view name) {
        const token_id id = in.named(name);
        if (id != no_token && id != out.eos) ends[static_cast<size_t>(id)] = 0;
    };
    const auto has = [&](std::string_view name) { return in.named(name) != no_token; };
    // Harmony and its like: messages of one answer end with <|end|>, and the answer with these.
    if ((has("<|return|>") && has("<|call|>")) || (has("<|flush|>") && has("<|calls|>"))) no_end("<|end|>");
    // Gemma 4 has an HTML tag of that name.
    if (has("<|tool_response>")) no_end("</s>");
    for (size_t i = 0; i < ends.size(); ++i) {
        if (ends[i] != 0) out.ends.push_back(static_cast<token_id>(i));
    }
    return out;
}

}  // namespace llm
