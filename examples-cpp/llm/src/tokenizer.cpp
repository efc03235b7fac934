#include "tokenizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "bpe_merge.h"
#include "unicode.h"

namespace llm {
namespace {

// See tokenizer::shield.
constexpr std::string_view shield_mark = "\xEF\xB7\x90";

std::string without_marks(std::string_view text) {
    std::string out(text);
    for (size_t at = 0; (at = out.find(shield_mark, at)) != std::string::npos;) out.erase(at, shield_mark.size());
    return out;
}

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

constexpr std::string_view escaped_space = "\u2581";

// The text of a SentencePiece token: its spaces are escaped.
std::string unescape(std::string_view entry) {
    std::string out;
    for (size_t at = 0; at < entry.size();) {
        const bool space = entry.compare(at, escaped_space.size(), escaped_space) == 0;
        out += space ? ' ' : entry[at];
        at += space ? escaped_space.size() : 1;
    }
    return out;
}

std::string escape(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == ' ') {
            out += escaped_space;
        } else {
            out += c;
        }
    }
    return out;
}

// The byte that an entry such as <0x0A> stands for, or -1.
int entry_byte(std::string_view entry) {
    if (entry.size() != 6 || entry.substr(0, 3) != "<0x" || entry[5] != '>') return -1;
    constexpr std::string_view digits = "0123456789ABCDEF";
    const size_t high = digits.find(entry[3]), low = digits.find(entry[4]);
    return high == digits.npos || low == digits.npos ? -1 : static_cast<int>(16 * high + low);
}

constexpr const char *key_model = "tokenizer.ggml.model", *key_pre = "tokenizer.ggml.pre",
                     *key_tokens = "tokenizer.ggml.tokens", *key_types = "tokenizer.ggml.token_type",
                     *key_merges = "tokenizer.ggml.merges", *key_scores = "tokenizer.ggml.scores",
                     *key_space_prefix = "tokenizer.ggml.add_space_prefix",
                     *key_remove_spaces = "tokenizer.ggml.remove_extra_whitespaces",
                     *key_characters = "tokenizer.ggml.precompiled_charsmap";

// Empty where the file does not say.
std::string_view rules_name(const gguf &file) {
    const gguf_value *value = file.find(key_pre);
    return value == nullptr ? std::string_view() : value->as_string();
}

const pretokenizer_rules &find_rules(std::string_view name) {
    if (const pretokenizer_rules *rules = find_pretokenizer(name.empty() ? "default" : name)) return *rules;
    std::string known;
    for (const pretokenizer_rules &rules : all_pretokenizers()) {
        for (const std::string_view each : rules.names) known.append(known.empty() ? "" : ", ").append(each);
    }
    fail(std::string(key_pre) + " is \"" + printable(name) +
         "\", which names no rules that are known here; known are " + known);
}

// A stretch of the text: a character at first, then what characters have merged into.
struct symbol {
    size_t begin, end;
    bool operator==(const symbol &other) const { return begin == other.begin && end == other.end; }
};

}  // namespace

tokenizer::tokenizer(const gguf &file) {
    const std::string_view model = file.require(key_model).as_string();
    const bool scored = model == "llama" || model == "gemma";
    if (model != "gpt2" && !scored)
        fail(std::string(key_model) + " is \"" + printable(model) +
             "\", supported are gpt2 (byte-level BPE), llama and gemma (SentencePiece BPE)");
    const std::vector<std::string_view> entries = file.require(key_tokens).as_strings();
    if (entries.empty() || entries.size() > static_cast<size_t>(std::numeric_limits<token_id>::max()))
        fail(std::string(key_tokens) + " has " + std::to_string(entries.size()) + " entries");
    std::fill(std::begin(byte_tokens_), std::end(byte_tokens_), no_token);
    read_kinds(file, entries);
    std::vector<std::string> notes;
    if (scored) {
        space_prefix_ = flag_or(file, key_space_prefix, true, notes);
    } else if (const gguf_value *value = file.find(key_space_prefix)) {
        // Few byte-level vocabularies have such a thing: what is no flag is passed over.
        space_prefix_ = value->flag().value_or(false);
    }

    std::vector<bool> control(size());
    // Without types, every name may be what it says.
    const bool typed = file.find(key_types) != nullptr;
    for (size_t i = 0; i < size(); ++i) control[i] = !typed || kinds_[i] == kind::control;
    bool adds_bos = scored;
    if (scored) {
        read_scored(file, entries, notes);
    } else {
        const pretokenizer_rules &rules = find_rules(rules_name(file));
        adds_bos = rules.adds_bos;
        words_.emplace(rules);
        read_byte_level(file, entries);
        if (rules.whole_words) {
            for (size_t i = 0; i < size(); ++i) {
                if (kinds_[i] == kind::normal) whole_.emplace(bytes_[i], static_cast<token_id>(i));
            }
        }
    }
    special_ = read_special_tokens(file, entries, control, adds_bos);
    special_.notes.insert(special_.notes.end(), notes.begin(), notes.end());
    if (!scored && rules_name(file).empty())
        special_.notes.push_back(
            std::string(key_pre) +
            " is missing: text is split by rules of old files, which few models were trained with");
    if (special_.unknown == no_token) {
        const auto found = std::find(kinds_.begin(), kinds_.end(), kind::unknown);
        if (found != kinds_.end()) special_.unknown = static_cast<token_id>(found - kinds_.begin());
    }
    ends_.assign(size(), 0);
    for (const token_id token : special_.ends) ends_[static_cast<size_t>(token)] = 1;
    add_markers();
}

void tokenizer::read_kinds(const gguf &file, const std::vector<std::string_view> &entries) {
    std::vector<int64_t> types(entries.size(), 1);
    if (const gguf_value *value = file.find(key_types)) types = value->as_integers();
    if (types.size() < entries.size())
        fail(std::string(key_types) + " has " + std::to_string(types.size()) + " entries, " + key_tokens + " has " +
             std::to_string(entries.size()));
    for (size_t i = 0; i < entries.size(); ++i) {
        if (types[i] < 0 || types[i] > 6)
            fail(std::string(key_types) + " of token " + std::to_string(i) + " is " + std::to_string(types[i]) +
                 ", must be 1 to 6, or 0 where it is not known");
        kind type = types[i] == 0 ? kind::normal : static_cast<kind>(types[i] - 1);
        if (type == kind::normal && names_only_an_end(entries[i])) type = kind::control;
        kinds_.push_back(type);
    }
}

void tokenizer::read_byte_level(const gguf &file, const std::vector<std::string_view> &entries) {
    std::unordered_map<std::string_view, token_id> ids;
    ids.reserve(entries.size());
    for (size_t i = 0; i < entries.size(); ++i) {
        // Added tokens are written as plain text, the others in the byte alphabet.
        const bool plain = kinds_[i] == kind::control || kinds_[i] == kind::user_defined;
        bytes_.push_back(plain ? std::string(entries[i]) : entry_bytes(entries[i]));
        ids.emplace(entries[i],
                    static_cast<token_id>(i));  // of equal entries the first is the one that encoding produces
    }
    for (uint32_t byte = 0; byte < 256; ++byte) {
        std::string entry;
        append_utf8(entry, alphabet().to_char[byte]);
        const auto found = ids.find(entry);
        if (found != ids.end()) byte_tokens_[byte] = found->second;
    }
    read_merges(file, ids);
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

void tokenizer::read_scored(const gguf &file, const std::vector<std::string_view> &entries,
                            std::vector<std::string> &notes) {
    if (flag_or(file, key_remove_spaces, false, notes))
        fail(std::string(key_remove_spaces) + " is set, which is not supported");
    if (const gguf_value *value = file.find(key_characters)) {
        if (value->count != 0)
            fail(std::string(key_characters) + " is given: text is to be normalised by it, which is not supported");
    }
    std::vector<float> scores = file.require(key_scores).as_floats();
    if (scores.size() < entries.size())
        fail(std::string(key_scores) + " has " + std::to_string(scores.size()) + " entries, " + key_tokens + " has " +
             std::to_string(entries.size()));
    scores.resize(entries.size());
    for (size_t i = 0; i < scores.size(); ++i) {
        if (std::isnan(scores[i]))
            fail(std::string(key_scores) + " of token " + std::to_string(i) + " is not a number");
    }
    std::vector<float> sorted = scores;
    std::sort(sorted.begin(), sorted.end(), std::greater<float>());
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());

    const bool typed = file.find(key_types) != nullptr;
    for (size_t i = 0; i < entries.size(); ++i) {
        const int byte = entry_byte(entries[i]);
        if (!typed && byte >= 0) kinds_[i] = kind::byte;
        if (kinds_[i] == kind::byte) {
            if (byte < 0)
                fail(std::string(key_types) + " of token " + std::to_string(i) + " says that it is a byte, \"" +
                     printable(entries[i]) + "\" is none");
            bytes_.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
            if (byte_tokens_[byte] == no_token) byte_tokens_[byte] = static_cast<token_id>(i);
            continue;
        }
        const bool control = kinds_[i] == kind::control || kinds_[i] == kind::unknown;
        bytes_.push_back(control ? std::string(entries[i]) : unescape(entries[i]));
        if (control || entries[i].empty()) continue;
        // Entries escape their spaces as a rule; added ones are plain.
        std::string escaped = escape(bytes_.back());
        longest_piece_ = std::max(longest_piece_, escaped.size());
        const auto rank = static_cast<uint32_t>(
            std::lower_bound(sorted.begin(), sorted.end(), scores[i], std::greater<float>()) - sorted.begin());
        pieces_.emplace(std::move(escaped), piece{rank, static_cast<token_id>(i), kinds_[i] == kind::unused});
    }
}

void tokenizer::add_markers() {
    for (size_t i = 0; i < size(); ++i) {
        const bool control = kinds_[i] == kind::control || kinds_[i] == kind::unknown;
        if ((!control && kinds_[i] != kind::user_defined) || bytes_[i].empty()) continue;
        markers_[static_cast<uint8_t>(bytes_[i][0])].push_back({bytes_[i], static_cast<token_id>(i), control});
    }
    for (std::vector<marker> &list : markers_) {
        std::stable_sort(list.begin(), list.end(),
                         [](const marker &a, const marker &b) { return a.text.size() > b.text.size(); });
    }
}

const tokenizer::marker *tokenizer::marker_at(std::string_view text, size_t at, bool parse_control) const {
    for (const marker &m : markers_[static_cast<uint8_t>(text[at])]) {
        if ((parse_control || !m.control) && text.compare(at, m.text.size(), m.text) == 0) return &m;
    }
    return nullptr;
}

template <typename Fragment>
void tokenizer::split_at_markers(std::string_view text, bool parse_control, std::vector<token_id> &out,
                                 const Fragment &fragment) const {
    size_t start = 0;
    for (size_t at = 0; at < text.size();) {
        const marker *found = marker_at(text, at, parse_control);
        if (found == nullptr) {
            ++at;
            continue;
        }
        fragment(text.substr(start, at - start));
        out.push_back(found->token);
        at += found->text.size();
        start = at;
    }
    fragment(text.substr(start));
}

std::vector<token_id> tokenizer::encode(std::string_view text, bool add_special, bool parse_control) const {
    std::vector<token_id> out;
    split_at_markers(text, parse_control, out, [&](std::string_view part) { encode_fragment(part, out); });
    if (add_special) begin_with_bos(out);
    if (add_special && special_.add_eos && (out.empty() || out.back() != special_.eos)) out.push_back(special_.eos);
    return out;
}

std::vector<token_id> tokenizer::encode_prompt(std::string_view text, bool parse_control) const {
    std::vector<token_id> out = encode(text, false, parse_control);
    begin_with_bos(out);
    return out;
}

void tokenizer::begin_with_bos(std::vector<token_id> &tokens) const {
    if (special_.add_bos && (tokens.empty() || tokens.front() != special_.bos))
        tokens.insert(tokens.begin(), special_.bos);
}

std::string tokenizer::shield(std::string_view text) const {
    const std::string plain = without_marks(text);
    std::string out;
    for (size_t at = 0; at < plain.size(); ++at) {
        const marker *found = marker_at(plain, at, true);
        // Between the first character and the rest: a mark inside of a character would make it ill-formed.
        if (found == nullptr || !found->control) {
            out += plain[at];
            continue;
        }
        do {
            out += plain[at++];
        } while (at < plain.size() && (static_cast<uint8_t>(plain[at]) & 0xC0) == 0x80);
        out += shield_mark;
        --at;
    }
    return out;
}

std::vector<token_id> tokenizer::encode_shielded(std::string_view text) const {
    std::vector<token_id> out;
    split_at_markers(text, true, out, [&](std::string_view part) { encode_fragment(without_marks(part), out); });
    begin_with_bos(out);
    return out;
}

void tokenizer::encode_fragment(std::string_view text, std::vector<token_id> &out) const {
    if (text.empty()) return;
    std::string prefixed;
    // SentencePiece puts a space before a space as well, byte-level tokenizers do not.
    if (space_prefix_ && (!words_ || text.front() != ' ')) text = prefixed.append(" ").append(text);
    if (!words_) return encode_scored(escape(text), out);
    for (const std::string_view word : words_->split(text)) encode_word(word, out);
}

void tokenizer::encode_word(std::string_view word, std::vector<token_id> &out) const {
    if (!whole_.empty()) {
        const auto found = whole_.find(std::string(word));
        if (found != whole_.end()) {
            out.push_back(found->second);
            return;
        }
    }
    std::vector<token_id> symbols;
    symbols.reserve(word.size());
    for (const char c : word) {
        const token_id token = byte_tokens_[static_cast<uint8_t>(c)];
        if (token != no_token) symbols.push_back(token);
    }
    merge_symbols(symbols, [this](token_id left, token_id right, uint32_t &rank, token_id &result) {
        const auto found = merges_.find(pair_key(left, right));
        if (found == merges_.end()) return false;
        rank = found->second.rank;
        result = found->second.result;
        return true;
    });
    out.insert(out.end(), symbols.begin(), symbols.end());
}

void tokenizer::encode_scored(std::string_view text, std::vector<token_id> &out) const {
    std::vector<symbol> symbols;
    for (size_t at = 0; at < text.size();) {
        const size_t end = at + decode_utf8(text, at).bytes;
        symbols.push_back({at, end});
        at = end;
    }
    // How long the left half was of each unused token that was merged: it comes apart there again.
    std::unordered_map<std::string, size_t> seams;
    std::string joined;
    merge_symbols(symbols, [&](const symbol &left, const symbol &right, uint32_t &rank, symbol &result) {
        if (right.end - left.begin > longest_piece_) return false;
        joined.assign(text.substr(left.begin, right.end - left.begin));
        const auto found = pieces_.find(joined);
        if (found == pieces_.end()) return false;
        if (found->second.unused) seams[joined] = left.end - left.begin;
        rank = found->second.rank;
        result = {left.begin, right.end};
        return true;
    });
    bool after_unknown = false;
    // The rest of the text to write out, its beginning last.
    std::vector<std::string_view> rest;
    for (const symbol &each : symbols) {
        rest.push_back(text.substr(each.begin, each.end - each.begin));
        while (!rest.empty()) {
            const std::string_view part = rest.back();
            rest.pop_back();
            joined.assign(part);
            const auto found = pieces_.find(joined);
            const auto seam = seams.find(joined);
            if (found != pieces_.end() && found->second.unused && seam != seams.end()) {
                rest.push_back(part.substr(seam->second));
                rest.push_back(part.substr(0, seam->second));
                continue;
            }
            if (found != pieces_.end()) {
                out.push_back(found->second.token);
                after_unknown = false;
            } else if (append_bytes(part, out)) {
                after_unknown = false;
            } else if (special_.unknown != no_token && !after_unknown) {
                out.push_back(special_.unknown);
                after_unknown = true;
            }
        }
    }
}

bool tokenizer::append_bytes(std::string_view character, std::vector<token_id> &out) const {
    const auto token = [this](char c) { return byte_tokens_[static_cast<uint8_t>(c)]; };
    if (std::any_of(character.begin(), character.end(), [&](char c) { return token(c) == no_token; })) return false;
    for (const char c : character) out.push_back(token(c));
    return true;
}

std::string tokenizer::decode(token_id token, bool show_control) const {
    if (token < 0 || static_cast<size_t>(token) >= size()) return {};
    const auto index = static_cast<size_t>(token);
    const bool hidden = kinds_[index] == kind::control || kinds_[index] == kind::unknown;
    return hidden && !show_control ? std::string() : bytes_[index];
}

std::string tokenizer::decode(const std::vector<token_id> &tokens, bool show_control) const {
    std::string out;
    bool begins = !words_ && space_prefix_;
    for (const token_id token : tokens) {
        std::string text = decode(token, show_control);
        const bool marked = token >= 0 && static_cast<size_t>(token) < size() &&
                            (kinds_[static_cast<size_t>(token)] == kind::control ||
                             kinds_[static_cast<size_t>(token)] == kind::user_defined);
        if (begins && !marked && !text.empty() && text.front() == ' ') text.erase(0, 1);
        begins = marked && !words_ && space_prefix_;
        out += text;
    }
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
