// The C functions of this crate (src/lib.rs).
#pragma once

#include <cstddef>

extern "C" {

struct llm_chat_template;

struct llm_chat_slice {
    const char *data;  // may be null where `length` is 0
    size_t length;
};

struct llm_chat_message {
    llm_chat_slice role, content;
};

struct llm_chat_text {
    char *data;
    size_t length;
};

// Null, with the reason in `error`, for a template that Jinja cannot parse. `error` is to be freed then, and is not written otherwise.
llm_chat_template *llm_chat_template_new(llm_chat_slice source, llm_chat_slice bos, llm_chat_slice eos,
                                         llm_chat_text *error);

// True with the rendered text in `out`, false with the reason there; it is to be freed either way.
bool llm_chat_template_render(const llm_chat_template *made, const llm_chat_message *messages, size_t count,
                              bool add_generation_prompt, llm_chat_text *out);

void llm_chat_template_free(llm_chat_template *made);
void llm_chat_text_free(llm_chat_text text);
}
