// Byte-level BPE from the metadata of a GGUF file (tokenizer.ggml.model = gpt2, tokenizer.ggml.pre = qwen2, llama-bpe or llama3).
//
// Encoding is lossless: text that is not UTF-8 is encoded byte by byte and decodes to the same bytes. No Unicode normalisation is applied.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf.h"
#include "pretokenizer.h"

namespace llm {

using token_id = int32_t;
constexpr token_id no_token = -1;

class tokenizer {
public:
    // Copies what it needs; `file` may go. Throws gguf_error for metadata that is missing, inconsistent or of a kind not listed above.
    explicit tokenizer(const gguf &file);

    // User-defined tokens are always recognised in the text; control tokens such as <|im_start|> only with `parse_control`, because text from
    // elsewhere must not be able to speak for the engine. BOS and EOS are added when the file asks for them and `add_special` is set.
    std::vector<token_id> encode(std::string_view text, bool add_special, bool parse_control) const;

    // The bytes a token stands for; they may be part of a UTF-8 sequence. Control tokens give nothing unless `show_control`.
    std::string decode(token_id token, bool show_control = false) const;
    std::string decode(const std::vector<token_id> &tokens, bool show_control = false) const;

    size_t size() const { return kinds_.size(); }
    token_id bos() const { return bos_; }
    token_id eos() const { return eos_; }
    token_id eot() const { return eot_; }
    bool adds_bos() const { return add_bos_; }
    bool adds_eos() const { return add_eos_; }

    // True for every token that ends a generation: EOS, EOT, EOM and control tokens known by name to end a turn.
    bool ends_generation(token_id token) const;

    pretokenizer split() const { return split_; }

private:
    enum class kind : uint8_t { normal, unknown, control, user_defined, unused, byte };

    // What a pair of adjacent tokens merges into; lower ranks merge first.
    struct merge {
        uint32_t rank;
        token_id result;
    };

    struct marker {
        std::string text;
        token_id token;
        bool control;
    };

    void read_vocabulary(const gguf &file, std::unordered_map<std::string_view, token_id> &ids);
    void read_merges(const gguf &file, const std::unordered_map<std::string_view, token_id> &ids);
    void read_special(const gguf &file);
    token_id read_id(const gguf &file, const char *key) const;
    const marker *marker_at(std::string_view text, size_t at, bool parse_control) const;
    void encode_fragment(std::string_view text, std::vector<token_id> &out) const;
    void encode_piece(std::string_view piece, std::vector<token_id> &out) const;

    pretokenizer split_ = pretokenizer::qwen2;
    bool ignore_merges_ = false;  // a piece that is a token as a whole is that token, whatever its merges give
    bool add_bos_ = false, add_eos_ = false;
    token_id bos_ = no_token, eos_ = no_token, eot_ = no_token, eom_ = no_token;
    std::vector<kind> kinds_;
    std::vector<std::string> bytes_;  // by token, already mapped back to bytes
    std::vector<uint8_t> ends_;       // by token
    token_id byte_tokens_[256];
    std::unordered_map<uint64_t, merge> merges_;
    std::unordered_map<std::string, token_id> whole_;  // filled only for ignore_merges_
    std::vector<marker> markers_[256];                 // by first byte, longest first
};

// Turns the bytes of successive tokens into text that may be printed at once: a UTF-8 sequence is held back until it is complete.
class utf8_stream {
public:
    // What has become printable.
    std::string push(std::string_view bytes);
    // What is left at the end, complete or not.
    std::string finish();

private:
    std::string held_;
};

}  // namespace llm
