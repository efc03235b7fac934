// The tokenizer of a model or of a vocabulary alone against the oracles' ids (vocab-*.tsv, by tools/gen_tokenizer_golden.py).
// Usage: vocabulary_test ROWS.tsv FILE.gguf lossless|lossy
#include "check.h"
#include "golden_lines.h"
#include "mapped_file.h"
#include "tokenizer.h"

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
    return test::summary();
}
