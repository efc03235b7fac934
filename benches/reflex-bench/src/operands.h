// What a launch reads and writes: shapes, the places of elements, and contents that are the same on every backend.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <reflex/infer.hpp>

namespace bench {

// What an operand's memory is filled with before the runs.
enum class content { values, integers, result };

struct operand {
    reflex_dtype dtype;
    std::vector<int64_t> shape;
    content holds = content::values;
    // Of `integers`: those of set `s`.
    std::function<std::vector<int32_t>(size_t s)> integers = nullptr;
    // One for all sets: too large to have many of, and each set reads another part of it.
    bool shared = false;
    // Bytes that a launch moves, where that is not the whole operand.
    double moved = -1;
    // Elements (blocks) between rows, and before the first one. What is measured has none.
    int64_t gap = 0, offset = 0;
    // The launch writes what it has read, or a part of it.
    bool written = false;
    // The range of values that are floats.
    float least = -1, most = 1;
    // The field of the params, of a problem of cases/.
    std::string name = {};

    size_t bytes() const;
    double moved_bytes() const { return moved >= 0 ? moved : static_cast<double>(bytes()); }
    bool compared() const { return holds == content::result || written; }
};

operand input(reflex_dtype dtype, std::vector<int64_t> shape);
operand output(reflex_dtype dtype, std::vector<int64_t> shape);
operand integers(std::vector<int64_t> shape, std::function<std::vector<int32_t>(size_t s)> values);
// The same numbers in every set.
operand integers(const std::vector<int32_t> &values);
// Read and written over.
operand in_place(operand what);

// The type of a weight in one of the layouts; plain types have the native one alone.
reflex_dtype in_layout(reflex_dtype weight, bool packed);
// Whether a weight's type comes in this layout: a list of both has each plain type once.
bool has_layout(reflex_dtype weight, bool packed);

size_t tensor_bytes(reflex_dtype dtype, const std::vector<int64_t> &shape);

// Where an operand's elements lie, with its gaps, and the bytes that it needs.
reflex_tensor placed(const operand &what, void *data);
size_t placed_bytes(const operand &what);

// An operand's bytes before a launch, those between its rows as well: the same on every backend, and others in every place of a call.
// Results begin as bytes that no result has.
std::vector<uint8_t> contents_of(const operand &what, size_t place);

}  // namespace bench
