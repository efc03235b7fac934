// The tokenizer of a model or of a vocabulary alone against the oracles' ids (vocab-*.tsv, by tools/gen_tokenizer_golden.py).
// Small files are also read with bytes changed: only gguf_error may come out.
// Usage: vocabulary_test ROWS.tsv FILE.gguf lossless|lossy
#include "check.h"
#include "golden_lines.h"
#include "mapped_file.h"
#include "tokenizer.h"

namespace {

void takes_changed_files(const llm::mapped_file &file, const std::vector<std::vector<std::string>> &rows) {
    uint32_t state = 7;
    const auto random = [&state](size_t below) {
        state = state * 1664525u + 1013904223u;
        return (state >> 8) % below;
    };
    size_t accepted = 0;
    for (int round = 0; round < 2000; ++round) {
        std::vector<uint8_t> bytes(file.data(), file.data() + file.size());
        for (size_t i = 0; i < 1 + random(4); ++i) {
            // Half of them where keys and types are thick, in front of and behind the long lists.
            const size_t end = random(2) == 0 ? bytes.size() : 400;
            const size_t at = random(2) == 0 ? random(end) : bytes.size() - 1 - random(end);
            const uint8_t values[] = {
                0, 1, 0x7F, 0x80, 0xFF, static_cast<uint8_t>(bytes[at] + 1), static_cast<uint8_t>(random(256))};
            bytes[at] = values[random(sizeof values)];
        }
        try {
            const llm::gguf changed(bytes.data(), bytes.size());
            const llm::tokenizer t(changed);
            for (size_t i = 0; i < 5; ++i)
                t.decode(t.encode(test::from_hex(rows[random(rows.size())][0]), true, true), true);
            ++accepted;
        } catch (const llm::gguf_error &) {
        }
    }
    CHECK_MESSAGE(accepted > 50 && accepted < 2000, std::to_string(accepted) + " changed files were read");
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    const bool lossless = std::string(argv[3]) == "lossless";
    const llm::mapped_file file(argv[2]);
    const llm::tokenizer t(llm::gguf(file.data(), file.size()));
    CHECK(t.notes().empty() && t.bos() != llm::no_token);
    const auto rows = test::read_tsv(argv[1]);
    CHECK(rows.size() > 20);
    size_t changed = 0;
    for (const auto &row : rows) {
        const std::string text = test::from_hex(row[0]);
        const std::vector<llm::token_id> plain = t.encode(text, false, false);
        CHECK_MESSAGE(plain == test::numbers<llm::token_id>(row[1]), "encode " + row[0]);
        CHECK_MESSAGE(t.encode(text, true, true) == test::numbers<llm::token_id>(row[2]),
                      "encode with control tokens " + row[0]);
        const bool same = t.decode(plain, true) == text;
        CHECK_MESSAGE(same || !lossless, "round trip of " + row[0]);
        changed += same ? 0 : 1;
    }
    // A vocabulary that is said to lack bytes has to meet one that it lacks.
    CHECK(lossless || changed > 0);
    if (file.size() < (1u << 20)) takes_changed_files(file, rows);
    return test::summary();
}
