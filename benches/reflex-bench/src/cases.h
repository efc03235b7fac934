// What is measured: one op with one set of shapes, and what it has to read, write and compute.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <reflex/infer.hpp>

#include "operands.h"
#include "options.h"

namespace bench {

// One launch: an op's params, ready to go.
class launch_call {
public:
    virtual ~launch_call() = default;
    virtual void launch(const reflex_context *context, reflex_stream stream) const = 0;
    virtual reflex_status supported(const reflex_context *context) const = 0;
    virtual std::string kernel(const reflex_context *context) const = 0;
    // Scratch it needs, and where it may take it.
    virtual size_t workspace_bytes(const reflex_context *context) const = 0;
    virtual void use_workspace(void *data, size_t bytes) = 0;
};

struct bench_case {
    std::string op;
    std::string name;  // which of the op's places in a model: "ffn_up"
    std::string model;
    std::vector<std::pair<std::string, int64_t>> shape;
    std::string dtype;        // of the weights, or of the cache, or of the activations
    std::string activations;  // empty: those of the options
    std::string computed;     // a compute that is not exact
    int64_t batch = 1;        // rows or tokens
    int64_t context = 0;      // keys, for attention
    double flops = 0;
    std::vector<operand> operands;
    std::function<std::unique_ptr<launch_call>(const std::vector<reflex_tensor> &)> make;

    // Each operand counted once.
    double bytes() const;
    // Shape as text: "n=9728 k=2560".
    std::string shape_text() const;
};

// The matmuls that the options ask for: of single shapes, or of a model.
void add_matmuls(std::vector<bench_case> &out, const options &wanted, const std::vector<int64_t> &rows,
                 const std::vector<reflex_dtype> &weights);

// Every case that the options ask for.
std::vector<bench_case> list_cases(const options &wanted);

}  // namespace bench
