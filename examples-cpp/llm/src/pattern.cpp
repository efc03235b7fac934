#include "pattern.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

namespace llm {
namespace {

constexpr uint32_t unlimited = std::numeric_limits<uint32_t>::max();

// Where the character that ends at `end` begins. UTF-8 synchronises itself: a well-formed sequence that ends here was read as one.
size_t previous(std::string_view text, size_t from, size_t end) {
    for (size_t bytes = 4; bytes > 1; --bytes) {
        if (end - from >= bytes && decode_utf8(text, end - bytes).bytes == bytes) return end - bytes;
    }
    return end - 1;
}

}  // namespace

bool pattern::char_set::holds(uint32_t code_point) const {
    // An ill-formed byte is in no class and no range.
    bool in = false;
    if (code_point != utf8_char::invalid) {
        in = (classify(code_point) & classes) != 0;
        for (const auto &range : ranges) in = in || (code_point >= range.first && code_point <= range.second);
    }
    return in != negated;
}

bool pattern::char_set::contains(uint32_t code_point) const {
    return code_point < 128 ? (ascii[code_point / 64] >> (code_point % 64) & 1) != 0 : holds(code_point);
}

void pattern::char_set::finish() {
    for (uint32_t c = 0; c < 128; ++c) ascii[c / 64] |= uint64_t{holds(c)} << (c % 64);
}

// Recursive descent over the expression.
class pattern_parser {
public:
    explicit pattern_parser(std::string_view expression) : text_(expression) {}

    std::vector<pattern::sequence> parse() {
        std::vector<pattern::sequence> out = alternatives(false);
        if (at_ != text_.size()) fail("an unmatched )");
        return out;
    }

private:
    using item = pattern::item;
    using char_set = pattern::char_set;

    [[noreturn]] void fail(const std::string &what) const {
        throw std::logic_error("pattern: " + what + " at " + std::to_string(at_) + " of " + std::string(text_));
    }

    bool ends() const { return at_ == text_.size(); }
    bool next_is(char c) const { return !ends() && text_[at_] == c; }
    bool take(std::string_view wanted) {
        if (text_.compare(at_, wanted.size(), wanted) != 0) return false;
        at_ += wanted.size();
        return true;
    }

    uint32_t literal() {
        if (ends()) fail("the end");
        const utf8_char c = decode_utf8(text_, at_);
        at_ += c.bytes;
        return c.code_point;
    }

    std::vector<pattern::sequence> alternatives(bool in_group) {
        std::vector<pattern::sequence> out(1);
        while (!ends() && !next_is(')')) {
            if (take("|")) {
                out.emplace_back();
                continue;
            }
            item next = one_item();
            quantify(next, in_group);
            out.back().push_back(std::move(next));
        }
        for (const pattern::sequence &items : out) {
            if (items.empty()) fail("an empty alternative");
        }
        return out;
    }

    item one_item() {
        item out;
        if (take("(?!")) {
            out.what = item::kind::not_before;
            out.set = characters();
            if (!take(")")) fail("more than one character to look ahead at");
        } else if (next_is('(')) {
            out.what = item::kind::choice;
            const bool outer = ignore_case_;
            if (take("(?i:")) {
                ignore_case_ = true;
            } else if (!take("(?:")) {
                fail("a group of an unknown kind");
            }
            out.options = alternatives(true);
            if (!take(")")) fail("an unclosed group");
            ignore_case_ = outer;
        } else if (take("$")) {
            out.what = item::kind::line_end;
        } else {
            out.set = characters();
        }
        return out;
    }

    void quantify(item &out, bool in_group) {
        if (take("?")) {
            out.least = 0;
        } else if (take("*")) {
            out.least = 0;
            out.most = unlimited;
        } else if (take("+")) {
            out.most = unlimited;
        } else if (take("{")) {
            out.least = out.most = number();
            if (take(",")) out.most = number();
            if (!take("}")) fail("an unclosed {");
        }
        const bool fixed = out.least == out.most;
        if (next_is('?') || next_is('+') || next_is('*')) fail("a second quantifier");
        if (in_group && !fixed) fail("a variable length in a group");
        if (out.what == item::kind::choice && out.most != 1) fail("a repeated group");
        if ((out.what == item::kind::not_before || out.what == item::kind::line_end) && !fixed)
            fail("a quantified position");
    }

    uint32_t number() {
        uint32_t out = 0;
        const size_t from = at_;
        for (; !ends() && text_[at_] >= '0' && text_[at_] <= '9' && out < 100000; ++at_)
            out = out * 10 + static_cast<uint32_t>(text_[at_] - '0');
        if (at_ == from) fail("no number");
        return out;
    }

    char_set characters() {
        char_set out;
        if (take("[")) {
            out.negated = take("^");
            while (!take("]")) element(out);
        } else if (take("\\S")) {
            out.classes = char_class::space;
            out.negated = true;
        } else {
            if (!ends() && std::string_view("()|?*+{.^").find(text_[at_]) != std::string_view::npos)
                fail("an operator out of place");
            if (!class_escape(out)) add(out, character(), 0);
        }
        out.finish();
        return out;
    }

    void element(char_set &out) {
        if (next_is('[')) fail("a class inside a class");
        if (class_escape(out)) return;
        const uint32_t first = character();
        uint32_t last = 0;
        if (next_is('-') && text_.substr(at_ + 1, 1) != "]") {
            ++at_;
            last = character();
            if (last < first) fail("a range that runs backwards");
        }
        add(out, first, last);
    }

    bool class_escape(char_set &out) {
        if (take("\\s")) {
            out.classes |= char_class::space;
            return true;
        }
        if (!take("\\p{")) return false;
        using namespace char_class;
        constexpr std::pair<std::string_view, char_classes> names[] = {
            {"L", letter},        {"Lu", upper}, {"Ll", lower},       {"Lt", title},      {"Lm", modifier},
            {"Lo", other_letter}, {"M", mark},   {"N", number_class}, {"P", punctuation}, {"S", symbol}};
        for (const auto &name : names) {
            if (!take(std::string(name.first) + "}")) continue;
            out.classes |= name.second;
            return true;
        }
        fail("an unknown property");
    }
    static constexpr char_classes number_class = char_class::number;

    uint32_t character() {
        if (!take("\\")) return literal();
        if (take("r")) return '\r';
        if (take("n")) return '\n';
        if (take("t")) return '\t';
        if (take("x{")) {
            uint32_t out = 0;
            for (; !ends() && text_[at_] != '}'; ++at_) {
                const size_t digit = std::string_view("0123456789ABCDEF").find(text_[at_]);
                if (digit == std::string_view::npos || out > 0xFFFFF) fail("not a code point");
                out = out * 16 + static_cast<uint32_t>(digit);
            }
            if (!take("}")) fail("an unclosed \\x{");
            return out;
        }
        const uint32_t c = literal();
        if (c >= 0x80 || (classify(c) & (char_class::letter | char_class::number)) != 0) fail("an unknown escape");
        return c;
    }

    // One character where last is 0.
    void add(char_set &out, uint32_t first, uint32_t last) const {
        out.ranges.emplace_back(first, std::max(first, last));
        if (!ignore_case_) return;
        if (last != 0) fail("a range without regard to case");
        const uint32_t lower = first | 0x20;
        if (first >= 0x80 || lower < 'a' || lower > 'z') return;
        out.ranges.emplace_back(lower, lower);
        out.ranges.emplace_back(lower - 0x20, lower - 0x20);
        if (lower == 's') out.ranges.emplace_back(0x17F, 0x17F);    // long s
        if (lower == 'k') out.ranges.emplace_back(0x212A, 0x212A);  // Kelvin sign
    }

    std::string_view text_;
    size_t at_ = 0;
    bool ignore_case_ = false;
};

pattern::pattern(std::string_view expression) : alternatives_(pattern_parser(expression).parse()) {}

size_t pattern::run_end(const item &run, std::string_view text, size_t at, uint32_t &count) {
    for (count = 0; count < run.most && at < text.size(); ++count) {
        const utf8_char c = decode_utf8(text, at);
        if (!run.set.contains(c.code_point)) break;
        at += c.bytes;
    }
    return at;
}

size_t pattern::match(const sequence &items, size_t index, std::string_view text, size_t at) {
    for (; index < items.size(); ++index) {
        const item &next = items[index];
        switch (next.what) {
            case item::kind::characters: {
                uint32_t count = 0;
                size_t end = run_end(next, text, at, count);
                if (count < next.least) return none;
                // What follows decides how many it gives back; nothing follows the last, and a fixed count has nothing to give.
                for (; index + 1 < items.size() && count > next.least; --count) {
                    const size_t rest = match(items, index + 1, text, end);
                    if (rest != none) return rest;
                    end = previous(text, at, end);
                }
                at = end;
                break;
            }
            case item::kind::not_before:
                if (at < text.size() && next.set.contains(decode_utf8(text, at).code_point)) return none;
                break;
            case item::kind::line_end:
                if (at < text.size() && text[at] != '\n') return none;
                break;
            case item::kind::choice:
                for (const sequence &option : next.options) {
                    const size_t end = match(option, 0, text, at);
                    const size_t rest = end == none ? none : match(items, index + 1, text, end);
                    if (rest != none) return rest;
                }
                if (next.least != 0) return none;
                break;
        }
    }
    return at;
}

void pattern::split(std::string_view text, std::vector<std::string_view> &pieces) const {
    // An alternative that begins with a run and fails fails at every later place in the same run as well: it would try the same ends again.
    std::vector<size_t> blocked(alternatives_.size(), 0);
    const auto match_at = [&](size_t at) {
        for (size_t i = 0; i < alternatives_.size(); ++i) {
            const sequence &items = alternatives_[i];
            if (at < blocked[i]) continue;
            const size_t end = match(items, 0, text, at);
            if (end != none && end > at) return end;
            const item &first = items.front();
            uint32_t count = 0;
            if (first.what == item::kind::characters && first.most == unlimited && first.least <= 1)
                blocked[i] = run_end(first, text, at, count);
        }
        return none;
    };
    size_t start = 0;  // of what no match has taken
    for (size_t at = 0; at < text.size();) {
        const size_t end = match_at(at);
        if (end == none) {
            at += decode_utf8(text, at).bytes;
            continue;
        }
        if (at > start) pieces.push_back(text.substr(start, at - start));
        pieces.push_back(text.substr(at, end - at));
        start = at = end;
    }
    if (start < text.size()) pieces.push_back(text.substr(start));
}

}  // namespace llm
