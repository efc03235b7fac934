// Every op through infer.hpp, on the backend that is asked for, against its formula in double.
//
//   reflex-parity --backend cpu|cuda     a line `test NAME ... ok` or `... FAILED` each; status 77 without such a backend
//   reflex-parity --info [--backend B]   what the library and the device are, as key=value
//
// Small shapes on purpose: this also runs under compute-sanitizer. tests/cpu and tests/gpu have the grids.
#include "parity.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <set>

namespace parity {
namespace {

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
    s.give_workspace(p, reflex_attention_decode_workspace_size);
    check(reflex_attention_decode(s.context(), &p, s.stream()));
    expect_close(s.read<float>(p.y), c.expected(), 1e-4);
}

// Rotated by a quarter turn of the first pair: position 1 beside a frequency of pi / 2. The new row comes from outside.
void test_decode_step(session &s) {
    attention_case c{1, 37};
    const size_t dim = attention_case::dim, kv_heads = attention_case::kv_heads, row = kv_heads * dim;
    const size_t at = (c.length - 1) * row;
    const std::vector<float> k_new(c.k.begin() + at, c.k.begin() + at + row),
        v_new(c.v.begin() + at, c.v.begin() + at + row);
    reflex::attention_decode_params p;
    p.q = s.floats({1, 4, 64}, c.q);
    const auto behind = [&](std::vector<float> cache) {
        std::fill(cache.begin() + at, cache.end(), std::nanf(""));
        return s.floats({1, 40, 2, 64}, cache);
    };
    p.k = behind(c.k);
    p.v = behind(c.v);
    p.kv_lengths = s.ints({1}, {37});
    p.k_new = s.floats({1, 2, 64}, k_new);
    p.v_new = s.floats({1, 2, 64}, v_new);
    p.positions = s.ints({1}, {1});
    p.mode = REFLEX_ROPE_INTERLEAVED;
    p.rotary_dim = 2;
    p.freq_scale = 1.57079632679f;
    p.y = s.output({1, 4, 64});
    s.give_workspace(p, reflex_attention_decode_workspace_size);
    check(reflex_attention_decode(s.context(), &p, s.stream()));
    const auto turn = [&](float *head) {
        const float first = head[0];
        head[0] = -head[1];
        head[1] = first;
    };
    for (size_t head = 0; head < attention_case::q_heads; ++head) turn(&c.q[head * dim]);
    for (size_t head = 0; head < kv_heads; ++head) turn(&c.k[at + head * dim]);
    expect_close(s.read<float>(p.y), c.expected(), 1e-4);
    const auto k = s.read<float>(p.k), v = s.read<float>(p.v);
    expect_close({k.begin() + at, k.begin() + at + row}, {c.k.begin() + at, c.k.begin() + at + row}, 1e-5);
    expect_close({v.begin() + at, v.begin() + at + row}, {v_new.begin(), v_new.end()}, 0);
    expect(std::isnan(k[at + row]) && std::isnan(v[at + row]), "a row behind the new one was written");
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
    s.give_workspace(p, reflex_sample_workspace_size);
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
        {"quantize", test_quantize},
        {"weights_pack", test_weights_pack},
        {"matmul_f32_1_row", [](session &t) { test_matmul(t, 1, false); }},
        {"matmul_f32_7_rows", [](session &t) { test_matmul(t, 7, false); }},
        {"matmul_q8_0_1_row", [](session &t) { test_matmul(t, 1, true); }},
        {"matmul_q8_0_7_rows", [](session &t) { test_matmul(t, 7, true); }},
        {"matmul_fused_int8_1_row", [](session &t) { test_fused_int8(t, 1); }},
        {"matmul_fused_int8_5_rows", [](session &t) { test_fused_int8(t, 5); }},
        {"matmul_gated_to_act_i8", test_gated_to_act_i8},
        {"matmul_norm_handed_on_1_row", [](session &t) { test_norm_handed_on(t, 1); }},
        {"matmul_norm_handed_on_5_rows", [](session &t) { test_norm_handed_on(t, 5); }},
        {"rope", test_rope},
        {"attention", test_attention},
        {"attention_decode", test_attention_decode},
        {"decode_step", test_decode_step},
        {"argmax", test_argmax},
        {"sample", test_sample},
        {"graph", test_graph},
        {"errors", test_errors},
    };
    int failures = 0;
    // A report names tests that failed, so a name is given once.
    std::set<std::string> names;
    for (const auto &test : tests) {
        if (!names.insert(test.name).second) throw std::logic_error(std::string("two tests are called ") + test.name);
    }
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
    std::printf("backend_reason=%s\n", s.owner().backend_reason());
    if (info.sm != 0) std::printf("compute_capability=%u.%u\n", info.sm / 10, info.sm % 10);
    return 0;
}

}  // namespace
}  // namespace parity

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
        return info ? parity::print_info(backend) : parity::run(backend);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
