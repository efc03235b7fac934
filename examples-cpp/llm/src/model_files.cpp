#include "model_files.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <system_error>

namespace llm {
namespace {

constexpr const char *key_no = "split.no", *key_count = "split.count", *key_tensors = "split.tensors.count";

// As the tools that split models allow it.
constexpr uint64_t most_parts = 99999;

[[noreturn]] void fail(const std::string &message) { throw gguf_error("model: " + message); }

std::string text_or(const gguf &file, const char *key) {
    const gguf_value *value = file.find(key);
    return value != nullptr && value->type == gguf_type::string ? std::string(value->as_string()) : std::string();
}

std::optional<uint64_t> count_of(const gguf &file, const char *key) {
    const gguf_value *value = file.find(key);
    if (value == nullptr) return std::nullopt;
    return value->uniform().as_unsigned();
}

// "-00002-of-00003.gguf"
std::string part_suffix(uint64_t number, uint64_t count) {
    char text[64];
    std::snprintf(text, sizeof text, "-%05llu-of-%05llu.gguf", static_cast<unsigned long long>(number),
                  static_cast<unsigned long long>(count));
    return text;
}

bool ends_with(const std::string &text, const std::string &end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Without folders: what a user would type.
std::string base_name(const std::string &path) { return path.substr(path.find_last_of('/') + 1); }

}  // namespace

model_files::model_files(const std::string &path) : path_(path) {
    add(path);
    naming(path, [this] { add_parts(); });
}

void model_files::add(const std::string &path) {
    maps_.emplace_back(path);
    naming(path, [this] { parts_.emplace_back(maps_.back().data(), maps_.back().size()); });
}

void model_files::add_parts() {
    const uint64_t count = count_of(contents(), key_count).value_or(1);
    if (count <= 1) return;
    if (count > most_parts) fail(std::string(key_count) + " is " + std::to_string(count) + ", must be at most 99999");
    const uint64_t number = count_of(contents(), key_no).value_or(0);
    if (number >= count)
        fail(std::string(key_no) + " is " + std::to_string(number) + ", must be less than " + key_count + ", " +
             std::to_string(count));
    const std::string suffix = part_suffix(number + 1, count);
    const std::string stem =
        ends_with(path_, suffix) ? path_.substr(0, path_.size() - suffix.size()) : std::string("NAME");
    if (number != 0)
        fail("this is part " + std::to_string(number + 1) + " of " + std::to_string(count) +
             " of a split model; give the first one, " + base_name(stem + part_suffix(1, count)));
    if (!ends_with(path_, suffix))
        fail("this is part 1 of " + std::to_string(count) + " of a split model, so its name must end with " + suffix +
             "; the other parts are looked for beside it by such names");

    for (uint64_t i = 1; i < count; ++i) {
        const std::string path = stem + part_suffix(i + 1, count);
        try {
            add(path);
        } catch (const std::system_error &error) {
            fail("part " + std::to_string(i + 1) + " of " + std::to_string(count) +
                 " of the model is missing: " + error.what());
        }
        naming(path, [&] {
            const gguf &part = parts_.back();
            const auto own_number = count_of(part, key_no), own_count = count_of(part, key_count);
            if (own_number != i || own_count != count)
                fail("this is not part " + std::to_string(i + 1) + " of " + std::to_string(count) + " of " +
                     base_name(path_) + ": " + key_no + " is " +
                     (own_number ? std::to_string(*own_number) : "missing") + " and " + key_count + " " +
                     (own_count ? std::to_string(*own_count) : "missing"));
            parts_.front().add_tensors(part);
        });
    }
    const auto tensors = count_of(contents(), key_tensors);
    if (tensors && *tensors != contents().tensors().size())
        fail("the " + std::to_string(count) + " parts hold " + std::to_string(contents().tensors().size()) +
             " tensors, " + key_tensors + " is " + std::to_string(*tensors));
}

void refuse_other_kinds(const gguf &file) {
    const std::string type = text_or(file, "general.type"), architecture = text_or(file, "general.architecture"),
                      adapter = text_or(file, "adapter.type");
    const bool low_rank =
        adapter == "lora" || std::any_of(file.tensors().begin(), file.tensors().end(), [](const auto &t) {
            return ends_with(std::string(t.name), ".lora_a") || ends_with(std::string(t.name), ".lora_b");
        });
    if (low_rank || type == "adapter" || !adapter.empty())
        fail(std::string("this is a ") + (low_rank ? "LoRA" : "model's") +
             " adapter, not a model; merge it into its model first, adapters are not supported");
    if (architecture == "controlvector")
        fail("this is a control vector, not a model; control vectors are not supported");
    if (type == "mmproj" || architecture == "clip" || architecture == "mmproj")
        fail("this is the projector of a multimodal model (mmproj), not a language model; give the model's own file");
    if (type == "imatrix" || architecture == "imatrix") fail("this is an importance matrix (imatrix), not a model");
    if (!type.empty() && type != "model" && type != "vocab")
        fail("this is of type \"" + printable(type) + "\", not a model");
    if (file.tensors().empty()) {
        fail(file.find("tokenizer.ggml.tokens") != nullptr
                 ? "this file has a vocabulary and no weights (a vocab-only file), so it is not a model"
                 : "this file has no tensors, so it is not a model");
    }
}

}  // namespace llm
