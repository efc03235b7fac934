// The little of Unicode that tokenizers need: UTF-8 and the classes of characters (Unicode 16.0.0).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llm {

// General categories and the property White_Space, as bits. A character has at most one of the categories.
using char_classes = uint16_t;
namespace char_class {
constexpr char_classes upper = 1, lower = 2, title = 4, modifier = 8, other_letter = 16;  // Lu, Ll, Lt, Lm, Lo
constexpr char_classes letter = 31, mark = 32, number = 64, punctuation = 128, symbol = 256, space = 512;
}  // namespace char_class

char_classes classify(uint32_t code_point);

struct utf8_char {
    uint32_t code_point;  // `invalid` for a byte that starts no well-formed sequence
    uint32_t bytes;       // at least 1

    static constexpr uint32_t invalid = 0xFFFFFFFF;
};

// The character at text[at], at < text.size(). Overlong forms, surrogates and values above U+10FFFF are not well formed; an ill-formed
// byte is one character of its own, so that every byte string splits into characters and no byte is lost.
utf8_char decode_utf8(std::string_view text, size_t at);

void append_utf8(std::string &out, uint32_t code_point);

// The text with U+FFFD for what is ill-formed in it: one for each longest beginning of a sequence, and for each byte that begins none, as
// Python and Rust replace it.
std::string well_formed_utf8(std::string_view text);

// How many bytes at the end of `text` begin a sequence that more bytes could complete (0 to 3).
size_t incomplete_utf8_tail(std::string_view text);

}  // namespace llm
