// Matmuls of plain, quantised and packed weights, fused and gated, and the ops that prepare their operands.
#include <algorithm>
#include <cstring>

#include "half.h"
#include "parity.h"

namespace parity {
namespace {

float half_at(const uint8_t *at) { return bench::half_to_float(static_cast<uint16_t>(at[0] | at[1] << 8)); }

// F32; Q8_0: blocks of an f16 scale and 32 signed bytes; Q4_0: an f16 scale, then nibbles of value + 8, of which the low ones are the first
// 16 elements.
std::vector<float> weight_values(const outcome &o, const char *name) {
    const reflex_dtype dtype = o.dtype(name) & ~REFLEX_DTYPE_PACKED;
    const std::vector<uint8_t> bytes = o.native_bytes(name);
    if (dtype == REFLEX_DTYPE_F32) return o.before(name);
    expect(dtype == REFLEX_DTYPE_Q8_0 || dtype == REFLEX_DTYPE_Q4_0, "a weight of another type");
    const size_t block = dtype == REFLEX_DTYPE_Q8_0 ? 34 : 18;
    std::vector<float> out;
    for (size_t at = 0; at < bytes.size(); at += block) {
        const float scale = half_at(&bytes[at]);
        for (size_t i = 0; i < 32; ++i) {
            const uint8_t quant = bytes[at + 2 + (dtype == REFLEX_DTYPE_Q8_0 ? i : i % 16)];
            const int value =
                dtype == REFLEX_DTYPE_Q8_0 ? static_cast<int8_t>(quant) : (i < 16 ? quant & 15 : quant >> 4) - 8;
            out.push_back(scale * static_cast<float>(value));
        }
    }
    return out;
}

struct act_i8_block {
    int8_t q[32];
    float d;
    int16_t sums[2];
};

// Rows of k quants, each followed by its blocks' scales and sums.
std::vector<act_i8_block> act_i8_blocks(const std::vector<uint8_t> &bytes, size_t k) {
    std::vector<act_i8_block> blocks(bytes.size() / 40);
    for (size_t i = 0; i < blocks.size(); ++i) {
        const uint8_t *row = &bytes[i / (k / 32) * (k / 32 * 40)];
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

// x as the product reads it.
std::vector<float> x_values(const outcome &o) {
    if (o.dtype("x") == REFLEX_DTYPE_F32) return o.before("x");
    return values_of(act_i8_blocks(o.bytes_before("x"), o.size("x", 1)));
}

std::vector<double> products(const outcome &o, const char *weight) {
    const std::vector<float> x = x_values(o), w = weight_values(o, weight);
    const size_t rows = o.size("x", 0), k = o.size("x", 1), n = o.size(weight, 0);
    std::vector<double> y;
    for (size_t row = 0; row < rows; ++row) {
        for (size_t i = 0; i < n; ++i) y.push_back(dot(&x[row * k], &w[i * k], k));
    }
    return y;
}

void add_rows(std::vector<double> &y, const std::vector<float> &what) {
    for (size_t i = 0; i < y.size(); ++i) y[i] += static_cast<double>(what[i % what.size()]);
}

// Of sums of k products of numbers near 1. Several rows of packed weights are multiplied as f16.
double tolerance_of(const outcome &o) {
    return (o.size("x", 0) > 1 ? 1e-3 : 1e-5) * std::sqrt(static_cast<double>(o.size("x", 1)));
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

void check_quantize(const outcome &o) {
    const std::vector<float> x = o.before("x");
    expect_quantized(act_i8_blocks(o.bytes_after("y"), o.size("x", 1)), {x.begin(), x.end()}, 1e-6);
}

// A pack leaves what an unpack of the same weights begins with, and the other way round.
void check_weights_pack(const outcome &o) {
    const bool unpack = o.what().is("direction", "unpack");
    const std::vector<uint8_t> native = o.native_bytes("source"),
                               packed = o.bytes_after(unpack ? "source" : "destination");
    expect(packed != native, "packing changed nothing");
    expect(o.bytes_after(unpack ? "destination" : "source") == native, "unpacking does not give the weights back");
}

void check_matmul(const outcome &o) {
    std::vector<double> y = products(o, "weight0");
    for (size_t i = 0; i < y.size(); ++i) y[i] += static_cast<double>(o.before("bias0")[i % o.size("bias0", 0)]);
    add_rows(y, o.before("residual0"));
    expect_close(o.after("y0"), y, 1e-3);
}

// Query, key and value weights of two formats and three heights over one quantised x.
void check_fused(const outcome &o) {
    std::vector<double> q = products(o, "weight0"), v = products(o, "weight2");
    add_rows(q, o.before("bias0"));
    add_rows(v, o.before("y2"));
    expect_close(o.after("y0"), q, tolerance_of(o));
    expect_close(o.after("y1"), products(o, "weight1"), tolerance_of(o));
    expect_close(o.after("y2"), v, tolerance_of(o));
}

// The feed-forward's first half: what it leaves is ready for the second.
void check_gated(const outcome &o) {
    std::vector<double> y = products(o, "weight0");
    const std::vector<double> factor = products(o, "weight1");
    for (size_t i = 0; i < y.size(); ++i) y[i] = y[i] / (1 + std::exp(-y[i])) * factor[i];
    expect_quantized(act_i8_blocks(o.bytes_after("y0"), o.size("y0", 1)), y, 3e-3);
}

// The product before a deferred norm: y, y times the norm's weight, and sums of squares of y.
void check_before_norm(const outcome &o) {
    std::vector<double> y = products(o, "weight0");
    add_rows(y, o.before("y0"));
    expect_close(o.after("y0"), y, tolerance_of(o));
    const std::vector<float> weight = o.before("y_norm");
    std::vector<double> normed = y, squares(y.size() / 32);
    for (size_t i = 0; i < y.size(); ++i) {
        normed[i] *= static_cast<double>(weight[i % weight.size()]);
        squares[i / 32] += y[i] * y[i];
    }
    expect_quantized(act_i8_blocks(o.bytes_after("y_normed"), weight.size()), normed, tolerance_of(o));
    expect_close(o.after("y_squares"), squares, 2 * tolerance_of(o));
}

// And the one behind it, which divides by the root of their mean.
void check_behind_norm(const outcome &o) {
    std::vector<double> y = products(o, "weight0");
    const std::vector<float> squares = o.before("x_squares");
    const size_t rows = o.size("x", 0), k = o.size("x", 1), n = o.size("y0", 1), parts = k / 32;
    for (size_t row = 0; row < rows; ++row) {
        double sum = 0;
        for (size_t i = 0; i < parts; ++i) sum += static_cast<double>(squares[row * parts + i]);
        const double scale = 1 / std::sqrt(sum / static_cast<double>(k) + 1e-3);
        for (size_t i = 0; i < n; ++i) y[row * n + i] *= scale;
    }
    expect_close(o.after("y0"), y, tolerance_of(o));
}

constexpr const char *fused = "weight=q8_0 n=40 k=512 packed=1 constant=1 bias=f32 others=q4_0:16/q8_0:17:in_place";

}  // namespace

const std::vector<test> &matmul_tests() {
    static const std::string fused_int8 = std::string("matmul rows=1|5 x=act_i8 ") + fused;
    // Weights: a panel of 16 rows and a few more, a tile of 256 elements and a block more.
    static const std::vector<test> all = {
        {"quantize", "quantize shape=3/128", check_quantize},
        {"weights_pack", "weights_pack dtype=q8_0|q4_0 direction=pack|unpack n=19 k=288", check_weights_pack},
        {"matmul_f32", "matmul weight=f32 rows=1|7 n=24 k=256 bias=f32 residual=f32", check_matmul},
        {"matmul_q8_0", "matmul weight=q8_0 rows=1|7 n=24 k=256 bias=f32 residual=f32", check_matmul},
        {"matmul_fused_int8", fused_int8.c_str(), check_fused},
        {"matmul_gated_to_act_i8",
         "matmul weight=q4_0 rows=2 n=64 k=512 packed=1 x=act_i8 y=act_i8 gate=silu others=same:64", check_gated},
        {"matmul_before_deferred_norm",
         "matmul weight=q4_0 rows=1|5 n=64 k=512 packed=1 x=act_i8 in_place=1 y_norm=f32", check_before_norm},
        {"matmul_behind_deferred_norm", "matmul weight=q8_0 rows=1|5 n=24 k=64 packed=1 x=act_i8 squares=1",
         check_behind_norm},
    };
    return all;
}

void test_int8_flag(bench::case_runner &runner) {
    for (const char *rows : {"1", "5"}) {
        const std::string words = std::string(" rows=") + rows + " " + fused;
        const outcome quantised(runner, bench::read_case("matmul x=act_i8" + words).front());
        const outcome floats(runner, bench::read_case("matmul x=f32 int8=1" + words).front());
        for (const char *y : {"y0", "y1", "y2"})
            expect(quantised.after(y) == floats.after(y), "REFLEX_MATMUL_INT8 gives other bits");
    }
}

}  // namespace parity
