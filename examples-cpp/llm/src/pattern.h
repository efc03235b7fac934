// The regular expressions that models split text with, in the syntax of their own tokenizers (Oniguruma), so that a table can hold them
// as they are. Understood is what these expressions use:
//   literals, \r \n \t \x{HEX} and escaped punctuation; \s \S; \p{L} and the other categories of char_classes; [...] and [^...] of these
//   ? * + {n} {m,n}, greedy; (?:...) and (?i:...) around alternatives of a fixed length, with or without ?
//   (?!X) where X is one character; $; alternatives, of which the first that matches counts
// Time is linear in the text but for expressions that fail after two runs of their own; none of the table does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "unicode.h"

namespace llm {

class pattern {
public:
    // Throws std::logic_error for an expression that is not understood.
    explicit pattern(std::string_view expression);

    // Cuts `text` at the matches, from left to right: appends each match, and what lies between two, to `pieces`. No piece is empty. A byte
    // that is not UTF-8 counts as a character outside every class.
    void split(std::string_view text, std::vector<std::string_view> &pieces) const;

private:
    friend class pattern_parser;

    struct char_set {
        char_classes classes = 0;
        bool negated = false;
        std::vector<std::pair<uint32_t, uint32_t>> ranges;
        uint64_t ascii[2] = {};

        bool contains(uint32_t code_point) const;
        bool holds(uint32_t code_point) const;  // the same for any character, without the table for ASCII
        void finish();                          // fills the table for ASCII
    };

    struct item;
    using sequence = std::vector<item>;

    struct item {
        enum class kind : uint8_t { characters, not_before, line_end, choice };
        kind what = kind::characters;
        char_set set;                     // characters, not_before
        uint32_t least = 1, most = 1;     // characters, and 0 for a choice that may be left out
        std::vector<sequence> options{};  // choice
    };

    static constexpr size_t none = static_cast<size_t>(-1);
    static size_t match(const sequence &items, size_t index, std::string_view text, size_t at);
    static size_t run_end(const item &run, std::string_view text, size_t at, uint32_t &count);

    std::vector<sequence> alternatives_;
};

}  // namespace llm
