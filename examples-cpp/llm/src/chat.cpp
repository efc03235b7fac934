#include "chat.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <poll.h>
#include <unistd.h>

#include "unicode.h"

namespace llm {

conversation::conversation(engine &model, const tokenizer &words, const chat_template &form, const std::string &system)
    : model_(model), words_(words), form_(form) {
    if (!system.empty()) messages_.push_back({"system", words.shield(well_formed_utf8(system))});
}

generation conversation::say(const std::string &said, int32_t most,
                             const std::function<void(const std::string &)> &print, const stop_request &stop) {
    messages_.push_back({"user", words_.shield(well_formed_utf8(said))});
    std::vector<token_id> tokens;
    try {
        tokens = words_.encode_shielded(form_.render(messages_, true));
        if (tokens.empty()) throw chat_template_error("the model's chat template gives an empty text");
        if (tokens.size() > model_.context())
            throw conversation_full("the conversation has " + std::to_string(tokens.size()) + " tokens, the context " +
                                    std::to_string(model_.context()) +
                                    "; --ctx makes it larger, as far as the model allows");
    } catch (...) {
        messages_.pop_back();
        throw;
    }
    // What is there already is not computed again, but for the last token, whose logits are wanted.
    const auto parts = std::mismatch(held_.begin(), held_.end(), tokens.begin(), tokens.end());
    const size_t kept = std::min(static_cast<size_t>(parts.first - held_.begin()), tokens.size() - 1);
    model_.rewind(static_cast<uint32_t>(kept));
    std::string answer;
    generation result = generate(
        model_, words_, {tokens.begin() + static_cast<std::ptrdiff_t>(kept), tokens.end()}, most,
        [&](size_t, const std::string &text) {
            answer += text;
            print(text);
        },
        stop);
    messages_.push_back({"assistant", words_.shield(well_formed_utf8(answer))});
    held_ = std::move(tokens);
    held_.insert(held_.end(), result.tokens.begin(), result.tokens.end());
    // The last token was drawn and not fed back; of a prompt that was cut short the rest is missing. Steps behind the text's end are
    // dropped by the next rewind.
    held_.resize(std::min<size_t>(held_.size(), model_.length()));
    return result;
}

bool line_reader::next(std::string &line, const stop_request &stop) {
    line.clear();
    std::string part;
    bool any = false;
    while (read_line(part, stop)) {
        any = true;
        line += part;
        if (line.empty() || line.back() != '\\') return true;
        line.back() = '\n';
    }
    return any && !stop();
}

bool line_reader::read_line(std::string &line, const stop_request &stop) {
    for (;;) {
        const size_t end = read_.find('\n');
        if (end != std::string::npos || (ended_ && !read_.empty())) {
            line = read_.substr(0, end);
            read_.erase(0, end == std::string::npos ? end : end + 1);
            if (!line.empty() && line.back() == '\r') line.pop_back();
            return true;
        }
        if (ended_) return false;
        // Unlike a read, this ends where a signal comes, whatever the signal's flags are.
        pollfd wanted{descriptor_, POLLIN, 0};
        const int ready = ::poll(&wanted, 1, -1);
        if (stop()) return false;
        if (ready < 0 && errno == EINTR) continue;
        char buffer[4096];
        const ssize_t got = ready < 0 ? -1 : ::read(descriptor_, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw std::system_error(errno, std::generic_category(), "cannot read standard input");
        ended_ = got == 0;
        read_.append(buffer, static_cast<size_t>(got));
    }
}

}  // namespace llm
