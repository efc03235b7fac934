// Metadata that this engine does not apply: what is known to change nothing is passed over, what would change the computation is refused.
#pragma once

#include "model_file.h"

namespace llm {

// Throws gguf_error naming the first key under the architecture's name that would change what the model computes. `config` says what
// the keys that are applied gave.
void refuse_what_is_not_applied(const gguf &file, const model_config &config);

}  // namespace llm
