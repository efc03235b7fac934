// What the problems of all ops have in common: how the keys of a descriptor become operands.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "launch_calls.h"
#include "problems.h"

namespace bench {

// Where an operand stands in a call; none where it is absent.
using operand_place = std::optional<size_t>;

// The operands of one descriptor. Its keys are those of the op's file.
class problem_reader {
public:
    // Of the keys that are named here, every value can be set up.
    problem_reader(const descriptor &d, std::initializer_list<const char *> keys);

    // Whether the key has this value, of those that can be set up.
    std::string one_of(const char *key, std::initializer_list<const char *> values) const;
    bool given(const char *key) const { return !d_.is(key, "none"); }
    int64_t whole(const char *key) const { return d_.whole(key); }
    // The key's value, or the other one where it says so.
    int64_t whole_or(const char *key, const char *other) const { return d_.whole(d_.is(key, other) ? other : key); }
    std::vector<int32_t> integers_of(const char *key) const;

    // Rows with the descriptor's gap and offset; those of ACT_I8 begin at multiples of 16 bytes.
    operand strided(operand o) const { return strided(std::move(o), d_.whole("gap"), d_.whole("offset")); }
    operand strided(operand o, int64_t gap, int64_t offset) const;
    operand in(const char *dtype, std::vector<int64_t> shape) const {
        return strided(input(d_.dtype(dtype), std::move(shape)));
    }
    operand out(const char *dtype, std::vector<int64_t> shape) const {
        return strided(output(d_.dtype(dtype), std::move(shape)));
    }

    // As the field `name` of the params.
    size_t add(std::string name, operand o) {
        o.name = std::move(name);
        operands_.push_back(std::move(o));
        return operands_.size() - 1;
    }
    operand &at(size_t place) { return operands_[place]; }

    problem finish(reflex_dtype rounded_to, decltype(bench_case::make) make) const;

private:
    const descriptor &d_;
    std::vector<operand> operands_;
};

inline reflex_tensor at(const std::vector<reflex_tensor> &tensors, operand_place place) {
    return place ? tensors[*place] : reflex_tensor{};
}

reflex_activation_kind activation_named(const descriptor &d, const char *key);
reflex_rope_mode rope_mode_of(const descriptor &d);

problem attention_problem(const descriptor &d);
problem attention_decode_problem(const descriptor &d);
problem attention_merge_problem(const descriptor &d);
problem matmul_problem(const descriptor &d);
problem rope_problem(const descriptor &d);
problem weights_pack_problem(const descriptor &d);

}  // namespace bench
