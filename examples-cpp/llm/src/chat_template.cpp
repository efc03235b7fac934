#include "chat_template.h"

#include "chat_template_ffi.h"

namespace llm {
namespace {

llm_chat_slice slice(const std::string &text) { return {text.data(), text.size()}; }

std::string take(llm_chat_text text) {
    std::string taken(text.data, text.length);
    llm_chat_text_free(text);
    return taken;
}

}  // namespace

void chat_template::deleter::operator()(llm_chat_template *made) const { llm_chat_template_free(made); }

bool chat_template::available() { return true; }

chat_template::chat_template(const std::string &source, const std::string &bos, const std::string &eos) {
    llm_chat_text error{};
    made_.reset(llm_chat_template_new(slice(source), slice(bos), slice(eos), &error));
    if (!made_) throw chat_template_error("the model's chat template: " + take(error));
}

std::string chat_template::render(const std::vector<chat_message> &messages, bool add_generation_prompt) const {
    std::vector<llm_chat_message> parts;
    for (const chat_message &message : messages) parts.push_back({slice(message.role), slice(message.content)});
    llm_chat_text text{};
    const bool done = llm_chat_template_render(made_.get(), parts.data(), parts.size(), add_generation_prompt, &text);
    std::string taken = take(text);
    if (!done) throw chat_template_error("the model's chat template: " + taken);
    return taken;
}

}  // namespace llm
