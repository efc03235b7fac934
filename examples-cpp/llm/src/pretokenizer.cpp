#include "pretokenizer.h"

#include <cstdint>

#include "unicode.h"

namespace llm {
namespace {

// One character, or the end of the text (bytes == 0).
struct character {
    uint32_t code_point = utf8_char::invalid;
    uint32_t bytes = 0;
    char_class kind = char_class::other;

    bool at_end() const { return bytes == 0; }
    bool is(char_class wanted) const { return bytes != 0 && kind == wanted; }
    bool is_newline() const { return code_point == '\r' || code_point == '\n'; }
};

character read(std::string_view text, size_t at) {
    if (at >= text.size()) return {};
    const utf8_char decoded = decode_utf8(text, at);
    const char_class kind = decoded.code_point == utf8_char::invalid ? char_class::other : classify(decoded.code_point);
    return {decoded.code_point, decoded.bytes, kind};
}

size_t skip_class(std::string_view text, size_t at, char_class kind) {
    for (character c = read(text, at); c.is(kind); c = read(text, at)) at += c.bytes;
    return at;
}

uint32_t fold_case(uint32_t code_point) {
    if (code_point >= 'A' && code_point <= 'Z') return code_point + ('a' - 'A');
    return code_point == 0x17F ? 's' : code_point;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d) after its apostrophe; returns `at` when nothing matches.
size_t contraction_end(std::string_view text, size_t at) {
    const character first = read(text, at);
    const size_t after_first = at + first.bytes;
    const uint32_t one = fold_case(first.code_point);
    if (one == 's' || one == 't' || one == 'm' || one == 'd') return after_first;
    const character second = read(text, after_first);
    const uint32_t two = fold_case(second.code_point);
    const bool pair = (one == 'r' && two == 'e') || (one == 'v' && two == 'e') || (one == 'l' && two == 'l');
    return pair ? after_first + second.bytes : at;
}

//  ?[^\s\p{L}\p{N}]+[\r\n]*, `at` being past the optional space; returns `at` when there is no such character.
size_t symbols_end(std::string_view text, size_t at) {
    const size_t end = skip_class(text, at, char_class::other);
    if (end == at) return at;
    size_t after = end;
    while (read(text, after).is_newline()) ++after;
    return after;
}

// \s*[\r\n]+|\s+(?!\S)|\s+ on a run of white space that starts at `at`.
size_t space_end(std::string_view text, size_t at) {
    size_t end = at, last_start = at, newline_end = at;
    for (character c = read(text, end); c.is(char_class::space); c = read(text, end)) {
        last_start = end;
        end += c.bytes;
        if (c.is_newline()) newline_end = end;
    }
    if (newline_end != at) return newline_end;  // greedy: up to the run's last line break
    // The lookahead fails right before a word, so the run gives its last character back, unless it has only that one.
    return end == text.size() || last_start == at ? end : last_start;
}

}  // namespace

size_t next_piece_end(pretokenizer kind, std::string_view text, size_t at) {
    const character first = read(text, at);
    const size_t after_first = at + first.bytes;

    if (first.code_point == '\'') {
        const size_t end = contraction_end(text, after_first);
        if (end != after_first) return end;
    }
    if (first.is(char_class::letter)) return skip_class(text, after_first, char_class::letter);
    if (!first.is(char_class::number) && !first.is_newline() && read(text, after_first).is(char_class::letter)) {
        return skip_class(text, after_first, char_class::letter);
    }
    if (first.is(char_class::number)) {
        size_t end = after_first;
        const int most = kind == pretokenizer::llama_bpe ? 3 : 1;
        for (int taken = 1; taken < most; ++taken) {
            const character c = read(text, end);
            if (!c.is(char_class::number)) break;
            end += c.bytes;
        }
        return end;
    }
    const size_t symbols_start = first.code_point == ' ' ? after_first : at;
    const size_t end = symbols_end(text, symbols_start);
    if (end != symbols_start) return end;
    return space_end(text, at);
}

}  // namespace llm
