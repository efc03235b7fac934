#include "perplexity.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

namespace llm {
namespace {

// -log softmax(logits)[target], over the vocabulary: logits of rows beyond it are not looked at.
double negative_log_likelihood(const float *logits, uint32_t vocab, token_id target) {
    const float highest = *std::max_element(logits, logits + vocab);
    double sum = 0;
    for (uint32_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(logits[i] - highest));
    return std::log(sum) - static_cast<double>(logits[target] - highest);
}

struct score {
    double sum = 0, sum_of_squares = 0;
    size_t count = 0;

    void add(double value) {
        sum += value;
        sum_of_squares += value * value;
        ++count;
    }
};

// Feeds one chunk and scores the rows of each batch that lie in [first, last] of the chunk. False where `stop` ended it before its end.
bool score_chunk(engine &model, uint32_t vocab, const std::vector<token_id> &input, const token_id *targets,
                 uint32_t first, uint32_t last, const stop_request &stop, score &total) {
    const auto chunk = static_cast<uint32_t>(input.size());
    const uint32_t batch = model.plan().shape.batch, width = model.logit_width();
    model.rewind(0);
    for (uint32_t start = 0; start < chunk; start += batch) {
        const uint32_t rows = std::min(batch, chunk - start);
        if (model.append(&input[start], rows, stop) < rows) return false;
        for (uint32_t row = std::max(start, first); row < start + rows && row <= last;) {
            if (stop()) return false;
            const uint32_t count = std::min({model.plan().shape.logit_rows, start + rows - row, last + 1 - row});
            const float *logits = model.logits(row - start, count);
            for (uint32_t i = 0; i < count; ++i)
                total.add(negative_log_likelihood(logits + uint64_t{i} * width, vocab, targets[row + i]));
            row += count;
        }
    }
    return true;
}

}  // namespace

perplexity_result measure_perplexity(engine &model, const tokenizer &words, const std::string &text, uint32_t chunk,
                                     const std::function<void(size_t, size_t)> &progress, const stop_request &stop) {
    // With EOS where the file asks for it: unlike a prompt, this text ends here.
    const std::vector<token_id> tokens = words.encode(text, true, false);
    perplexity_result result;
    const size_t chunks = tokens.size() / chunk;
    if (chunks == 0)
        throw std::invalid_argument("the text has " + std::to_string(tokens.size()) +
                                    " tokens, less than one chunk of " + std::to_string(chunk) +
                                    "; --ctx sets the size of a chunk, 3 at least");

    const auto began = std::chrono::steady_clock::now();
    score total;
    while (result.chunks < chunks) {
        const token_id *at = &tokens[result.chunks * chunk];
        std::vector<token_id> input(at, at + chunk);
        if (words.adds_bos()) input[0] = words.bos();
        // The prediction made at position p is of token p + 1.
        score with_this = total;
        if (!score_chunk(model, static_cast<uint32_t>(words.size()), input, at + 1, chunk / 2, chunk - 2, stop,
                         with_this))
            break;
        total = with_this;
        progress(++result.chunks, chunks);
    }
    const auto count = static_cast<double>(total.count);
    const double mean = total.sum / count;
    result.scored = total.count;
    result.perplexity = std::exp(mean);
    if (total.count > 1)
        result.standard_error =
            std::sqrt(std::max(0.0, total.sum_of_squares / count - mean * mean) / (count - 1)) * result.perplexity;
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    return result;
}

}  // namespace llm
