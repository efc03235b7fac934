#include "special_tokens.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
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
        const bool flags = (value->type == gguf_type::array ? value->element : value->type) == gguf_type::boolean;
        const auto numbers = value->numbers();
        if (!numbers || flags) return out;
        // Each for itself: an entry that is no id takes nothing from the others. Ids are far below 2^53, so a double holds them.
        for (const double number : *numbers) {
            if (number >= 0 && number < static_cast<double>(entries_.size()) && number == std::floor(number))
                out.push_back(static_cast<token_id>(number));
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

private:
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

bool flag_or(const gguf &file, const std::string &key, bool fallback, std::vector<std::string> &notes) {
    const gguf_value *value = file.find(key);
    if (value == nullptr) return fallback;
    const std::optional<bool> flag = value->flag();
    if (!flag)
        notes.push_back(printable(key) + " is " + value->describe() + ", which is no flag: it is taken as " +
                        (fallback ? "true" : "false"));
    return flag.value_or(fallback);
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
    out.add_bos = flag_or(file, "tokenizer.ggml.add_bos_token", adds_bos, out.notes);
    out.add_eos = flag_or(file, "tokenizer.ggml.add_eos_token", false, out.notes);
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
