// Text to tokens and back, from the metadata of a GGUF file. Two kinds of vocabulary (tokenizer.ggml.model):
//   gpt2          byte-level BPE: text is split into words (tokenizer.ggml.pre, see pretokenizer.h), whose bytes merge by rank
//   llama, gemma  SentencePiece BPE: the whole text merges by the tokens' scores, spaces are U+2581, characters without a token are bytes
//
// Encoding is lossless: text that is not UTF-8 is encoded byte by byte and decodes to the same bytes, where the vocabulary has tokens for
// them. A byte without one is dropped, as PyPI's `tokenizers` does. No Unicode normalisation is applied.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf.h"
#include "pretokenizer.h"
#include "special_tokens.h"

namespace llm {

class tokenizer {
public:
    // Copies what it needs; `file` may go. Throws gguf_error for metadata that is missing, inconsistent or of a kind not listed above.
    explicit tokenizer(const gguf &file);

    // User-defined tokens are always recognised in the text; control tokens such as <|im_start|> only with `parse_control`, because text from
    // elsewhere must not be able to speak for the engine. BOS and EOS are added when the file asks for them and `add_special` is set, but
    // never to a text that begins or ends with that token already.
    std::vector<token_id> encode(std::string_view text, bool add_special, bool parse_control) const;

    // Of a text that is to be continued: as `encode` with `add_special`, but no EOS closes it, whatever the file asks for.
    std::vector<token_id> encode_prompt(std::string_view text, bool parse_control) const;

    // For the text of a chat template, in which text of users stands: a control token in a text that went through `shield` first is
    // plain text to `encode_shielded`, one that the template wrote is a token. BOS is added as by `encode_prompt`. The mark that
    // does it is the noncharacter U+FDD0, which is dropped from texts that have it.
    std::string shield(std::string_view text) const;
    std::vector<token_id> encode_shielded(std::string_view text) const;

    // The bytes a token stands for; they may be part of a UTF-8 sequence. Control tokens give nothing unless `show_control`.
    std::string decode(token_id token, bool show_control = false) const;
    // Of a whole text. The space that encoding put before each stretch of it is taken off again.
    std::string decode(const std::vector<token_id> &tokens, bool show_control = false) const;

    size_t size() const { return kinds_.size(); }
    token_id bos() const { return special_.bos; }
    token_id eos() const { return special_.eos; }
    token_id eot() const { return special_.eot; }
    bool adds_bos() const { return special_.add_bos; }
    bool adds_eos() const { return special_.add_eos; }
    // What the file asks for and does not get, for people.
    const std::vector<std::string> &notes() const { return special_.notes; }

    // True for every token that ends a generation (special_tokens::ends).
    bool ends_generation(token_id token) const;

private:
    enum class kind : uint8_t { normal, unknown, control, user_defined, unused, byte };

    // What a pair of adjacent tokens merges into; lower ranks merge first.
    struct merge {
        uint32_t rank;
        token_id result;
    };

    // A token that is found in the text before anything is merged.
    struct marker {
        std::string text;
        token_id token;
        bool control;
    };

    // A token of a SentencePiece vocabulary that symbols can merge into.
    struct piece {
        uint32_t rank;  // by score: the highest score is 0
        token_id token;
        bool unused;  // merges go through it, but it is never the result
    };

    void read_kinds(const gguf &file, const std::vector<std::string_view> &entries);
    void read_byte_level(const gguf &file, const std::vector<std::string_view> &entries);
    void read_merges(const gguf &file, const std::unordered_map<std::string_view, token_id> &ids);
    void read_scored(const gguf &file, const std::vector<std::string_view> &entries, std::vector<std::string> &notes);
    void add_markers();
    // Calls `fragment` with the stretches of text between markers, and appends the markers' tokens.
    template <typename Fragment>
    void split_at_markers(std::string_view text, bool parse_control, std::vector<token_id> &out,
                          const Fragment &fragment) const;
    const marker *marker_at(std::string_view text, size_t at, bool parse_control) const;
    void encode_fragment(std::string_view text, std::vector<token_id> &out) const;
    void encode_word(std::string_view word, std::vector<token_id> &out) const;
    void encode_scored(std::string_view text, std::vector<token_id> &out) const;
    void begin_with_bos(std::vector<token_id> &tokens) const;
    // False, and nothing appended, when a byte of it has no token.
    bool append_bytes(std::string_view character, std::vector<token_id> &out) const;

    std::vector<kind> kinds_;
    std::vector<std::string> bytes_;  // by token: what it stands for
    special_tokens special_;
    std::vector<uint8_t> ends_;            // by token
    std::vector<marker> markers_[256];     // by first byte, longest first
    token_id byte_tokens_[256];            // no_token where the vocabulary lacks it
    bool space_prefix_ = false;            // a stretch of text gets a space in front
    std::optional<pretokenizer> words_{};  // byte-level vocabularies alone

    std::unordered_map<uint64_t, merge> merges_;
    std::unordered_map<std::string, token_id> whole_;  // filled only where whole words are looked up

    std::unordered_map<std::string, piece> pieces_;
    size_t longest_piece_ = 0;
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
