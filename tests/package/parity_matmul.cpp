// Matmuls of plain, quantised and packed weights, fused and gated, and the two ops that prepare their operands.
#include "parity.h"

#include <algorithm>
#include <cstring>

namespace parity {
namespace {

// Q8_0: blocks of an f16 scale and 32 signed bytes. The scale 2^-7 is exact in f16.
std::vector<uint8_t> q8_0(const std::vector<int8_t> &quants) {
    std::vector<uint8_t> bytes;
    for (size_t block = 0; block < quants.size() / 32; ++block) {
        bytes.push_back(0x00);
        bytes.push_back(0x20);
        for (size_t i = 0; i < 32; ++i) bytes.push_back(static_cast<uint8_t>(quants[block * 32 + i]));
    }
    return bytes;
}

// A matrix as the library takes it, and its values.
struct weight {
    reflex_dtype dtype;
    size_t n, k;
    std::vector<uint8_t> bytes;
    std::vector<float> values;
};

weight random_q8_0(size_t n, size_t k, uint32_t seed) {
    weight w{REFLEX_DTYPE_Q8_0, n, k, {}, numbers(n * k, seed)};
    std::vector<int8_t> quants;
    for (float &value : w.values) {
        quants.push_back(static_cast<int8_t>(std::lround(value * 127)));
        value = static_cast<float>(quants.back()) / 128.0f;
    }
    w.bytes = q8_0(quants);
    return w;
}

// Q4_0: an f16 scale, here 2^-3, then nibbles of value + 8; the low ones are the first 16 elements.
weight random_q4_0(size_t n, size_t k, uint32_t seed) {
    weight w{REFLEX_DTYPE_Q4_0, n, k, {}, numbers(n * k, seed)};
    for (size_t block = 0; block < w.values.size(); block += 32) {
        uint8_t quants[32];
        for (size_t i = 0; i < 32; ++i) {
            const long q = std::lround(w.values[block + i] * 7) + 8;
            quants[i] = static_cast<uint8_t>(q);
            w.values[block + i] = static_cast<float>(q - 8) / 8.0f;
        }
        w.bytes.push_back(0x00);
        w.bytes.push_back(0x30);
        for (size_t i = 0; i < 16; ++i) w.bytes.push_back(static_cast<uint8_t>(quants[i] | quants[i + 16] << 4));
    }
    return w;
}

reflex_tensor native(session &s, const weight &w) {
    return s.bytes(w.dtype, {static_cast<int64_t>(w.n), static_cast<int64_t>(w.k)}, w.bytes);
}

reflex_tensor packed(session &s, const weight &w) {
    reflex::weights_pack_params p;
    p.source = native(s, w);
    p.destination = s.bytes(w.dtype | REFLEX_DTYPE_PACKED, {p.source.shape[0], p.source.shape[1]},
                            std::vector<uint8_t>(w.bytes.size(), 0xA5));
    s.give_workspace(p, reflex_weights_pack_workspace_size);
    check(reflex_weights_pack(s.context(), &p, s.stream()));
    return p.destination;
}

constexpr size_t act_i8_bytes(size_t elements) { return elements / 32 * 40; }

reflex_tensor act_i8_output(session &s, size_t rows, size_t k) {
    return s.bytes(REFLEX_DTYPE_ACT_I8, {static_cast<int64_t>(rows), static_cast<int64_t>(k)},
                   std::vector<uint8_t>(act_i8_bytes(rows * k), 0xA5));
}

reflex_tensor quantized(session &s, const std::vector<float> &x, size_t rows) {
    const size_t k = x.size() / rows;
    reflex::quantize_params p;
    p.x = s.floats({static_cast<int64_t>(rows), static_cast<int64_t>(k)}, x);
    p.y = act_i8_output(s, rows, k);
    check(reflex_quantize(s.context(), &p, s.stream()));
    return p.y;
}

struct act_i8_block {
    int8_t q[32];
    float d;
    int16_t sums[2];
};

// Rows of quants, each followed by its blocks' scales and sums.
std::vector<act_i8_block> act_i8_blocks(session &s, const reflex_tensor &tensor) {
    const auto rows = static_cast<size_t>(tensor.shape[0]), k = static_cast<size_t>(tensor.shape[1]);
    const auto bytes = s.read_bytes(tensor, act_i8_bytes(rows * k));
    std::vector<act_i8_block> blocks(rows * k / 32);
    for (size_t i = 0; i < blocks.size(); ++i) {
        const uint8_t *row = &bytes[i / (k / 32) * act_i8_bytes(k)];
        const size_t block = i % (k / 32);
        std::memcpy(blocks[i].q, row + block * 32, 32);
        std::memcpy(&blocks[i].d, row + k + block * 8, 4);
        std::memcpy(blocks[i].sums, row + k + block * 8 + 4, 4);
    }
    return blocks;
}

std::vector<float> values_of(const std::vector<act_i8_block> &blocks) {
    std::vector<float> values;
    for (const act_i8_block &block : blocks) {
        for (const int8_t q : block.q) values.push_back(block.d * static_cast<float>(q));
    }
    return values;
}

std::vector<double> products(const std::vector<float> &x, const weight &w) {
    std::vector<double> y;
    for (size_t row = 0; row < x.size() / w.k; ++row) {
        for (size_t o = 0; o < w.n; ++o) y.push_back(dot(&x[row * w.k], &w.values[o * w.k], w.k));
    }
    return y;
}

// A block's values within half of its step, and its sums those of its quants.
void expect_quantized(const std::vector<act_i8_block> &blocks, const std::vector<double> &expected, double tolerance) {
    expect(blocks.size() * 32 == expected.size(), "wrong number of elements");
    for (size_t i = 0; i < blocks.size(); ++i) {
        const act_i8_block &block = blocks[i];
        double largest = 0;
        int sums[2] = {0, 0};
        for (size_t j = 0; j < 32; ++j) {
            largest = std::max(largest, std::fabs(expected[i * 32 + j]));
            sums[j / 16] += block.q[j];
        }
        expect(block.sums[0] == sums[0] && block.sums[1] == sums[1], "the sums are not those of the quants");
        for (size_t j = 0; j < 32; ++j) {
            const double got = static_cast<double>(block.d) * block.q[j];
            expect(std::fabs(got - expected[i * 32 + j]) <= largest / 254 + tolerance * (1 + largest),
                   "element " + std::to_string(i * 32 + j) + " is " + std::to_string(got) + ", expected " +
                       std::to_string(expected[i * 32 + j]));
        }
    }
}

}  // namespace

void test_matmul(session &s, size_t rows, bool quantised) {
    const size_t n = 24, k = 256;
    const auto x = numbers(rows * k, 9), bias = numbers(n, 10), residual = numbers(rows * n, 11);
    auto weight = numbers(n * k, 12);
    const int64_t rows_ = static_cast<int64_t>(rows);
    reflex::matmul_params p;
    p.x = s.floats({rows_, 256}, x);
    reflex::matmul_product product[1];
    if (quantised) {
        std::vector<int8_t> quants(n * k);
        for (size_t i = 0; i < quants.size(); ++i) {
            quants[i] = static_cast<int8_t>(std::lround(weight[i] * 127));
            weight[i] = static_cast<float>(quants[i]) / 128.0f;
        }
        product->weight = reflex::weight(s.bytes(REFLEX_DTYPE_Q8_0, {24, 256}, q8_0(quants)));
    } else {
        product->weight = reflex::weight(s.floats({24, 256}, weight));
    }
    product->bias = s.floats({24}, bias);
    product->residual = s.floats({rows_, 24}, residual);
    product->y = s.output({rows_, 24});
    reflex::set_products(p, product);
    s.give_workspace(p, reflex_matmul_workspace_size);
    check(reflex_matmul(s.context(), &p, s.stream()));
    std::vector<double> y(rows * n);
    for (size_t row = 0; row < rows; ++row) {
        for (size_t col = 0; col < n; ++col) {
            y[row * n + col] = dot(&x[row * k], &weight[col * k], k) + bias[col] + residual[row * n + col];
        }
    }
    // Quantised weights may meet activations quantised to 8 bits: an error of up to 1/254 of each factor, of random sign.
    expect_close(s.read<float>(product->y), y, quantised ? 0.03 : 1e-3);
}

void test_quantize(session &s) {
    const auto x = numbers(3 * 128, 21);
    expect_quantized(act_i8_blocks(s, quantized(s, x, 3)), std::vector<double>(x.begin(), x.end()), 1e-6);
}

void test_weights_pack(session &s) {
    // A panel of 16 rows and a few more, a tile of 256 elements and a block more.
    for (const weight &w : {random_q8_0(19, 288, 22), random_q4_0(19, 288, 23)}) {
        reflex::weights_unpack_params p;
        p.source = packed(s, w);
        p.destination = s.bytes(w.dtype, {19, 288}, std::vector<uint8_t>(w.bytes.size(), 0xA5));
        s.give_workspace(p, reflex_weights_unpack_workspace_size);
        check(reflex_weights_unpack(s.context(), &p, s.stream()));
        expect(s.read_bytes(p.source, w.bytes.size()) != w.bytes, "packing changed nothing");
        expect(s.read_bytes(p.destination, w.bytes.size()) == w.bytes, "unpacking does not give the weights back");
    }
}

// Query, key and value weights of two formats and three heights over one quantised x.
void test_fused_int8(session &s, size_t rows) {
    const size_t k = 512;
    const weight weights[] = {random_q8_0(40, k, 24), random_q4_0(16, k, 25), random_q8_0(17, k, 26)};
    const auto x = numbers(rows * k, 27), bias = numbers(40, 28), residual = numbers(rows * 17, 29);
    const auto rows_ = static_cast<int64_t>(rows);
    reflex::matmul_params p;
    p.flags = REFLEX_MATMUL_CONSTANT_WEIGHTS;
    p.x = quantized(s, x, rows);
    reflex::matmul_product qkv[3];
    for (size_t i = 0; i < 3; ++i) qkv[i].weight = reflex::weight(packed(s, weights[i]));
    qkv[0].bias = s.floats({40}, bias);
    qkv[0].y = s.output({rows_, 40});
    qkv[1].y = s.output({rows_, 16});
    qkv[2].residual = qkv[2].y = s.floats({rows_, 17}, residual);
    reflex::set_products(p, qkv);
    check(reflex_matmul_supported(s.context(), &p));
    s.give_workspace(p, reflex_matmul_workspace_size);
    check(reflex_matmul(s.context(), &p, s.stream()));

    const auto held = values_of(act_i8_blocks(s, p.x));
    auto q = products(held, weights[0]), v = products(held, weights[2]);
    for (size_t i = 0; i < q.size(); ++i) q[i] += bias[i % 40];
    for (size_t i = 0; i < v.size(); ++i) v[i] += residual[i];
    const auto got_q = s.read<float>(qkv[0].y), got_k = s.read<float>(qkv[1].y), got_v = s.read<float>(qkv[2].y);
    // Several rows go through f16.
    const double tolerance = rows > 1 ? 3e-3 : 1e-4;
    expect_close(got_q, q, tolerance);
    expect_close(got_k, products(held, weights[1]), tolerance);
    expect_close(got_v, v, tolerance);

    // The flag quantises a float x to the same.
    p.flags |= REFLEX_MATMUL_INT8;
    p.x = s.floats({rows_, 512}, x);
    qkv[2].residual = reflex_tensor{};
    s.give_workspace(p, reflex_matmul_workspace_size);
    check(reflex_matmul(s.context(), &p, s.stream()));
    expect(s.read<float>(qkv[0].y) == got_q && s.read<float>(qkv[1].y) == got_k, "REFLEX_MATMUL_INT8 gives other bits");
}

// The feed-forward's first half: what it leaves is ready for the second.
void test_gated_to_act_i8(session &s) {
    const size_t rows = 2, n = 64, k = 512;
    const weight gate = random_q4_0(n, k, 30), up = random_q4_0(n, k, 31);
    // Small, lest the activation be a step.
    auto x = numbers(rows * k, 32);
    for (float &value : x) value *= 0.1f;
    reflex::matmul_params p;
    p.flags = REFLEX_MATMUL_GATED;
    p.activation = REFLEX_ACTIVATION_SILU;
    p.x = quantized(s, x, rows);
    reflex::matmul_product pair[2];
    pair[0].weight = reflex::weight(packed(s, gate));
    pair[0].y = act_i8_output(s, rows, n);
    pair[1].weight = reflex::weight(packed(s, up));
    reflex::set_products(p, pair);
    s.give_workspace(p, reflex_matmul_workspace_size);
    check(reflex_matmul(s.context(), &p, s.stream()));

    const auto held = values_of(act_i8_blocks(s, p.x));
    auto y = products(held, gate);
    const auto factor = products(held, up);
    for (size_t i = 0; i < y.size(); ++i) y[i] = y[i] / (1 + std::exp(-y[i])) * factor[i];
    expect_quantized(act_i8_blocks(s, pair[0].y), y, 3e-3);
}

// A norm between two products, without a launch of its own.
void test_norm_handed_on(session &s, size_t rows) {
    const size_t k = 512, n = 64, outputs = 24;
    const weight first = random_q4_0(n, k, 33), second = random_q8_0(outputs, n, 34);
    const auto x = numbers(rows * k, 35), residual = numbers(rows * n, 36), norm = numbers(n, 37);
    const auto rows_ = static_cast<int64_t>(rows);
    reflex::matmul_params p;
    p.x = quantized(s, x, rows);
    reflex::matmul_product before[1], after[1];
    before->weight = reflex::weight(packed(s, first));
    before->residual = before->y = s.floats({rows_, 64}, residual);
    reflex::set_products(p, before);
    p.y_norm = s.floats({64}, norm);
    p.y_normed = act_i8_output(s, rows, n);
    p.y_squares = s.output({rows_, 2});
    check(reflex_matmul_supported(s.context(), &p));
    check(reflex_matmul(s.context(), &p, s.stream()));

    reflex::matmul_params q;
    q.x = p.y_normed;
    q.x_squares = p.y_squares;
    q.norm_epsilon = 1e-5f;
    after->weight = reflex::weight(packed(s, second));
    after->y = s.output({rows_, 24});
    reflex::set_products(q, after);
    check(reflex_matmul(s.context(), &q, s.stream()));

    auto y = products(values_of(act_i8_blocks(s, p.x)), first);
    for (size_t i = 0; i < y.size(); ++i) y[i] += residual[i];
    // Several rows go through f16.
    const double tolerance = rows > 1 ? 3e-3 : 1e-4;
    expect_close(s.read<float>(before->y), y, tolerance);
    auto wanted = products(values_of(act_i8_blocks(s, p.y_normed)), second);
    for (size_t row = 0; row < rows; ++row) {
        double squares = 0;
        for (size_t i = 0; i < n; ++i) squares += y[row * n + i] * y[row * n + i];
        const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
        for (size_t i = 0; i < n; ++i) y[row * n + i] *= norm[i];
        for (size_t i = 0; i < outputs; ++i) wanted[row * outputs + i] *= scale;
    }
    expect_quantized(act_i8_blocks(s, p.y_normed), y, tolerance);
    expect_close(s.read<float>(after->y), wanted, tolerance);
}

}  // namespace parity
