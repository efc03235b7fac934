#include "unicode.h"

#include <algorithm>
#include <iterator>

namespace llm {
namespace {

struct code_point_range {
    uint32_t first, last;
};

#include "unicode_tables.inc"

template <size_t N>
bool contains(const code_point_range (&table)[N], uint32_t code_point) {
    const auto *after =
        std::upper_bound(std::begin(table), std::end(table), code_point,
                         [](uint32_t wanted, const code_point_range &range) { return wanted < range.first; });
    return after != std::begin(table) && code_point <= std::prev(after)->last;
}

bool is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
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

char_class classify(uint32_t code_point) {
    if (code_point < 0x80) {
        const uint32_t lower = code_point | 0x20;
        if (lower >= 'a' && lower <= 'z') return char_class::letter;
        if (code_point >= '0' && code_point <= '9') return char_class::number;
        return is_space(code_point) ? char_class::space : char_class::other;
    }
    if (is_space(code_point)) return char_class::space;
    if (contains(letters, code_point)) return char_class::letter;
    return contains(numbers, code_point) ? char_class::number : char_class::other;
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
