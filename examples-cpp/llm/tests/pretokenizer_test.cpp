// The splitters against Oniguruma (tests/data/split.tsv) and on bytes that are not UTF-8. Usage: pretokenizer_test DATA_DIR
#include "pretokenizer.h"
#include "check.h"
#include "golden_lines.h"
#include "unicode.h"

using llm::pretokenizer;

namespace {

std::vector<size_t> split(pretokenizer kind, const std::string &text) {
    std::vector<size_t> lengths;
    for (size_t at = 0; at < text.size();) {
        const size_t end = llm::next_piece_end(kind, text, at);
        if (end <= at || end > text.size()) throw std::runtime_error("piece out of bounds");
        lengths.push_back(end - at);
        at = end;
    }
    return lengths;
}

void equals_the_expression(const std::string &directory) {
    const auto rows = test::read_tsv(directory + "/split.tsv");
    CHECK(rows.size() > 500);
    for (const auto &row : rows) {
        const pretokenizer kind = row[0] == "qwen2" ? pretokenizer::qwen2 : pretokenizer::llama_bpe;
        CHECK_MESSAGE(split(kind, test::from_hex(row[1])) == test::numbers<size_t>(row[2]),
                      row[0] + " splits " + row[1]);
    }
}

void takes_any_bytes() {
    // Each ill-formed byte is one character that is neither letter, number nor space, like '!'.
    CHECK((split(pretokenizer::qwen2, "\xFF") == std::vector<size_t>{1}));
    CHECK((split(pretokenizer::qwen2,
                 "a\xFF"
                 "b") == std::vector<size_t>{1, 2}));
    CHECK((split(pretokenizer::qwen2, "\xFF\xFE\n a") == std::vector<size_t>{3, 2}));
    CHECK((split(pretokenizer::qwen2, "\xE4\xBD") == std::vector<size_t>{2}));          // cut sequence
    CHECK((split(pretokenizer::qwen2, "a\xC0\x80") == std::vector<size_t>{1, 2}));      // overlong
    CHECK((split(pretokenizer::qwen2, "a\xED\xA0\x80") == std::vector<size_t>{1, 3}));  // surrogate
    uint32_t state = 1;
    for (int round = 0; round < 2000; ++round) {
        std::string text;
        for (int i = 0; i < 40; ++i) {
            state = state * 1664525u + 1013904223u;
            text += static_cast<char>(state >> 24);
        }
        size_t sum = 0;
        for (const size_t length : split(pretokenizer::llama_bpe, text)) sum += length;
        CHECK(sum == text.size());
    }
}

void holds_back_incomplete_sequences() {
    CHECK(llm::incomplete_utf8_tail("") == 0);
    CHECK(llm::incomplete_utf8_tail("abc") == 0);
    CHECK(llm::incomplete_utf8_tail("a\xC3") == 1);
    CHECK(llm::incomplete_utf8_tail("a\xC3\xA9") == 0);
    CHECK(llm::incomplete_utf8_tail("\xE2\x80") == 2);
    CHECK(llm::incomplete_utf8_tail("\xF0\x9F\x98") == 3);
    CHECK(llm::incomplete_utf8_tail("\xF0\x9F\x98\x80") == 0);
    CHECK(llm::incomplete_utf8_tail("\xF0\x80") == 0);  // can never become well formed
    CHECK(llm::incomplete_utf8_tail("\x80\x80\x80\x80") == 0);
    CHECK(llm::incomplete_utf8_tail("\xFF") == 0);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    equals_the_expression(argv[1]);
    takes_any_bytes();
    holds_back_incomplete_sequences();
    return test::summary();
}
