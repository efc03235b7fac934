#include "generate.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace llm {
namespace {

using clock = std::chrono::steady_clock;

double seconds_between(clock::time_point from, clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
}

}  // namespace

generation generate(engine &model, const tokenizer &words, const std::vector<token_id> &prompt, int32_t most,
                    const std::function<void(size_t, const std::string &)> &print) {
    generation result;
    result.sequences = model.sequences();
    result.prompt_tokens = prompt.size();
    // The last new token is never fed back, so a sequence can be one longer than the context.
    const size_t room = model.context() - prompt.size() + 1;
    const size_t wanted = most < 0 ? std::numeric_limits<size_t>::max() : static_cast<size_t>(most);
    const size_t limit = std::min(room, wanted);
    result.reason = limit < wanted ? stop_reason::context_full : stop_reason::token_limit;

    std::vector<utf8_stream> texts(result.sequences);
    std::vector<bool> ended(result.sequences);
    size_t running = result.sequences;
    const auto start = clock::now();
    auto first = start, last = start;
    model.append(prompt.data(), prompt.size());
    model.share();
    if (limit > 0) {
        model.draw_first();
        model.request_tokens();
    }
    // Draws queued so far: the device works on the next one while the host looks at the one before.
    size_t queued = std::min<size_t>(limit, 1), seen = 0;
    while (seen < limit && running > 0) {
        for (; queued < limit && queued < seen + 1 + model.steps_ahead(); ++queued) {
            model.step();
            model.request_tokens();
        }
        const token_id *tokens = model.wait_tokens();
        last = clock::now();
        if (++seen == 1) first = last;
        for (size_t i = 0; i < result.sequences; ++i) {
            // A sequence that has ended is computed on beside the others; what comes of it is dropped.
            if (ended[i]) continue;
            ++result.new_tokens;
            if (words.ends_generation(tokens[i])) {
                ended[i] = true;
                --running;
            } else {
                print(i, texts[i].push(words.decode(tokens[i])));
            }
        }
    }
    if (running == 0) result.reason = stop_reason::end_of_text;
    for (size_t i = 0; i < result.sequences; ++i) print(i, texts[i].finish());
    // Past the end of the text a step may still be running.
    for (; queued > seen; --queued) model.wait_tokens();
    model.synchronize();
    result.prefill_seconds = seconds_between(start, limit > 0 ? first : clock::now());
    result.decode_seconds = seconds_between(first, last);
    return result;
}

}  // namespace llm
