// Splits text into the words that byte-pair merges never cross.
//
// A GGUF file names how (tokenizer.ggml.pre). Many names stand for the same rules: a table has the names of each family, and its rules as the
// regular expressions of the models' own tokenizers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pattern.h"

namespace llm {

struct pretokenizer_rules {
    std::vector<std::string_view> names;        // the first is the family's
    std::vector<std::string_view> expressions;  // each splits the pieces that the one before it leaves
    bool whole_words = false;  // a word that is a token as a whole is that token, whatever its merges give
    bool adds_bos = false;     // unless the file says otherwise
};

// Rules by the name that a file gives, "default" for a file without one; nullptr for a name that no family has.
const pretokenizer_rules *find_pretokenizer(std::string_view name);

const std::vector<pretokenizer_rules> &all_pretokenizers();

class pretokenizer {
public:
    explicit pretokenizer(const pretokenizer_rules &rules);

    // In the order of the text, none empty, together the whole of it.
    std::vector<std::string_view> split(std::string_view text) const;

private:
    std::vector<pattern> stages_;
};

}  // namespace llm
