// Perplexity of a text, by the definition of llama.cpp's program of that name.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#include "engine.h"
#include "interrupt.h"
#include "tokenizer.h"

namespace llm {

struct perplexity_result {
    double perplexity = 0;
    double standard_error = 0;
    size_t chunks = 0, scored = 0;  // those done; scored: predicted tokens
    double seconds = 0;
};

// The text is cut into chunks of `chunk` tokens, an incomplete last one is dropped, and each starts with an empty cache. Scored are the
// predictions made from position chunk/2 to chunk - 2. `progress` is told the number of chunks done and of all. Where `stop` ends it, the
// result is of the chunks done until then; of none, the perplexity is not a number. Throws std::invalid_argument for a text shorter than
// a chunk.
perplexity_result measure_perplexity(engine &model, const tokenizer &words, const std::string &text, uint32_t chunk,
                                     const std::function<void(size_t, size_t)> &progress, const stop_request &stop);

// Rows of logits that are brought to the host at once, if a batch has so many.
constexpr uint32_t perplexity_logit_rows = 32;

}  // namespace llm
