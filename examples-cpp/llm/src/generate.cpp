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
                    const std::function<void(const std::string &)> &print) {
    generation result;
    result.prompt_tokens = prompt.size();
    // The last new token is never fed back, so the sequence can be one longer than the context.
    const size_t room = model.context() - prompt.size() + 1;
    const size_t wanted = most < 0 ? std::numeric_limits<size_t>::max() : static_cast<size_t>(most);
    const size_t limit = std::min(room, wanted);
    result.reason = limit < wanted ? stop_reason::context_full : stop_reason::token_limit;

    utf8_stream text;
    const auto start = clock::now();
    auto first = start, last = start;
    model.append(prompt.data(), prompt.size());
    if (limit > 0) {
        model.draw_first();
        model.request_token();
    }
    // Draws queued so far: the device works on the next one while the host looks at the one before.
    size_t queued = std::min<size_t>(limit, 1);
    while (result.new_tokens < limit) {
        for (; queued < limit && queued < result.new_tokens + 1 + model.steps_ahead(); ++queued) {
            model.step();
            model.request_token();
        }
        const token_id token = model.wait_token();
        last = clock::now();
        if (++result.new_tokens == 1) first = last;
        if (words.ends_generation(token)) {
            result.reason = stop_reason::end_of_text;
            break;
        }
        print(text.push(words.decode(token)));
    }
    print(text.finish());
    // Past the end of the text a step may still be running.
    for (; queued > result.new_tokens; --queued) model.wait_token();
    model.synchronize();
    result.prefill_seconds = seconds_between(start, limit > 0 ? first : clock::now());
    result.decode_seconds = seconds_between(first, last);
    return result;
}

}  // namespace llm
