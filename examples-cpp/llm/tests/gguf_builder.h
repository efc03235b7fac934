// Writes GGUF bytes for the tests, well-formed or deliberately not.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "gguf.h"

namespace test {

class bytes {
public:
    template <typename T>
    bytes &put(T value) {
        const auto *raw = reinterpret_cast<const uint8_t *>(&value);
        data_.insert(data_.end(), raw, raw + sizeof value);
        return *this;
    }
    bytes &raw(std::string_view text) {
        data_.insert(data_.end(), text.begin(), text.end());
        return *this;
    }
    bytes &string(std::string_view text) { return put<uint64_t>(text.size()).raw(text); }
    bytes &append(const bytes &other) {
        data_.insert(data_.end(), other.data_.begin(), other.data_.end());
        return *this;
    }
    bytes &pad(size_t alignment) {
        data_.resize((data_.size() + alignment - 1) / alignment * alignment);
        return *this;
    }
    bytes &zeros(size_t count) {
        data_.resize(data_.size() + count);
        return *this;
    }
    const std::vector<uint8_t> &data() const { return data_; }

private:
    std::vector<uint8_t> data_;
};

// Collects key-value pairs and tensors, then writes the file.
class gguf_builder {
public:
    gguf_builder &string(std::string_view key, std::string_view value) {
        return field(key, llm::gguf_type::string, bytes().string(value));
    }
    gguf_builder &u32(std::string_view key, uint32_t value) {
        return field(key, llm::gguf_type::u32, bytes().put(value));
    }
    gguf_builder &f32(std::string_view key, float value) { return field(key, llm::gguf_type::f32, bytes().put(value)); }
    gguf_builder &boolean(std::string_view key, uint8_t value) {
        return field(key, llm::gguf_type::boolean, bytes().put(value));
    }
    gguf_builder &strings(std::string_view key, const std::vector<std::string> &values) {
        bytes payload;
        for (const std::string &value : values) payload.string(value);
        return array(key, llm::gguf_type::string, values.size(), payload);
    }
    gguf_builder &i32s(std::string_view key, const std::vector<int32_t> &values) {
        bytes payload;
        for (const int32_t value : values) payload.put(value);
        return array(key, llm::gguf_type::i32, values.size(), payload);
    }
    gguf_builder &array(std::string_view key, llm::gguf_type element, uint64_t count, const bytes &payload) {
        return field(key, llm::gguf_type::array,
                     bytes().put(static_cast<uint32_t>(element)).put(count).append(payload));
    }
    gguf_builder &field(std::string_view key, llm::gguf_type type, const bytes &payload) {
        return field(key, static_cast<uint32_t>(type), payload);
    }
    gguf_builder &field(std::string_view key, uint32_t type, const bytes &payload) {
        fields_.string(key).put(type).append(payload);
        ++field_count_;
        return *this;
    }
    gguf_builder &tensor(std::string_view name, const std::vector<uint64_t> &shape, uint32_t type, uint64_t offset) {
        tensors_.string(name).put(static_cast<uint32_t>(shape.size()));
        for (const uint64_t dimension : shape) tensors_.put(dimension);
        tensors_.put(type).put(offset);
        ++tensor_count_;
        return *this;
    }
    gguf_builder &data(size_t size) {
        data_bytes_ = size;
        return *this;
    }
    // Counts as claimed in the header, when they are to differ from the truth.
    gguf_builder &claim(uint64_t tensors, uint64_t fields) {
        claimed_tensors_ = tensors;
        claimed_fields_ = fields;
        return *this;
    }
    std::vector<uint8_t> build(uint32_t version = 3, std::string_view magic = "GGUF", size_t alignment = 32) const {
        bytes out;
        out.raw(magic)
            .put(version)
            .put(claimed_tensors_ == unset ? tensor_count_ : claimed_tensors_)
            .put(claimed_fields_ == unset ? field_count_ : claimed_fields_);
        out.append(fields_).append(tensors_).pad(alignment).zeros(data_bytes_);
        return out.data();
    }

private:
    static constexpr uint64_t unset = 0xABCDABCDABCDABCDull;
    bytes fields_, tensors_;
    uint64_t field_count_ = 0, tensor_count_ = 0, claimed_tensors_ = unset, claimed_fields_ = unset;
    size_t data_bytes_ = 0;
};

}  // namespace test
