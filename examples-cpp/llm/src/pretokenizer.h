// Splits text into the words that byte-pair merges never cross.
//
// Both splitters are regular expressions in the models' own tokenizers; here they are hand-written scanners that give the same pieces:
//   qwen2      (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}     | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//   llama_bpe  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// Ignoring case makes U+017F (long s) an s, as it does in those expressions. A byte that is not UTF-8 counts as a character outside
// every class.
#pragma once

#include <cstddef>
#include <string_view>

namespace llm {

enum class pretokenizer { qwen2, llama_bpe };

// The end of the piece that starts at text[at], at < text.size(). A text is split by calling this from each end to the next.
size_t next_piece_end(pretokenizer kind, std::string_view text, size_t at);

}  // namespace llm
