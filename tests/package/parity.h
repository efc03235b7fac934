// What the parity tests share: a context with a stream and memory, numbers, comparison.
#pragma once

#include <reflex/infer.hpp>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

namespace parity {

using reflex::check;

class session {
public:
    explicit session(reflex_backend backend) : context_(options(backend)), stream_(context_) {}

    const reflex::context &owner() const { return context_; }
    const reflex_context *context() const { return context_.get(); }
    reflex_stream stream() const { return stream_.get(); }

    void *allocate(size_t bytes) { return memory_.emplace_back(context_, bytes).get(); }

    reflex_tensor raw(reflex_dtype dtype, std::initializer_list<int64_t> shape, size_t bytes, const void *content) {
        const reflex_tensor tensor = reflex::tensor(allocate(bytes), dtype, shape);
        check(reflex_memcpy(context(), tensor.data, content, bytes, stream()));
        stream_.synchronize();
        return tensor;
    }
    reflex_tensor floats(std::initializer_list<int64_t> shape, const std::vector<float> &content) {
        return raw(REFLEX_DTYPE_F32, shape, content.size() * sizeof(float), content.data());
    }
    reflex_tensor ints(std::initializer_list<int64_t> shape, const std::vector<int32_t> &content) {
        return raw(REFLEX_DTYPE_I32, shape, content.size() * sizeof(int32_t), content.data());
    }
    reflex_tensor bytes(reflex_dtype dtype, std::initializer_list<int64_t> shape, const std::vector<uint8_t> &content) {
        return raw(dtype, shape, content.size(), content.data());
    }
    // What an op has to overwrite.
    reflex_tensor output(std::initializer_list<int64_t> shape) {
        int64_t count = 1;
        for (int64_t extent : shape) count *= extent;
        return floats(shape, std::vector<float>(static_cast<size_t>(count), -12345.0f));
    }

    template <typename T>
    std::vector<T> read(const reflex_tensor &tensor) {
        size_t count = 1;
        for (uint32_t i = 0; i < tensor.rank; ++i) count *= static_cast<size_t>(tensor.shape[i]);
        std::vector<T> values(count);
        check(reflex_memcpy(context(), values.data(), tensor.data, count * sizeof(T), stream()));
        stream_.synchronize();
        return values;
    }

    std::vector<uint8_t> read_bytes(const reflex_tensor &tensor, size_t count) {
        std::vector<uint8_t> content(count);
        check(reflex_memcpy(context(), content.data(), tensor.data, count, stream()));
        stream_.synchronize();
        return content;
    }

    // Gives params the scratch that their op asks for.
    template <typename P>
    void give_workspace(reflex::params<P> &params, reflex_status (*size)(const reflex_context *, const P *, size_t *)) {
        check(size(context(), &params, &params.workspace_size));
        if (params.workspace_size > 0) params.workspace = allocate(params.workspace_size);
    }

private:
    static reflex::context_params options(reflex_backend backend) {
        reflex::context_params params;
        params.backend = backend;
        return params;
    }

    reflex::context context_;
    reflex::stream stream_;
    std::vector<reflex::device_buffer> memory_;
};

// Numbers without a pattern, the same on every machine, in [-1, 1).
inline std::vector<float> numbers(size_t count, uint32_t seed) {
    std::vector<float> values(count);
    uint32_t state = seed * 2654435761u + 1u;
    for (float &value : values) {
        state = state * 1664525u + 1013904223u;
        value = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
    }
    return values;
}

inline void expect(bool condition, const std::string &what) {
    if (!condition) throw std::runtime_error(what);
}

inline void expect_close(const std::vector<float> &got, const std::vector<double> &expected, double tolerance) {
    expect(got.size() == expected.size(), "wrong number of elements");
    for (size_t i = 0; i < got.size(); ++i) {
        const double error = std::fabs(got[i] - expected[i]);
        if (!(error <= tolerance * (1.0 + std::fabs(expected[i])))) {
            throw std::runtime_error("element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " +
                                     std::to_string(expected[i]));
        }
    }
}

inline double dot(const float *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
    return sum;
}

// parity_matmul.cpp
void test_matmul(session &s, size_t rows, bool quantised);
void test_quantize(session &s);
void test_weights_pack(session &s);
void test_fused_int8(session &s, size_t rows);
void test_gated_to_act_i8(session &s);
void test_norm_handed_on(session &s, size_t rows);

}  // namespace parity
