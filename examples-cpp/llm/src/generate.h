// Continues a prompt, handing out text as it comes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine.h"
#include "interrupt.h"
#include "tokenizer.h"

namespace llm {

enum class stop_reason { end_of_text, token_limit, context_full, interrupted, end_of_input };

struct generation {
    size_t sequences = 1;
    size_t prompt_tokens = 0;    // all of them, unless an interrupt came before
    size_t texts = 1;            // of each sequence: the turns of a conversation
    size_t new_tokens = 0;       // of all sequences; the token that ended a text is counted
    double prefill_seconds = 0;  // until the first new token was known
    double decode_seconds = 0;   // from then until the last was
    stop_reason reason = stop_reason::token_limit;
    std::vector<token_id> tokens{};  // of the first sequence, without the one that ended its text

    double prefill_rate() const {
        return prefill_seconds > 0 ? static_cast<double>(prompt_tokens) / prefill_seconds : 0;
    }
    // The first new token of each text comes out of the prefill.
    double decode_rate() const {
        return new_tokens > sequences * texts && decode_seconds > 0
                   ? static_cast<double>(new_tokens - sequences * texts) / decode_seconds
                   : 0;
    }
};

// Behind what the engine's sequence holds, `most` new tokens of each of the engine's sequences, negative for as many as the context holds.
// `print` receives the number of the sequence and whole UTF-8 characters only. Between two batches of the prompt and between two tokens
// `stop` is asked whether to end.
generation generate(engine &model, const tokenizer &words, const std::vector<token_id> &prompt, int32_t most,
                    const std::function<void(size_t, const std::string &)> &print, const stop_request &stop);

}  // namespace llm
