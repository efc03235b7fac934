#include "tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "bpe_merge.h"
#include "unicode.h"

namespace llm {
namespace {

// Vocabularies write every byte as a printable character: the printable bytes of Latin-1 as themselves, the 68 others as U+0100 onwards.
struct byte_alphabet {
    std::array<uint32_t, 256> to_char{};
    std::array<int16_t, 0x144> to_byte{};

    byte_alphabet() {
        to_byte.fill(-1);
        uint32_t next = 0x100;
        for (uint32_t byte = 0; byte < 256; ++byte) {
            const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
            to_char[byte] = printable ? byte : next++;
            to_byte[to_char[byte]] = static_cast<int16_t>(byte);
        }
    }
};

const byte_alphabet &alphabet() {
    static const byte_alphabet table;
    return table;
}

// A vocabulary entry back in bytes. Characters outside the alphabet stand for themselves, as in the padding entries of some models.
std::string entry_bytes(std::string_view entry) {
    std::string out;
    for (size_t at = 0; at < entry.size();) {
        const utf8_char c = decode_utf8(entry, at);
        const int16_t byte = c.code_point < alphabet().to_byte.size() ? alphabet().to_byte[c.code_point] : int16_t{-1};
        if (byte >= 0) {
            out += static_cast<char>(static_cast<uint8_t>(byte));
        } else {
            out.append(entry.substr(at, c.bytes));
        }
        at += c.bytes;
    }
    return out;
}

uint64_t pair_key(token_id left, token_id right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

[[noreturn]] void fail(const std::string &message) { throw gguf_error("tokenizer: " + message); }

// Control tokens that end a turn in the chat formats of the supported models, for files whose metadata names only one of them.
constexpr std::string_view turn_ends[] = {"<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"};

constexpr const char *key_model = "tokenizer.ggml.model", *key_pre = "tokenizer.ggml.pre",
                     *key_tokens = "tokenizer.ggml.tokens", *key_types = "tokenizer.ggml.token_type",
                     *key_merges = "tokenizer.ggml.merges";

}  // namespace

tokenizer::tokenizer(const gguf &file) {
    const std::string_view model = file.require(key_model).as_string();
    if (model != "gpt2")
        fail(std::string(key_model) + " is \"" + printable(model) + "\", only \"gpt2\" (byte-level BPE) is supported");
    const std::string_view pre = file.require(key_pre).as_string();
    if (pre == "llama-bpe" || pre == "llama3") {
        split_ = pretokenizer::llama_bpe;
        ignore_merges_ = true;
        add_bos_ = true;
    } else if (pre != "qwen2") {
        fail(std::string(key_pre) + " is \"" + printable(pre) +
             "\", only \"qwen2\", \"llama-bpe\" and \"llama3\" are supported");
    }
    std::unordered_map<std::string_view, token_id> ids;
    read_vocabulary(file, ids);
    read_merges(file, ids);
    read_special(file);
}

void tokenizer::read_vocabulary(const gguf &file, std::unordered_map<std::string_view, token_id> &ids) {
    const std::vector<std::string_view> entries = file.require(key_tokens).as_strings();
    if (entries.empty() || entries.size() > static_cast<size_t>(std::numeric_limits<token_id>::max()))
        fail(std::string(key_tokens) + " has " + std::to_string(entries.size()) + " entries");
    std::vector<int64_t> types(entries.size(), 1);
    if (const gguf_value *value = file.find(key_types)) types = value->as_integers();
    if (types.size() != entries.size())
        fail(std::string(key_types) + " has " + std::to_string(types.size()) + " entries, " + key_tokens + " has " +
             std::to_string(entries.size()));

    ids.reserve(entries.size());
    for (size_t i = 0; i < entries.size(); ++i) {
        if (types[i] < 1 || types[i] > 6)
            fail(std::string(key_types) + " of token " + std::to_string(i) + " is " + std::to_string(types[i]) +
                 ", must be 1 to 6");
        const auto type = static_cast<kind>(types[i] - 1);
        const auto token = static_cast<token_id>(i);
        kinds_.push_back(type);
        // Added tokens are written as plain text, the others in the byte alphabet.
        const bool plain = type == kind::control || type == kind::user_defined;
        bytes_.push_back(plain ? std::string(entries[i]) : entry_bytes(entries[i]));
        if (plain && !entries[i].empty())
            markers_[static_cast<uint8_t>(entries[i][0])].push_back(
                {std::string(entries[i]), token, type == kind::control});
        ids.emplace(entries[i], token);  // of equal entries the first is the one that encoding produces
        if (ignore_merges_ && type == kind::normal) whole_.emplace(bytes_.back(), token);
    }
    for (std::vector<marker> &list : markers_) {
        std::stable_sort(list.begin(), list.end(),
                         [](const marker &a, const marker &b) { return a.text.size() > b.text.size(); });
    }
    for (uint32_t byte = 0; byte < 256; ++byte) {
        std::string entry;
        append_utf8(entry, alphabet().to_char[byte]);
        const auto found = ids.find(entry);
        if (found == ids.end()) fail(std::string(key_tokens) + " has no token for the byte " + std::to_string(byte));
        byte_tokens_[byte] = found->second;
    }
}

void tokenizer::read_merges(const gguf &file, const std::unordered_map<std::string_view, token_id> &ids) {
    const std::vector<std::string_view> entries = file.require(key_merges).as_strings();
    merges_.reserve(entries.size());
    std::string joined;
    for (size_t i = 0; i < entries.size(); ++i) {
        const std::string where = std::string(key_merges) + " entry " + std::to_string(i);
        // The byte alphabet has no space, so the one space parts the two halves.
        const size_t space = entries[i].find(' ', 1);
        if (space == std::string_view::npos || space + 1 == entries[i].size())
            fail(where + " is not two tokens separated by a space");
        const std::string_view left = entries[i].substr(0, space), right = entries[i].substr(space + 1);
        joined.assign(left).append(right);
        const auto left_id = ids.find(left), right_id = ids.find(right), result_id = ids.find(joined);
        if (left_id == ids.end() || right_id == ids.end() || result_id == ids.end())
            fail(where + " names a token that the vocabulary lacks");
        merges_.emplace(pair_key(left_id->second, right_id->second),
                        merge{static_cast<uint32_t>(i), result_id->second});
    }
}

token_id tokenizer::read_id(const gguf &file, const char *key) const {
    const gguf_value *value = file.find(key);
    if (value == nullptr) return no_token;
    const uint64_t id = value->as_unsigned();
    if (id >= size())
        fail(std::string(key) + " is " + std::to_string(id) + ", the vocabulary has " + std::to_string(size()) +
             " tokens");
    return static_cast<token_id>(id);
}

void tokenizer::read_special(const gguf &file) {
    bos_ = read_id(file, "tokenizer.ggml.bos_token_id");
    eos_ = read_id(file, "tokenizer.ggml.eos_token_id");
    eot_ = read_id(file, "tokenizer.ggml.eot_token_id");
    eom_ = read_id(file, "tokenizer.ggml.eom_token_id");
    if (const gguf_value *value = file.find("tokenizer.ggml.add_bos_token")) add_bos_ = value->as_bool();
    if (const gguf_value *value = file.find("tokenizer.ggml.add_eos_token")) add_eos_ = value->as_bool();
    if (add_bos_ && bos_ == no_token) fail("a BOS token is to be added, but tokenizer.ggml.bos_token_id is missing");
    if (add_eos_ && eos_ == no_token) fail("an EOS token is to be added, but tokenizer.ggml.eos_token_id is missing");

    ends_.assign(size(), 0);
    for (const token_id token : {eos_, eot_, eom_}) {
        if (token != no_token) ends_[static_cast<size_t>(token)] = 1;
    }
    for (const std::vector<marker> &list : markers_) {
        for (const marker &m : list) {
            if (std::find(std::begin(turn_ends), std::end(turn_ends), m.text) == std::end(turn_ends)) continue;
            ends_[static_cast<size_t>(m.token)] = 1;
            if (eot_ == no_token && (m.text == "<|im_end|>" || m.text == "<|eot_id|>")) eot_ = m.token;
        }
    }
}

const tokenizer::marker *tokenizer::marker_at(std::string_view text, size_t at, bool parse_control) const {
    for (const marker &m : markers_[static_cast<uint8_t>(text[at])]) {
        if ((parse_control || !m.control) && text.compare(at, m.text.size(), m.text) == 0) return &m;
    }
    return nullptr;
}

std::vector<token_id> tokenizer::encode(std::string_view text, bool add_special, bool parse_control) const {
    std::vector<token_id> out;
    if (add_special && add_bos_) out.push_back(bos_);
    size_t start = 0;
    for (size_t at = 0; at < text.size();) {
        const marker *found = marker_at(text, at, parse_control);
        if (found == nullptr) {
            ++at;
            continue;
        }
        encode_fragment(text.substr(start, at - start), out);
        out.push_back(found->token);
        at += found->text.size();
        start = at;
    }
    encode_fragment(text.substr(start), out);
    if (add_special && add_eos_) out.push_back(eos_);
    return out;
}

void tokenizer::encode_fragment(std::string_view text, std::vector<token_id> &out) const {
    for (size_t at = 0; at < text.size();) {
        const size_t end = next_piece_end(split_, text, at);
        encode_piece(text.substr(at, end - at), out);
        at = end;
    }
}

void tokenizer::encode_piece(std::string_view piece, std::vector<token_id> &out) const {
    if (ignore_merges_) {
        const auto found = whole_.find(std::string(piece));
        if (found != whole_.end()) {
            out.push_back(found->second);
            return;
        }
    }
    std::vector<token_id> symbols;
    symbols.reserve(piece.size());
    for (const char c : piece) symbols.push_back(byte_tokens_[static_cast<uint8_t>(c)]);
    merge_symbols(symbols, [this](token_id left, token_id right, uint32_t &rank, token_id &result) {
        const auto found = merges_.find(pair_key(left, right));
        if (found == merges_.end()) return false;
        rank = found->second.rank;
        result = found->second.result;
        return true;
    });
    out.insert(out.end(), symbols.begin(), symbols.end());
}

std::string tokenizer::decode(token_id token, bool show_control) const {
    if (token < 0 || static_cast<size_t>(token) >= size()) return {};
    const auto index = static_cast<size_t>(token);
    return kinds_[index] == kind::control && !show_control ? std::string() : bytes_[index];
}

std::string tokenizer::decode(const std::vector<token_id> &tokens, bool show_control) const {
    std::string out;
    for (const token_id token : tokens) out += decode(token, show_control);
    return out;
}

bool tokenizer::ends_generation(token_id token) const {
    return token >= 0 && static_cast<size_t>(token) < size() && ends_[static_cast<size_t>(token)] != 0;
}

std::string utf8_stream::push(std::string_view bytes) {
    held_ += bytes;
    const size_t keep = incomplete_utf8_tail(held_);
    std::string ready = held_.substr(0, held_.size() - keep);
    held_.erase(0, ready.size());
    return ready;
}

std::string utf8_stream::finish() { return std::exchange(held_, {}); }

}  // namespace llm
