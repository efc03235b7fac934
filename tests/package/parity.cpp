// Every op through infer.hpp, on the backend that is asked for, against its formula in double.
//
//   reflex-parity --backend cpu|cuda     a line `test NAME ... ok` or `... FAILED` each; status 77 without such a backend
//   reflex-parity --info [--backend B]   what the library and the device are, as key=value
//
// Small shapes on purpose: this also runs under compute-sanitizer. tests/cpu and tests/gpu have the grids.
#include <reflex/infer.hpp>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

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
std::vector<float> numbers(size_t count, uint32_t seed) {
    std::vector<float> values(count);
    uint32_t state = seed * 2654435761u + 1u;
    for (float &value : values) {
        state = state * 1664525u + 1013904223u;
        value = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
    }
    return values;
}

void expect(bool condition, const std::string &what) {
    if (!condition) throw std::runtime_error(what);
}

void expect_close(const std::vector<float> &got, const std::vector<double> &expected, double tolerance) {
    expect(got.size() == expected.size(), "wrong number of elements");
    for (size_t i = 0; i < got.size(); ++i) {
        const double error = std::fabs(got[i] - expected[i]);
        if (!(error <= tolerance * (1.0 + std::fabs(expected[i])))) {
            throw std::runtime_error("element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " +
                                     std::to_string(expected[i]));
        }
    }
}

double dot(const float *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
    return sum;
}

void test_norm(session &s) {
    const size_t rows = 3, dim = 96;
    const auto x = numbers(rows * dim, 1), residual = numbers(rows * dim, 2), weight = numbers(dim, 3);
    reflex::norm_params p;
    p.epsilon = 1e-5f;
    p.x = s.floats({3, 96}, x);
    p.residual = s.floats({3, 96}, residual);
    p.residual_out = s.output({3, 96});
    p.weight = s.floats({96}, weight);
    p.y = s.output({3, 96});
    check(reflex_norm_supported(s.context(), &p));
    check(reflex_norm(s.context(), &p, s.stream()));
    std::vector<double> sum(rows * dim), y(rows * dim);
    for (size_t row = 0; row < rows; ++row) {
        double squares = 0;
        for (size_t i = row * dim; i < (row + 1) * dim; ++i) {
            sum[i] = static_cast<double>(x[i]) + residual[i];
            squares += sum[i] * sum[i];
        }
        const double scale = 1.0 / std::sqrt(squares / dim + 1e-5);
        for (size_t i = 0; i < dim; ++i) y[row * dim + i] = sum[row * dim + i] * scale * weight[i];
    }
    expect_close(s.read<float>(p.residual_out), sum, 1e-6);
    expect_close(s.read<float>(p.y), y, 1e-5);
}

void test_add(session &s) {
    const auto a = numbers(2 * 33, 4), b = numbers(33, 5);
    reflex::add_params p;
    p.scale = 0.5f;
    p.a = s.floats({2, 33}, a);
    p.b = s.floats({33}, b);
    p.y = s.output({2, 33});
    check(reflex_add(s.context(), &p, s.stream()));
    std::vector<double> y(a.size());
    for (size_t i = 0; i < y.size(); ++i) y[i] = a[i] + 0.5 * b[i % 33];
    expect_close(s.read<float>(p.y), y, 1e-6);
}

void test_activation(session &s) {
    const auto gate = numbers(2 * 40, 6), up = numbers(2 * 40, 7);
    for (reflex_activation_kind kind :
         {REFLEX_ACTIVATION_SILU, REFLEX_ACTIVATION_GELU_TANH, REFLEX_ACTIVATION_GELU_ERF}) {
        reflex::activation_params p;
        p.kind = kind;
        p.gate = s.floats({2, 40}, gate);
        p.up = s.floats({2, 40}, up);
        p.y = s.output({2, 40});
        check(reflex_activation(s.context(), &p, s.stream()));
        std::vector<double> y(gate.size());
        for (size_t i = 0; i < y.size(); ++i) {
            const double x = gate[i];
            double activated = x / (1 + std::exp(-x));
            if (kind == REFLEX_ACTIVATION_GELU_TANH) {
                activated = 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979324) * (x + 0.044715 * x * x * x)));
            } else if (kind == REFLEX_ACTIVATION_GELU_ERF) {
                activated = 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
            }
            y[i] = activated * up[i];
        }
        expect_close(s.read<float>(p.y), y, 1e-5);
    }
}

void test_embedding(session &s) {
    const auto table = numbers(5 * 24, 8);
    const std::vector<int32_t> ids{4, 0, 4};
    reflex::embedding_params p;
    p.table = s.floats({5, 24}, table);
    p.ids = s.ints({3}, ids);
    p.y = s.output({3, 24});
    check(reflex_embedding(s.context(), &p, s.stream()));
    std::vector<double> y;
    for (int32_t id : ids) y.insert(y.end(), table.begin() + id * 24, table.begin() + (id + 1) * 24);
    expect_close(s.read<float>(p.y), y, 0);
}

// Q8_0: blocks of an f16 scale and 32 signed bytes. The scale 2^-7 is exact in f16.
std::vector<unsigned char> q8_0(const std::vector<int8_t> &quants) {
    std::vector<unsigned char> bytes;
    for (size_t block = 0; block < quants.size() / 32; ++block) {
        bytes.push_back(0x00);
        bytes.push_back(0x20);
        for (size_t i = 0; i < 32; ++i) bytes.push_back(static_cast<unsigned char>(quants[block * 32 + i]));
    }
    return bytes;
}

void matmul(session &s, size_t rows, bool quantised) {
    const size_t n = 24, k = 256;
    const auto x = numbers(rows * k, 9), bias = numbers(n, 10), residual = numbers(rows * n, 11);
    auto weight = numbers(n * k, 12);
    const int64_t rows_ = static_cast<int64_t>(rows);
    reflex::matmul_params p;
    p.x = s.floats({rows_, 256}, x);
    if (quantised) {
        std::vector<int8_t> quants(n * k);
        for (size_t i = 0; i < quants.size(); ++i) {
            quants[i] = static_cast<int8_t>(std::lround(weight[i] * 127));
            weight[i] = static_cast<float>(quants[i]) / 128.0f;
        }
        const auto bytes = q8_0(quants);
        p.weight = s.raw(REFLEX_DTYPE_Q8_0, {24, 256}, bytes.size(), bytes.data());
    } else {
        p.weight = s.floats({24, 256}, weight);
    }
    p.bias = s.floats({24}, bias);
    p.residual = s.floats({rows_, 24}, residual);
    p.y = s.output({rows_, 24});
    check(reflex_matmul_workspace_size(s.context(), &p, &p.workspace_size));
    if (p.workspace_size > 0) p.workspace = s.allocate(p.workspace_size);
    check(reflex_matmul(s.context(), &p, s.stream()));
    std::vector<double> y(rows * n);
    for (size_t row = 0; row < rows; ++row) {
        for (size_t col = 0; col < n; ++col) {
            y[row * n + col] = dot(&x[row * k], &weight[col * k], k) + bias[col] + residual[row * n + col];
        }
    }
    // Quantised weights may meet activations quantised to 8 bits: an error of up to 1/254 of each factor, of random sign.
    expect_close(s.read<float>(p.y), y, quantised ? 0.03 : 1e-3);
}

void test_rope(session &s) {
    const size_t tokens = 2, heads = 3, dim = 16;
    const auto q = numbers(tokens * heads * dim, 13), k = numbers(tokens * dim, 14), v = numbers(tokens * dim, 15);
    const std::vector<int32_t> positions{1, 5};
    for (reflex_rope_mode mode : {REFLEX_ROPE_NEOX, REFLEX_ROPE_INTERLEAVED}) {
        reflex::rope_params p;
        p.mode = mode;
        p.theta_base = 10000.0f;
        p.q = s.floats({2, 3, 16}, q);
        p.k = s.floats({2, 1, 16}, k);
        p.v = s.floats({2, 1, 16}, v);
        p.positions = s.ints({2}, positions);
        p.k_cache = s.output({8, 1, 16});
        p.v_cache = s.output({8, 1, 16});
        check(reflex_rope(s.context(), &p, s.stream()));
        const auto rotate = [&](const float *x, int32_t position, double *y) {
            for (size_t i = 0; i < dim / 2; ++i) {
                const double angle = position * std::pow(10000.0, -2.0 * static_cast<double>(i) / dim);
                const size_t a = mode == REFLEX_ROPE_NEOX ? i : 2 * i,
                             b = mode == REFLEX_ROPE_NEOX ? i + dim / 2 : 2 * i + 1;
                y[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
                y[b] = x[a] * std::sin(angle) + x[b] * std::cos(angle);
            }
        };
        std::vector<double> rotated(q.size()), k_cache(8 * dim, -12345.0), v_cache(8 * dim, -12345.0);
        for (size_t token = 0; token < tokens; ++token) {
            const int32_t position = positions[token];
            for (size_t head = 0; head < heads; ++head) {
                const size_t at = (token * heads + head) * dim;
                rotate(&q[at], position, &rotated[at]);
            }
            rotate(&k[token * dim], position, &k_cache[static_cast<size_t>(position) * dim]);
            for (size_t i = 0; i < dim; ++i) v_cache[static_cast<size_t>(position) * dim + i] = v[token * dim + i];
        }
        expect_close(s.read<float>(p.q), rotated, 1e-5);
        expect_close(s.read<float>(p.k_cache), k_cache, 1e-5);
        expect_close(s.read<float>(p.v_cache), v_cache, 0);
    }
}

struct attention_case {
    static constexpr size_t q_heads = 4, kv_heads = 2, dim = 64, capacity = 40;
    size_t tokens, length;
    std::vector<float> q = numbers(tokens * q_heads * dim, 16);
    std::vector<float> k = numbers(capacity * kv_heads * dim, 17);
    std::vector<float> v = numbers(capacity * kv_heads * dim, 18);

    // The tokens are the last ones of the sequence, and each sees what is before it and itself.
    std::vector<double> expected() const {
        std::vector<double> y(q.size());
        for (size_t token = 0; token < tokens; ++token) {
            const size_t keys = length - tokens + token + 1;
            for (size_t head = 0; head < q_heads; ++head) {
                const float *query = &q[(token * q_heads + head) * dim];
                const size_t kv_head = head / (q_heads / kv_heads);
                std::vector<double> weights(keys);
                double sum = 0;
                for (size_t key = 0; key < keys; ++key) {
                    weights[key] = std::exp(dot(query, &k[(key * kv_heads + kv_head) * dim], dim) /
                                            std::sqrt(static_cast<double>(dim)));
                    sum += weights[key];
                }
                for (size_t i = 0; i < dim; ++i) {
                    double value = 0;
                    for (size_t key = 0; key < keys; ++key)
                        value += weights[key] * v[(key * kv_heads + kv_head) * dim + i];
                    y[(token * q_heads + head) * dim + i] = value / sum;
                }
            }
        }
        return y;
    }
};

void test_attention(session &s) {
    const attention_case c{5, 23};
    reflex::attention_params p;
    p.q = s.floats({1, 5, 4, 64}, c.q);
    p.k = s.floats({1, 40, 2, 64}, c.k);
    p.v = s.floats({1, 40, 2, 64}, c.v);
    p.kv_lengths = s.ints({1}, {23});
    p.y = s.output({1, 5, 4, 64});
    check(reflex_attention(s.context(), &p, s.stream()));
    expect_close(s.read<float>(p.y), c.expected(), 1e-4);
}

void test_attention_decode(session &s) {
    const attention_case c{1, 37};
    reflex::attention_decode_params p;
    p.q = s.floats({1, 4, 64}, c.q);
    p.k = s.floats({1, 40, 2, 64}, c.k);
    p.v = s.floats({1, 40, 2, 64}, c.v);
    p.kv_lengths = s.ints({1}, {37});
    p.y = s.output({1, 4, 64});
    check(reflex_attention_decode_workspace_size(s.context(), &p, &p.workspace_size));
    if (p.workspace_size > 0) p.workspace = s.allocate(p.workspace_size);
    check(reflex_attention_decode(s.context(), &p, s.stream()));
    expect_close(s.read<float>(p.y), c.expected(), 1e-4);
}

std::vector<int32_t> greatest(const std::vector<float> &x, size_t rows) {
    const size_t n = x.size() / rows;
    std::vector<int32_t> ids;
    for (size_t row = 0; row < rows; ++row) {
        size_t best = 0;
        for (size_t i = 1; i < n; ++i) best = x[row * n + i] > x[row * n + best] ? i : best;
        ids.push_back(static_cast<int32_t>(best));
    }
    return ids;
}

void test_argmax(session &s) {
    const auto x = numbers(3 * 1000, 19);
    reflex::argmax_params p;
    p.x = s.floats({3, 1000}, x);
    p.ids = s.ints({3}, {-1, -1, -1});
    p.counters = s.ints({2}, {7, -1});
    check(reflex_argmax(s.context(), &p, s.stream()));
    expect(s.read<int32_t>(p.ids) == greatest(x, 3), "wrong ids");
    expect(s.read<int32_t>(p.counters) == std::vector<int32_t>{8, 0}, "the counters did not advance by one");
}

void test_sample(session &s) {
    const auto logits = numbers(2 * 500, 20);
    reflex::sample_params p;
    p.temperature = 0.8f;
    p.top_k = 1;
    p.seed = 42;
    p.logits = s.floats({2, 500}, logits);
    p.ids = s.ints({2}, {-1, -1});
    check(reflex_sample_workspace_size(s.context(), &p, &p.workspace_size));
    if (p.workspace_size > 0) p.workspace = s.allocate(p.workspace_size);
    check(reflex_sample(s.context(), &p, s.stream()));
    expect(s.read<int32_t>(p.ids) == greatest(logits, 2), "top_k = 1 is not the greatest logit");
    p.temperature = 0;
    p.top_k = 0;
    check(reflex_sample(s.context(), &p, s.stream()));
    expect(s.read<int32_t>(p.ids) == greatest(logits, 2), "temperature 0 is not the greatest logit");
}

// A captured launch does nothing until it is replayed, and then sees the values of that moment.
void test_graph(session &s) {
    reflex::add_params p;
    p.a = s.floats({64}, std::vector<float>(64, 1.0f));
    p.b = s.floats({64}, std::vector<float>(64, 2.0f));
    p.y = p.a;
    const reflex::graph graph =
        reflex::capture(s.owner(), s.stream(), [&] { check(reflex_add(s.context(), &p, s.stream())); });
    const auto before = s.read<float>(p.y);
    for (int i = 0; i < 3; ++i) graph.launch(s.stream());
    const auto after = s.read<float>(p.y);
    expect_close(before, std::vector<double>(64, 1.0), 0);
    expect_close(after, std::vector<double>(64, 7.0), 0);
}

void test_errors(session &s) {
    reflex::norm_params p;
    expect(reflex_norm(s.context(), &p, s.stream()) == REFLEX_INVALID_ARGUMENT, "a norm without operands is accepted");
    expect(std::strstr(reflex_last_error_message(), "norm") != nullptr, "the message does not name the op");
    p.struct_size = 4;
    expect(reflex_norm(s.context(), &p, s.stream()) == REFLEX_ABI_MISMATCH, "a struct of 4 bytes is accepted");
}

int run(reflex_backend backend) {
    session s(backend);
    const struct {
        const char *name;
        std::function<void(session &)> body;
    } tests[] = {
        {"norm", test_norm},
        {"add", test_add},
        {"activation", test_activation},
        {"embedding", test_embedding},
        {"matmul_f32_1_row", [](session &t) { matmul(t, 1, false); }},
        {"matmul_f32_7_rows", [](session &t) { matmul(t, 7, false); }},
        {"matmul_q8_0_1_row", [](session &t) { matmul(t, 1, true); }},
        {"matmul_q8_0_7_rows", [](session &t) { matmul(t, 7, true); }},
        {"rope", test_rope},
        {"attention", test_attention},
        {"attention_decode", test_attention_decode},
        {"argmax", test_argmax},
        {"sample", test_sample},
        {"graph", test_graph},
        {"errors", test_errors},
    };
    int failures = 0;
    for (const auto &test : tests) {
        try {
            test.body(s);
            std::printf("test %s ... ok\n", test.name);
        } catch (const std::exception &error) {
            ++failures;
            std::printf("test %s ... FAILED\n  %s\n", test.name, error.what());
        }
    }
    return failures == 0 ? 0 : 1;
}

int print_info(reflex_backend backend) {
    const reflex_build_info build = reflex_get_build_info();
    session s(backend);
    const reflex::device_info info = s.owner().info();
    std::printf("version=%s\ntarget=%s\ncuda_archs=%s\nnvrtc_version=%s\n", build.version, build.target,
                build.cuda_archs, build.nvrtc_version);
    std::printf("backend=%s\ndevice=%s\n", info.backend == REFLEX_BACKEND_CUDA ? "cuda" : "cpu", info.name);
    if (info.sm != 0) std::printf("compute_capability=%u.%u\n", info.sm / 10, info.sm % 10);
    return 0;
}

}  // namespace

int main(int argc, char **argv) {
    bool info = false, usage = false;
    reflex_backend backend = REFLEX_BACKEND_AUTO;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        const std::string value = i + 1 < argc ? argv[i + 1] : "";
        if (argument == "--info") {
            info = true;
        } else if (argument == "--backend" && (value == "cpu" || value == "cuda")) {
            backend = value == "cpu" ? REFLEX_BACKEND_CPU : REFLEX_BACKEND_CUDA;
            ++i;
        } else {
            usage = true;
        }
    }
    if (usage) {
        std::fprintf(stderr, "usage: reflex-parity [--info] [--backend cpu|cuda]\n");
        return 2;
    }
    try {
        if (backend == REFLEX_BACKEND_CUDA && !info &&
            (reflex_device_count() == 0 || reflex_get_build_info().cuda_archs[0] == '\0')) {
            std::printf("skipped: no CUDA device, or a library without kernels\n");
            return 77;
        }
        return info ? print_info(backend) : run(backend);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
