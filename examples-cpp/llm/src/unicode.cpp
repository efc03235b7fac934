#include "unicode.h"

#include <algorithm>
#include <iterator>
#include <vector>

namespace llm {
namespace {

constexpr char_classes Lu = char_class::upper, Ll = char_class::lower, Lt = char_class::title,
                       Lm = char_class::modifier, Lo = char_class::other_letter, M = char_class::mark,
                       N = char_class::number, P = char_class::punctuation, S = char_class::symbol, None = 0;

struct category_run {
    uint32_t first;
    char_classes category;
};

#include "unicode_tables.inc"

bool is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

char_classes category_of(uint32_t code_point) {
    const auto *after = std::upper_bound(std::begin(runs), std::end(runs), code_point,
                                         [](uint32_t wanted, const category_run &run) { return wanted < run.first; });
    return std::prev(after)->category;
}

uint8_t byte_at(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

// The length that a lead byte announces, 0 for bytes that cannot lead, and the range of the second byte, which excludes overlong
// forms, surrogates and values beyond U+10FFFF (Unicode standard, table 3-7).
struct lead {
    uint32_t length;
    uint8_t low, high;
};

lead classify_lead(uint8_t byte) {
    if (byte < 0x80) return {1, 0, 0};
    if (byte < 0xC2) return {0, 0, 0};
    if (byte < 0xE0) return {2, 0x80, 0xBF};
    if (byte == 0xE0) return {3, 0xA0, 0xBF};
    if (byte == 0xED) return {3, 0x80, 0x9F};
    if (byte < 0xF0) return {3, 0x80, 0xBF};
    if (byte == 0xF0) return {4, 0x90, 0xBF};
    if (byte < 0xF4) return {4, 0x80, 0xBF};
    if (byte == 0xF4) return {4, 0x80, 0x8F};
    return {0, 0, 0};
}

// Length of the well-formed prefix of the sequence led by text[at].
uint32_t valid_prefix(std::string_view text, size_t at, const lead &first) {
    uint32_t length = 1;
    for (; length < first.length && at + length < text.size(); ++length) {
        const uint8_t byte = byte_at(text, at + length);
        const uint8_t low = length == 1 ? first.low : 0x80, high = length == 1 ? first.high : 0xBF;
        if (byte < low || byte > high) break;
    }
    return length;
}

}  // namespace

char_classes classify(uint32_t code_point) {
    // Almost every text lies in the basic plane: one look instead of a search.
    constexpr uint32_t plane = 0x10000;
    static const std::vector<char_classes> basic = [] {
        std::vector<char_classes> out(plane);
        for (uint32_t c = 0; c < plane; ++c) out[c] = category_of(c) | (is_space(c) ? char_class::space : 0);
        return out;
    }();
    return code_point < plane ? basic[code_point] : category_of(code_point);
}

utf8_char decode_utf8(std::string_view text, size_t at) {
    const uint8_t byte = byte_at(text, at);
    if (byte < 0x80) return {byte, 1};
    const lead first = classify_lead(byte);
    if (first.length == 0 || valid_prefix(text, at, first) != first.length) return {utf8_char::invalid, 1};
    uint32_t code_point = byte & (0x7Fu >> first.length);
    for (uint32_t i = 1; i < first.length; ++i) code_point = code_point << 6 | (byte_at(text, at + i) & 0x3Fu);
    return {code_point, first.length};
}

void append_utf8(std::string &out, uint32_t code_point) {
    const auto put = [&out](uint32_t byte) { out += static_cast<char>(static_cast<uint8_t>(byte)); };
    if (code_point < 0x80) {
        put(code_point);
    } else if (code_point < 0x800) {
        put(0xC0 | code_point >> 6);
        put(0x80 | (code_point & 0x3F));
    } else if (code_point < 0x10000) {
        put(0xE0 | code_point >> 12);
        put(0x80 | (code_point >> 6 & 0x3F));
        put(0x80 | (code_point & 0x3F));
    } else {
        put(0xF0 | code_point >> 18);
        put(0x80 | (code_point >> 12 & 0x3F));
        put(0x80 | (code_point >> 6 & 0x3F));
        put(0x80 | (code_point & 0x3F));
    }
}

std::string well_formed_utf8(std::string_view text) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
        const utf8_char c = decode_utf8(text, at);
        uint32_t length = c.bytes;
        if (c.code_point == utf8_char::invalid) {
            const lead first = classify_lead(byte_at(text, at));
            if (first.length != 0) length = valid_prefix(text, at, first);
            append_utf8(out, 0xFFFD);
        } else {
            out.append(text.substr(at, length));
        }
        at += length;
    }
    return out;
}

size_t incomplete_utf8_tail(std::string_view text) {
    for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
        const size_t at = text.size() - back;
        const uint8_t byte = byte_at(text, at);
        if (byte >= 0x80 && byte < 0xC0) continue;  // a continuation byte: its lead is further back
        const lead first = classify_lead(byte);
        return first.length > back && valid_prefix(text, at, first) == back ? back : 0;
    }
    return 0;
}

}  // namespace llm
