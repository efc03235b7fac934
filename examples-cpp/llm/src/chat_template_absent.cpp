// In place of chat_template.cpp where there was no cargo to build the template engine with.
#include "chat_template.h"

#include <stdexcept>

namespace llm {

void chat_template::deleter::operator()(llm_chat_template *) const {}

bool chat_template::available() { return false; }

chat_template::chat_template(const std::string &, const std::string &, const std::string &) {
    // Not chat_template_error, which is about the file.
    throw std::runtime_error(
        "this reflex-llm was built without chat templates: cargo was not found when it was configured");
}

std::string chat_template::render(const std::vector<chat_message> &, bool) const { return {}; }

}  // namespace llm
