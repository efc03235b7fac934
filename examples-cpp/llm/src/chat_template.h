// The chat template of a model: what turns a conversation into the text that the model was trained on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gguf.h"

struct llm_chat_template;

namespace llm {

struct chat_message {
    std::string role;  // "system", "user" or "assistant"
    std::string content;
};

// A template that cannot be parsed or that refuses a conversation; the message is one line. The template is a part of the model's file.
class chat_template_error : public gguf_error {
public:
    using gguf_error::gguf_error;
};

class chat_template {
public:
    // `source` is a Jinja template, `bos` and `eos` are the texts of those tokens. Throws chat_template_error.
    chat_template(const std::string &source, const std::string &bos, const std::string &eos);

    // With `add_generation_prompt` the text ends where the assistant's next turn begins. Throws chat_template_error.
    std::string render(const std::vector<chat_message> &messages, bool add_generation_prompt) const;

    // False in a program that was built without cargo: the constructor throws then.
    static bool available();

private:
    struct deleter {
        void operator()(llm_chat_template *made) const;
    };
    std::unique_ptr<llm_chat_template, deleter> made_;
};

}  // namespace llm
