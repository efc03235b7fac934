#include "ggml_types.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include <reflex/infer.h>

namespace llm {
namespace {

// Types that GGUF knows and the library does not: their names and sizes, by which a tensor's place in a file is checked.
constexpr ggml_type others[] = {
    {9, "Q8_1", 32, 40},      {15, "Q8_K", 256, 292}, {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50}, {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
    {24, "I8", 1, 1},         {25, "I16", 1, 2},      {27, "I64", 1, 8},        {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},   {34, "TQ1_0", 256, 54}, {40, "NVFP4", 64, 36},    {41, "Q1_0", 128, 18},
};

// All of them, sorted by id. What the library knows has its names and sizes.
const std::vector<ggml_type> &types() {
    static const std::vector<ggml_type> all = [] {
        std::vector<ggml_type> found;
        for (uint32_t id = 0; id < 0x100; ++id) {
            const reflex_dtype dtype = reflex_dtype_from_ggml(id);
            const auto *other = std::find_if(std::begin(others), std::end(others),
                                             [&](const ggml_type &type) { return type.id == id; });
            if (dtype != REFLEX_DTYPE_NONE)
                found.push_back({id, reflex_dtype_name(dtype), reflex_dtype_block_elements(dtype),
                                 reflex_dtype_block_bytes(dtype)});
            else if (other != std::end(others)) found.push_back(*other);
        }
        return found;
    }();
    return all;
}

// Types that GGUF files were written with for a while.
constexpr struct {
    uint32_t id;
    const char *name, *instead;
} removed[] = {
    {4, "Q4_2", "Q4_0"},      {5, "Q4_3", "Q4_1"},          {31, "Q4_0_4_4", "Q4_0"},     {32, "Q4_0_4_8", "Q4_0"},
    {33, "Q4_0_8_8", "Q4_0"}, {36, "IQ4_NL_4_4", "IQ4_NL"}, {37, "IQ4_NL_4_8", "IQ4_NL"}, {38, "IQ4_NL_8_8", "IQ4_NL"},
};

}  // namespace

const ggml_type *find_ggml_type(uint32_t id) {
    const std::vector<ggml_type> &all = types();
    const auto found = std::lower_bound(all.begin(), all.end(), id,
                                        [](const ggml_type &type, uint32_t wanted) { return type.id < wanted; });
    return found != all.end() && found->id == id ? &*found : nullptr;
}

bool ggml_type::is_weight() const {
    const reflex_dtype dtype = reflex_dtype_from_ggml(id);
    return dtype != REFLEX_DTYPE_NONE && dtype != REFLEX_DTYPE_I32;
}

std::string weight_type_names() {
    std::vector<std::string> names;
    for (const ggml_type &type : types())
        if (type.is_weight()) names.push_back(type.name);
    std::string out = names.front();
    for (size_t i = 1; i < names.size(); ++i) out += (i + 1 < names.size() ? ", " : " and ") + names[i];
    return out;
}

std::string unknown_ggml_type(uint32_t id) {
    const std::string number = "has type number " + std::to_string(id);
    for (const auto &type : removed) {
        if (type.id == id)
            return number + " (" + type.name + "), which was removed from GGUF; quantise the model anew, to " +
                   type.instead + " for instance";
    }
    return number + ", which this program does not know: the file was written by a newer GGUF tool, or is damaged";
}

}  // namespace llm
