// The tokens that a vocabulary gives a role: where a text begins and ends, and where a model stops.
//
// Files are careless with them. An id that is absent, of another type, negative or beyond the vocabulary is as good as none, and never an
// error: the token is then found by its name, or the file has none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gguf.h"

namespace llm {

using token_id = int32_t;
constexpr token_id no_token = -1;

struct special_tokens {
    token_id bos = no_token, eos = no_token, eot = no_token, unknown = no_token;
    // Whether a text gets them; false where the token is missing, whatever the file asks for.
    bool add_bos = false, add_eos = false;
    // All that end a generation: end of text, turn and message, and what follows a file in fill-in-the-middle (padding, the name of the next
    // repository, the separator of files).
    std::vector<token_id> ends;
    // What the file asks for and does not get, for people.
    std::vector<std::string> notes;
};

// `entries` is the vocabulary, `control` says which of them the file lists as control tokens; `adds_bos` is what holds for the kind of vocabulary
// when the file does not say.
special_tokens read_special_tokens(const gguf &file, const std::vector<std::string_view> &entries,
                                   const std::vector<bool> &control, bool adds_bos);

// What the key says, or the fallback, with a note where its value is no flag.
bool flag_or(const gguf &file, const std::string &key, bool fallback, std::vector<std::string> &notes);

// True for a name that nothing but a token that ends a turn, a message or a text has: it is one even where a file lists it as plain text.
// (</s> is not among them: it is an HTML tag as well, and the vocabularies of Gemma have it as one.)
bool names_only_an_end(std::string_view entry);

}  // namespace llm
