// A conversation with a model: its chat template makes the text of all turns, and what the device holds of them is kept.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "chat_template.h"
#include "engine.h"
#include "generate.h"
#include "interrupt.h"
#include "tokenizer.h"

namespace llm {

// The turns no longer fit into the context.
class conversation_full : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class conversation {
public:
    // The arguments have to outlive this object; the engine has one sequence. An empty `system` gives no system message.
    conversation(engine &model, const tokenizer &words, const chat_template &form, const std::string &system);

    // The model's answer to what the user says, as `generate` gives it. The texts of control tokens in `said` are plain text: what a
    // user types cannot end a turn or begin one. Templates take UTF-8 alone: what is none, of the user or of an answer that was cut within a
    // character, is U+FFFD in the conversation. Throws conversation_full or chat_template_error, and then nothing was said.
    generation say(const std::string &said, int32_t most, const std::function<void(const std::string &)> &print,
                   const stop_request &stop);

private:
    engine &model_;
    const tokenizer &words_;
    const chat_template &form_;
    std::vector<chat_message> messages_;
    std::vector<token_id> held_;  // what the engine's sequence consists of
};

// One turn a line of a file descriptor, for terminals and pipes. A line that ends in a backslash goes on in the next one.
class line_reader {
public:
    explicit line_reader(int descriptor) : descriptor_(descriptor) {}
    // False at the end of the input, or when a signal came and `stop` then says so. Throws std::system_error.
    bool next(std::string &line, const stop_request &stop);

private:
    bool read_line(std::string &line, const stop_request &stop);

    int descriptor_;
    std::string read_;
    bool ended_ = false;
};

}  // namespace llm
