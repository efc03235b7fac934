// Reader of GGUF version 3 (little-endian) over a span of bytes, usually a mapped file.
//
// Nothing in the bytes is trusted: every count, length, type, dimension, product, offset, alignment and overlap is checked while
// the header is read, and nothing is allocated by a count before the bytes that it claims are known to be there. After construction
// every accessor is in bounds. The reader copies no payload: names, strings and tensor data are views into the span, which has to outlive it.
// Specification: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ggml_types.h"

namespace llm {

// What is wrong and where; the message is complete as it stands.
class gguf_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// Text out of a file as it may stand in a message or on a terminal: bounded, everything but printable ASCII escaped.
std::string printable(std::string_view text);

enum class gguf_type : uint32_t {
    u8 = 0,
    i8 = 1,
    u16 = 2,
    i16 = 3,
    u32 = 4,
    i32 = 5,
    f32 = 6,
    boolean = 7,
    string = 8,
    array = 9,
    u64 = 10,
    i64 = 11,
    f64 = 12
};

const char *gguf_type_name(gguf_type type);

struct gguf_value {
    std::string_view key;
    gguf_type type;
    gguf_type element;       // arrays: the type of the elements, which may be `array` again
    uint64_t count;          // arrays: number of elements
    const uint8_t *payload;  // scalars: the value; strings: the 64-bit length; arrays: the first element

    // Any number that is whole and fits, whatever its type; throws gguf_error otherwise, as do the other conversions.
    uint64_t as_unsigned() const;
    int64_t as_integer() const;
    double as_float() const;  // any number
    std::string_view as_string() const;
    std::vector<std::string_view> as_strings() const;
    std::vector<int64_t> as_integers() const;  // an array of numbers of any type that are whole and fit
    std::vector<float> as_floats() const;      // an array of numbers of any type

    // The value that all elements of an array of numbers have; the value itself when it is no array. Some writers give one number
    // for each layer where others give one for all. Throws gguf_error when the elements differ or there are none.
    gguf_value uniform() const;
    // The elements of an array, or the one value, as numbers: bools are 0 and 1. Nothing for strings and nested arrays.
    std::optional<std::vector<double>> numbers() const;
    // A bool, or any number, of which all but 0 are true; nothing for other values.
    std::optional<bool> flag() const;
    // As it may stand in a message: "4096", "\"yarn\"", "[1, 2, 3, ...]".
    std::string describe() const;
};

struct gguf_tensor {
    std::string_view name;
    const ggml_type *type;
    uint32_t rank;      // 1 to 4
    uint64_t shape[4];  // as in the file: innermost dimension first, 1 beyond rank
    uint64_t bytes;
    const uint8_t *data;

    uint64_t elements() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
    std::string describe() const;  // "blk.0.attn_q.weight Q4_K [256, 512]"
};

class gguf {
public:
    // Throws gguf_error.
    gguf(const uint8_t *data, size_t size);

    const std::vector<gguf_value> &values() const { return values_; }
    const std::vector<gguf_tensor> &tensors() const { return tensors_; }

    const gguf_value *find(std::string_view key) const;
    const gguf_value &require(std::string_view key) const;  // throws gguf_error when absent
    const gguf_tensor *find_tensor(std::string_view name) const;

    // Adds the tensors of another part of the same model; its bytes have to outlive this object too. Throws gguf_error when both have
    // a tensor of one name.
    void add_tensors(const gguf &part);

    // Distance from the start of the span to the first byte of tensor data.
    uint64_t data_offset() const { return data_offset_; }

private:
    std::vector<gguf_value> values_;
    std::vector<gguf_tensor> tensors_;
    std::unordered_map<std::string_view, size_t> value_index_, tensor_index_;
    uint64_t data_offset_ = 0;
};

}  // namespace llm
