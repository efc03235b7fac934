// Every op through infer.hpp, on the backend that is asked for, against its formula in double.
//
//   reflex-parity --backend cpu|cuda     a line `test NAME ... ok` or `... FAILED` each; status 77 without such a backend
//   reflex-parity --info [--backend B]   what the library and the device are, as key=value
//
// Operands are those of problems in the form of cases/, which reflex-bench sets up as well. Small shapes on purpose: this also runs under
// compute-sanitizer. tests/cpu and tests/gpu have the grids.
#include "parity.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>

namespace parity {
namespace {

using reflex::check;

double wide(float value) { return static_cast<double>(value); }

void check_norm(const outcome &o) {
    const auto x = o.before("x"), residual = o.before("residual"), weight = o.before("weight");
    const size_t dim = weight.size();
    std::vector<double> sum(x.size()), y(x.size());
    for (size_t row = 0; row < x.size() / dim; ++row) {
        double squares = 0;
        for (size_t i = row * dim; i < (row + 1) * dim; ++i) {
            sum[i] = wide(x[i]) + wide(residual[i]);
            squares += sum[i] * sum[i];
        }
        const double scale = 1.0 / std::sqrt(squares / static_cast<double>(dim) + 1e-5);
        for (size_t i = 0; i < dim; ++i) y[row * dim + i] = sum[row * dim + i] * scale * wide(weight[i]);
    }
    expect_close(o.after("residual_out"), sum, 1e-6);
    expect_close(o.after("y"), y, 1e-5);
}

void check_add(const outcome &o) {
    const auto a = o.before("a"), b = o.before("b");
    std::vector<double> y(a.size());
    for (size_t i = 0; i < y.size(); ++i) y[i] = wide(a[i]) + 0.5 * wide(b[i % b.size()]);
    expect_close(o.after("y"), y, 1e-6);
}

void check_activation(const outcome &o) {
    const auto gate = o.before("gate"), up = o.before("up");
    std::vector<double> y(gate.size());
    for (size_t i = 0; i < y.size(); ++i) {
        const double x = wide(gate[i]);
        double activated = x / (1 + std::exp(-x));
        if (o.what().is("kind", "gelu_tanh")) {
            activated = 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979324) * (x + 0.044715 * x * x * x)));
        } else if (o.what().is("kind", "gelu_erf")) {
            activated = 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
        }
        y[i] = activated * wide(up[i]);
    }
    expect_close(o.after("y"), y, 1e-5);
}

void check_softcap(const outcome &o) {
    std::vector<double> y;
    for (const float x : o.before("x")) y.push_back(30 * std::tanh(wide(x) / 30));
    expect_close(o.after("y"), y, 1e-5);
}

void check_embedding(const outcome &o) {
    const auto table = o.before("table");
    const auto dim = static_cast<std::ptrdiff_t>(o.size("table", 1));
    std::vector<double> y;
    for (const int32_t id : o.integers_before("ids"))
        y.insert(y.end(), table.begin() + id * dim, table.begin() + (id + 1) * dim);
    expect_close(o.after("y"), y, 0);
}

void check_rope(const outcome &o) {
    const bool neox = o.what().is("mode", "neox");
    const size_t tokens = o.size("q", 0), heads = o.size("q", 1), dim = o.size("q", 2), slots = o.size("cache.k", 1);
    const auto q = o.before("q"), k = o.before("k"), v = o.before("v");
    const auto k_before = o.before("cache.k"), v_before = o.before("cache.v");
    const auto positions = o.integers_before("positions"), places = o.integers_before("slots");
    const auto rotate = [&](const float *x, int32_t position, double *y) {
        for (size_t i = 0; i < dim / 2; ++i) {
            const double angle = position * std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
            const size_t a = neox ? i : 2 * i, b = neox ? i + dim / 2 : 2 * i + 1;
            y[a] = wide(x[a]) * std::cos(angle) - wide(x[b]) * std::sin(angle);
            y[b] = wide(x[a]) * std::sin(angle) + wide(x[b]) * std::cos(angle);
        }
    };
    std::vector<double> rotated(q.size()), k_cache(k_before.begin(), k_before.end()),
        v_cache(v_before.begin(), v_before.end());
    for (size_t token = 0; token < tokens; ++token) {
        for (size_t head = 0; head < heads; ++head) {
            const size_t at = (token * heads + head) * dim;
            rotate(&q[at], positions[token], &rotated[at]);
        }
        const auto slot = static_cast<size_t>(places[token]);
        expect(slot < slots, "a slot outside of the cache");
        rotate(&k[token * dim], positions[token], &k_cache[slot * dim]);
        for (size_t i = 0; i < dim; ++i) v_cache[slot * dim + i] = wide(v[token * dim + i]);
    }
    expect_close(o.after("q"), rotated, 1e-5);
    expect_close(o.after("cache.k"), k_cache, 1e-5);
    expect_close(o.after("cache.v"), v_cache, 0);
}

// The queries are those of the last tokens of a sequence, and each sees what is before it and itself.
std::vector<double> attention_of(const std::vector<float> &q, const std::vector<float> &k, const std::vector<float> &v,
                                 size_t tokens, size_t heads, size_t kv_heads, size_t dim, size_t length) {
    std::vector<double> y(q.size());
    for (size_t token = 0; token < tokens; ++token) {
        const size_t keys = length - tokens + token + 1;
        for (size_t head = 0; head < heads; ++head) {
            const float *query = &q[(token * heads + head) * dim];
            const size_t kv_head = head / (heads / kv_heads);
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
                    value += weights[key] * wide(v[(key * kv_heads + kv_head) * dim + i]);
                y[(token * heads + head) * dim + i] = value / sum;
            }
        }
    }
    return y;
}

// Of one sequence; a decode step has one token.
void check_attention(const outcome &o) {
    const size_t tokens = o.what().op() == "attention" ? o.size("q", 1) : 1;
    const auto length = static_cast<size_t>(o.integers_before("cache.lengths").front());
    expect_close(o.after("y"),
                 attention_of(o.before("q"), o.before("cache.k"), o.before("cache.v"), tokens, o.size("cache.k", 2) * 2,
                              o.size("cache.k", 2), o.size("cache.k", 3), length),
                 1e-4);
}

// The first pair of q and of the new key is turned by one radian, position 1, and the new row appended.
void check_decode_step(const outcome &o) {
    const size_t kv_heads = o.size("cache.k", 2), dim = o.size("cache.k", 3), row = kv_heads * dim;
    const auto length = static_cast<size_t>(o.integers_before("cache.lengths").front());
    auto q = o.before("q"), k_new = o.before("k_new"), k = o.before("cache.k"), v = o.before("cache.v");
    const auto v_new = o.before("v_new");
    const auto turn = [&](std::vector<float> &heads) {
        for (size_t at = 0; at < heads.size(); at += dim) {
            const double a = wide(heads[at]), b = wide(heads[at + 1]);
            heads[at] = static_cast<float>(a * std::cos(1.0) - b * std::sin(1.0));
            heads[at + 1] = static_cast<float>(a * std::sin(1.0) + b * std::cos(1.0));
        }
    };
    turn(q);
    turn(k_new);
    const auto end = static_cast<std::ptrdiff_t>((length - 1) * row);
    std::copy(k_new.begin(), k_new.end(), k.begin() + end);
    std::copy(v_new.begin(), v_new.end(), v.begin() + end);
    expect_close(o.after("y"), attention_of(q, k, v, 1, o.size("q", 1), kv_heads, dim, length), 1e-4);
    // The rows before and behind the new one stay as they were.
    expect_close(o.after("cache.k"), {k.begin(), k.end()}, 1e-5);
    expect_close(o.after("cache.v"), {v.begin(), v.end()}, 0);
}

std::vector<int32_t> greatest(const std::vector<float> &x, size_t n) {
    std::vector<int32_t> ids;
    for (auto row = x.begin(); row != x.end(); row += static_cast<std::ptrdiff_t>(n))
        ids.push_back(static_cast<int32_t>(std::max_element(row, row + static_cast<std::ptrdiff_t>(n)) - row));
    return ids;
}

void check_argmax(const outcome &o) {
    expect(o.integers_after("ids") == greatest(o.before("x"), o.size("x", 1)), "wrong ids");
    expect(o.integers_after("counters") == std::vector<int32_t>{8, 0}, "the counters did not advance by one");
}

// Of one candidate, or at temperature 0.
void check_sample(const outcome &o) {
    expect(o.integers_after("ids") == greatest(o.before("logits"), o.size("logits", 1)), "not the greatest logit");
}

const std::vector<test> &tests() {
    static const std::vector<test> all = [] {
        std::vector<test> out = {
            {"norm", "norm rows=3 dim=96 residual=f32", check_norm},
            {"add", "add rows=2 n=33 scale=0.5 broadcast=1", check_add},
            {"activation", "activation kind=silu|gelu_tanh|gelu_erf rows=2 n=40", check_activation},
            {"softcap", "softcap rows=2 n=33 values=wide", check_softcap},
            {"embedding", "embedding table=f32 vocab=5 dim=24 ids=4/0/4", check_embedding},
            {"rope", "rope mode=neox|interleaved tokens=2 q_heads=3 kv_heads=1 dim=16 v_dim=16 position=1", check_rope},
            {"attention", "attention kv=f32 tokens=5 heads=4 capacity=40 lengths=23", check_attention},
            {"attention_decode", "attention_decode kv=f32 heads=4 capacity=40 lengths=37", check_attention},
            {"decode_step",
             "attention_decode kv=f32 heads=4 capacity=40 lengths=37 rotated=1 append=1 mode=interleaved rotary=2 "
             "position=1",
             check_decode_step},
            {"argmax", "argmax rows=3 n=1000 counters=7/-1", check_argmax},
            {"sample", "sample rows=2 n=500 temperature,top_k=0.8,1|0,0", check_sample},
        };
        out.insert(out.end(), matmul_tests().begin(), matmul_tests().end());
        return out;
    }();
    return all;
}

// A context with a stream, for what is no problem of cases/.
struct session {
    explicit session(reflex_backend backend) : context(options(backend)), stream(context) {}

    static reflex::context_params options(reflex_backend backend) {
        reflex::context_params params;
        params.backend = backend;
        return params;
    }

    reflex::device_buffer floats(const std::vector<float> &values) const {
        reflex::device_buffer out(context, values.size() * sizeof(float));
        check(reflex_memcpy(context.get(), out.get(), values.data(), out.size(), stream.get()));
        stream.synchronize();
        return out;
    }
    std::vector<float> read(const reflex::device_buffer &from) const {
        std::vector<float> values(from.size() / sizeof(float));
        check(reflex_memcpy(context.get(), values.data(), from.get(), from.size(), stream.get()));
        stream.synchronize();
        return values;
    }

    reflex::context context;
    reflex::stream stream;
};

// A captured launch does nothing until it is replayed, and then sees the values of that moment.
void test_graph(const session &s) {
    const reflex::device_buffer a = s.floats(std::vector<float>(64, 1.0f)), b = s.floats(std::vector<float>(64, 2.0f));
    reflex::add_params p;
    p.a = p.y = reflex::tensor(a.get(), REFLEX_DTYPE_F32, {64});
    p.b = reflex::tensor(b.get(), REFLEX_DTYPE_F32, {64});
    const reflex_stream stream = s.stream.get();
    const reflex::graph graph =
        reflex::capture(s.context, stream, [&] { check(reflex_add(s.context.get(), &p, stream)); });
    const auto before = s.read(a);
    for (int i = 0; i < 3; ++i) graph.launch(stream);
    const auto after = s.read(a);
    expect_close(before, std::vector<double>(64, 1.0), 0);
    expect_close(after, std::vector<double>(64, 7.0), 0);
}

void test_errors(const session &s) {
    const reflex_context *context = s.context.get();
    reflex::norm_params p;
    expect(reflex_norm(context, &p, s.stream.get()) == REFLEX_INVALID_ARGUMENT, "a norm without operands is accepted");
    expect(std::strstr(reflex_last_error_message(), "norm") != nullptr, "the message does not name the op");
    p.struct_size = 4;
    expect(reflex_norm(context, &p, s.stream.get()) == REFLEX_ABI_MISMATCH, "a struct of 4 bytes is accepted");
}

// One line of the report.
bool passes(const std::string &name, const std::function<void()> &body) {
    try {
        body();
        std::printf("test %s ... ok\n", name.c_str());
        return true;
    } catch (const std::exception &error) {
        std::printf("test %s ... FAILED\n  %s\n", name.c_str(), error.what());
        return false;
    }
}

int run(reflex_backend backend) {
    bench::case_runner runner(backend);
    const session s(backend);
    int failures = 0;
    // A report names tests that failed, so a name is given once.
    std::set<std::string> names;
    const auto run_one = [&](const std::string &name, const std::function<void()> &body) {
        if (!names.insert(name).second) throw std::logic_error("two tests are called " + name);
        failures += passes(name, body) ? 0 : 1;
    };
    for (const test &each : tests()) {
        run_one(each.name, [&] {
            for (const bench::descriptor &what : bench::read_case(each.problems)) {
                try {
                    each.check(outcome(runner, what));
                } catch (const std::runtime_error &error) {
                    throw std::runtime_error(what.text() + ": " + error.what());
                }
            }
        });
    }
    run_one("matmul_int8_flag", [&] { test_int8_flag(runner); });
    run_one("graph", [&] { test_graph(s); });
    run_one("errors", [&] { test_errors(s); });
    return failures == 0 ? 0 : 1;
}

int print_info(reflex_backend backend) {
    const reflex_build_info build = reflex_get_build_info();
    const session s(backend);
    const reflex::device_info info = s.context.info();
    std::printf("version=%s\ntarget=%s\ncuda_archs=%s\nnvrtc_version=%s\n", build.version, build.target,
                build.cuda_archs, build.nvrtc_version);
    std::printf("backend=%s\ndevice=%s\n", info.backend == REFLEX_BACKEND_CUDA ? "cuda" : "cpu", info.name);
    std::printf("backend_reason=%s\n", s.context.backend_reason());
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
