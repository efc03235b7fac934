// The architectures that are accepted, as a table of traits with one row for each. Nothing else compares their names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llm {

// Each names one row of the table below.
enum class architecture { llama, qwen2, qwen3 };

// Which elements of a head are rotated together: (2i, 2i + 1), or (i, i + dims/2).
enum class rope_mode { interleaved, neox };

// What a file may do with a tensor. An absent one is refused where it stands in a file after all.
enum class presence { absent, optional, required };

struct architecture_traits {
    architecture id;
    std::string_view name;  // the value of general.architecture, and the prefix of the metadata keys
    rope_mode rope;
    presence qkv_biases;   // attn_q.bias, attn_k.bias, attn_v.bias
    presence output_bias;  // attn_output.bias
    presence head_norms;   // attn_q_norm.weight, attn_k_norm.weight: RMS norms of each head before the rotation
};

// All of them are decoders with RMS norms in front of attention and feed-forward, and with a feed-forward of SwiGLU.
inline constexpr architecture_traits architectures[] = {
    // id, name, rope, qkv_biases, output_bias, head_norms
    {architecture::llama, "llama", rope_mode::interleaved, presence::optional, presence::optional, presence::absent},
    {architecture::qwen2, "qwen2", rope_mode::neox, presence::optional, presence::optional, presence::absent},
    {architecture::qwen3, "qwen3", rope_mode::neox, presence::optional, presence::optional, presence::required},
};

const architecture_traits &traits_of(architecture id);

// nullptr for a name that is not in the table.
const architecture_traits *find_architecture(std::string_view name);

// The names as a list in a sentence: "llama, qwen2 and qwen3", where `conjunction` is "and".
std::string architecture_names(const std::string &conjunction);

}  // namespace llm
