// The splitters of every family against Oniguruma (tests/data/split.tsv), on bytes that are not UTF-8, and their time.
// Usage: pretokenizer_test DATA_DIR
#include <ctime>
#include <set>

#include "check.h"
#include "golden_lines.h"
#include "pretokenizer.h"
#include "unicode.h"

using llm::pattern;
using llm::pretokenizer;
using lengths = std::vector<size_t>;

namespace {

pretokenizer family(const std::string &name) {
    const llm::pretokenizer_rules *rules = llm::find_pretokenizer(name);
    if (rules == nullptr) throw std::runtime_error("no family " + name);
    return pretokenizer(*rules);
}

lengths split(const pretokenizer &rules, const std::string &text) {
    lengths out;
    const char *at = text.data();
    for (const std::string_view piece : rules.split(text)) {
        if (piece.empty() || piece.data() != at) throw std::runtime_error("pieces that are not the text");
        at += piece.size();
        out.push_back(piece.size());
    }
    if (at != text.data() + text.size()) throw std::runtime_error("pieces that are not the whole text");
    return out;
}

void equals_the_expressions(const std::string &directory) {
    const auto rows = test::read_tsv(directory + "/split.tsv");
    CHECK(rows.size() > 200);
    std::set<std::string> seen;
    for (const auto &row : rows) {
        const std::string text = test::from_hex(row[0]);
        for (size_t i = 1; i < row.size(); ++i) {
            const size_t colon = row[i].find(':');
            std::string names = row[i].substr(0, colon) + ",";
            const auto expected = test::numbers<size_t>(row[i].substr(colon + 1));
            for (size_t comma = names.find(','); comma != std::string::npos; comma = names.find(',')) {
                const std::string name = names.substr(0, comma);
                names.erase(0, comma + 1);
                seen.insert(name);
                CHECK_MESSAGE(split(family(name), text) == expected, name + " splits " + row[0]);
            }
        }
    }
    // A family without vectors is one that nobody has compared; dbrx and its like have the rules of llama3.
    for (const llm::pretokenizer_rules &rules : llm::all_pretokenizers()) {
        const bool compared = seen.count(std::string(rules.names[0])) != 0;
        CHECK_MESSAGE(compared || rules.names[0] == "dbrx", std::string(rules.names[0]) + " has no vectors");
    }
}

void knows_the_names() {
    const auto same = [](const char *name, const char *family) {
        const llm::pretokenizer_rules *rules = llm::find_pretokenizer(name);
        CHECK_MESSAGE(rules != nullptr && rules->names[0] == family, std::string(name) + " is not of " + family);
    };
    for (const char *name : {"qwen2", "deepseek-r1-qwen", "megrez", "kormo", "stablelm2", "hunyuan"})
        same(name, "qwen2");
    for (const char *name : {"llama3", "llama-bpe", "llama-v3", "falcon3", "pixtral", "lfm2"}) same(name, "llama3");
    for (const char *name : {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}) same(name, "dbrx");
    for (const char *name : {"gpt-2", "phi-2", "olmo", "mpt", "exaone4"}) same(name, "gpt-2");
    for (const char *name : {"smollm", "starcoder", "refact", "command-r"}) same(name, "smollm");
    for (const char *name : {"gpt-4o", "llama4"}) same(name, "gpt-4o");
    for (const char *name : {"deepseek-llm", "deepseek-coder", "deepseek-v3", "tekken", "qwen35", "default"})
        same(name, name);
    CHECK(llm::find_pretokenizer("") == nullptr && llm::find_pretokenizer("qwen") == nullptr);
    CHECK(llm::find_pretokenizer("dbrx")->expressions == llm::find_pretokenizer("llama3")->expressions);
    std::set<std::string_view> names;
    for (const llm::pretokenizer_rules &rules : llm::all_pretokenizers()) {
        for (const std::string_view name : rules.names) CHECK_MESSAGE(names.insert(name).second, std::string(name));
    }
}

void takes_any_bytes() {
    const pretokenizer qwen2 = family("qwen2"), llama3 = family("llama3");
    // Each ill-formed byte is one character that is neither letter, number nor space, like '!'.
    CHECK((split(qwen2, "\xFF") == lengths{1}));
    CHECK((split(qwen2,
                 "a\xFF"
                 "b") == lengths{1, 2}));
    CHECK((split(qwen2, "\xFF\xFE\n a") == lengths{3, 2}));
    CHECK((split(qwen2, "\xE4\xBD") == lengths{2}));          // cut sequence
    CHECK((split(qwen2, "a\xC0\x80") == lengths{1, 2}));      // overlong
    CHECK((split(qwen2, "a\xED\xA0\x80") == lengths{1, 3}));  // surrogate
    uint32_t state = 1;
    for (int round = 0; round < 300; ++round) {
        std::string text;
        for (int i = 0; i < 40; ++i) {
            state = state * 1664525u + 1013904223u;
            text += static_cast<char>(state >> 24);
        }
        for (const llm::pretokenizer_rules &rules : llm::all_pretokenizers()) {
            size_t sum = 0;
            for (const size_t length : split(pretokenizer(rules), text)) sum += length;
            CHECK(sum == text.size());
        }
    }
}

void takes_long_runs_in_good_time() {
    const std::clock_t began = std::clock();  // of this process: others may keep the machine busy
    for (const llm::pretokenizer_rules &rules : llm::all_pretokenizers()) {
        const pretokenizer splitter(rules);
        // Runs that some alternative begins to match, to fail at their end.
        for (const char *unit :
             {" ", "a", "A", "1", "\t", "\n", "!", "\xE4\xB8\xAD", "\xCC\x81", "\xFF", " \n", "aA"}) {
            for (const char *end : {"x", "5", "\xE4\xB8\xAD", ""}) {
                std::string text;
                while (text.size() < 100000) text += unit;
                text += end;
                CHECK(!split(splitter, text).empty());
            }
        }
    }
    const double seconds = double(std::clock() - began) / CLOCKS_PER_SEC;
    CHECK_MESSAGE(seconds < 45, "runs of 100 kB took " + std::to_string(seconds) + " s");
}

void refuses_what_it_does_not_understand() {
    for (const char *bad :
         {"(", "a)", "(a)", "[a", "a**",   "a+?", "(?:a+)", "(?:a)+", "(?=a)",  "\\d", "\\p{Han}", "^a",
          ".", "a|", "",    "|a", "[[a]]", "a{",  "a{1",    "\\x{G}", "(?!ab)", "\\b", "[b-a]",    "(?!a)*"})
        CHECK_ERROR(std::logic_error, pattern(std::string_view(bad)), "pattern: ");
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
    equals_the_expressions(argv[1]);
    knows_the_names();
    takes_any_bytes();
    takes_long_runs_in_good_time();
    refuses_what_it_does_not_understand();
    holds_back_incomplete_sequences();
    return test::summary();
}
