#include "generate.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace llm {
namespace {

using clock = std::chrono::steady_clock;

// Text comes in pieces of a burst where that takes less than this.
constexpr double burst_seconds = 0.03;

double seconds_between(clock::time_point from, clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
}

}  // namespace

generation generate(engine &model, const tokenizer &words, const std::vector<token_id> &prompt, int32_t most,
                    const std::function<void(size_t, const std::string &)> &print, const stop_request &stop) {
    generation result;
    result.sequences = model.sequences();
    // The last new token is never fed back, so a sequence can be one longer than the context.
    const size_t room = model.context() - model.length() - prompt.size() + 1;
    const size_t wanted = most < 0 ? std::numeric_limits<size_t>::max() : static_cast<size_t>(most);
    size_t limit = std::min(room, wanted);
    result.reason = limit < wanted ? stop_reason::context_full : stop_reason::token_limit;

    std::vector<utf8_stream> texts(result.sequences);
    std::vector<bool> ended(result.sequences);
    size_t running = result.sequences;
    const auto start = clock::now();
    auto first = start, last = start;
    bool cut = false;
    const auto cut_short = [&cut, &stop] { return cut = cut || stop(); };
    result.prompt_tokens = model.append(prompt.data(), prompt.size(), cut_short);
    model.share();
    if (cut_short()) limit = 0;
    if (limit > 0) {
        model.draw_first();
        model.request_tokens();
    }
    // Draws queued so far, by calls that were not waited for: the device works on the next ones while the host looks at those before.
    size_t queued = std::min<size_t>(limit, 1), seen = 0;
    uint32_t calls = limit > 0 ? 1 : 0;
    while (seen < limit && running > 0 && !cut_short()) {
        for (; queued < limit && calls < 1 + model.calls_ahead(); ++calls) {
            // Where steps take long, a text is wanted as it comes, and what is computed past its end costs more than it gains.
            const bool fast = seen > 1 && seconds_between(first, last) < burst_seconds / burst_steps * double(seen - 1);
            queued += model.step(fast ? static_cast<uint32_t>(std::min<size_t>(limit - queued, burst_steps)) : 1);
            model.request_tokens();
        }
        const engine::drawn drawn = model.wait_tokens();
        --calls;
        last = clock::now();
        if (seen == 0) first = last;
        seen += drawn.steps;
        const token_id *token = drawn.tokens;
        for (uint32_t step = 0; step < drawn.steps && running > 0; ++step) {
            for (size_t i = 0; i < result.sequences; ++i, ++token) {
                // A sequence that has ended is computed on beside the others; what comes of it is dropped.
                if (ended[i]) continue;
                ++result.new_tokens;
                if (words.ends_generation(*token)) {
                    ended[i] = true;
                    --running;
                } else {
                    if (i == 0) result.tokens.push_back(*token);
                    print(i, texts[i].push(words.decode(*token)));
                }
            }
        }
    }
    if (running == 0) {
        result.reason = stop_reason::end_of_text;
    } else if (cut) {
        result.reason = stop_reason::interrupted;
    }
    for (size_t i = 0; i < result.sequences; ++i) print(i, texts[i].finish());
    // Past the end of the text a step may still be running.
    for (; calls > 0; --calls) model.wait_tokens();
    model.synchronize();
    result.prefill_seconds = seconds_between(start, seen > 0 ? first : clock::now());
    result.decode_seconds = seconds_between(first, last);
    return result;
}

}  // namespace llm
