// Matmuls: one weight, or those of a layer that share an x.
#include "cases.h"
#include "launch_calls.h"
#include "model_shapes.h"

namespace bench {
namespace {

// For more, REFLEX_MATMUL_INT8 is void where weights are not packed.
constexpr int64_t most_int8_rows = 64;
// Rows of ACT_I8 start at multiples of 16 bytes.
constexpr int64_t act_i8_elements = 64;

struct weight_shape {
    reflex_dtype dtype;
    int64_t n;
};

// Of one case.
struct matmul_spec {
    std::string model, name;
    int64_t rows, k;
    std::vector<weight_shape> weights;
    // The two weights are a gated pair.
    bool gated = false;
    reflex_activation_kind activation = REFLEX_ACTIVATION_SILU;
};

class matmul_list {
public:
    matmul_list(std::vector<bench_case> &out, const options &wanted, const std::vector<reflex_dtype> &weights,
                compute how, bool packed)
        : out_(out), wanted_(wanted), weights_(weights), how_(how), packed_(packed) {}

    void shape(const matmul_shape &s, int64_t rows) {
        for (const reflex_dtype weight : weights_) add({"", "shape", rows, s.k, {{weight, s.n}}});
    }

    void model(const model_shapes &m, int64_t rows) {
        struct place {
            const char *name;
            int64_t n, k;
        };
        const place places[] = {{"attn_q", m.q_width(), m.hidden},      {"attn_kv", m.kv_width(), m.hidden},
                                {"attn_output", m.hidden, m.q_width()}, {"ffn_up", m.ffn, m.hidden},
                                {"ffn_down", m.hidden, m.ffn},          {"output", m.vocab, m.hidden}};
        for (const place &p : places) {
            if (p.n == m.vocab && rows > most_logit_rows) continue;
            for (const reflex_dtype weight : weights_) add({m.name, p.name, rows, p.k, {{weight, p.n}}});
        }
        if (how_ == compute::exact) return;  // a launch for each weight: nothing but the sum of those above
        for (const reflex_dtype weight : weights_) {
            qkv(m, rows, weight, weight);
            // As Q4_K_M and Q5_K_M files have half of their layers.
            if (weight == REFLEX_DTYPE_Q4_K || weight == REFLEX_DTYPE_Q5_K) qkv(m, rows, weight, REFLEX_DTYPE_Q6_K);
            add({m.name, "ffn_gate_up", rows, m.hidden, {{weight, m.ffn}, {weight, m.ffn}}, true, m.activation});
        }
    }

private:
    void qkv(const model_shapes &m, int64_t rows, reflex_dtype qk, reflex_dtype v) {
        add({m.name, "attn_qkv", rows, m.hidden, {{qk, m.q_width()}, {qk, m.kv_width()}, {v, m.kv_width()}}});
    }

    bool fits(const matmul_spec &spec) const {
        if (how_ == compute::int8_quantize && !packed_ && spec.rows > most_int8_rows) return false;
        for (const weight_shape &w : spec.weights) {
            const int64_t block = reflex_dtype_block_elements(w.dtype);
            if (!has_layout(w.dtype, packed_) || (how_ != compute::exact && block == 1)) return false;
            if (spec.k % block == 0) continue;
            // Other types of the list may fit, unless the user asked for this one.
            if (wanted_.dtypes.empty()) return false;
            throw usage_error("K = " + std::to_string(spec.k) + " is no multiple of the " + std::to_string(block) +
                              " elements in a block of " + reflex_dtype_name(w.dtype));
        }
        if (how_ == compute::int8 && spec.k % act_i8_elements != 0)
            throw usage_error("K = " + std::to_string(spec.k) + ": --compute int8 needs a multiple of " +
                              std::to_string(act_i8_elements));
        return true;
    }

    // "Q4_K", "Q4_K_PACKED", "Q4_K+Q6_K_PACKED".
    std::string dtype_text(const matmul_spec &spec) const {
        std::string out = reflex_dtype_name(spec.weights.front().dtype);
        if (spec.weights.back().dtype != spec.weights.front().dtype)
            out += std::string("+") + reflex_dtype_name(spec.weights.back().dtype);
        return out + (packed_ ? "_PACKED" : "");
    }

    void add(const matmul_spec &spec) {
        if (!fits(spec)) return;
        const bool act_i8 = how_ == compute::int8;
        const reflex_dtype x = act_i8 ? REFLEX_DTYPE_ACT_I8 : wanted_.activations;
        // What comes after a gated pair is a matmul: it reads ACT_I8.
        const reflex_dtype y = act_i8 && spec.gated ? REFLEX_DTYPE_ACT_I8 : wanted_.activations;
        out_.emplace_back();
        bench_case &c = out_.back();
        c.op = "matmul";
        c.name = spec.name;
        c.model = spec.model;
        c.dtype = dtype_text(spec);
        c.activations = reflex_dtype_name(x);
        if (how_ != compute::exact) c.computed = compute_name(how_);
        c.batch = spec.rows;
        int64_t n = 0;
        c.operands = {input(x, {spec.rows, spec.k})};
        for (const weight_shape &w : spec.weights) {
            n += w.n;
            c.operands.push_back(input(in_layout(w.dtype, packed_), {w.n, spec.k}));
            if (!spec.gated || n == w.n) c.operands.push_back(output(y, {spec.rows, w.n}));
        }
        c.shape = {{"m", spec.rows}, {"n", n}, {"k", spec.k}};
        c.flops = 2.0 * static_cast<double>(spec.rows) * static_cast<double>(n) * static_cast<double>(spec.k);
        uint32_t flags = REFLEX_MATMUL_CONSTANT_WEIGHTS;
        if (how_ == compute::int8_quantize) flags |= REFLEX_MATMUL_INT8;
        if (spec.gated) flags |= REFLEX_MATMUL_GATED;
        const reflex_activation_kind activation = spec.gated ? spec.activation : 0;
        c.make = [flags, activation](const std::vector<reflex_tensor> &t) {
            reflex::matmul_params p;
            p.flags = flags;
            p.activation = activation;
            p.x = t[0];
            // Weights and their y by turns; a gated pair has one y.
            std::vector<reflex_matmul_product> products;
            for (size_t i = 1; i < t.size(); i += 2) {
                reflex::matmul_product product;
                product.weight = reflex::weight(t[i]);
                if (i + 1 < t.size()) product.y = t[i + 1];
                products.push_back(product);
            }
            return std::make_unique<matmul_call>(p, std::move(products),
                                                 REFLEX_BENCH_OP(matmul, reflex_matmul_workspace_size));
        };
    }

    std::vector<bench_case> &out_;
    const options &wanted_;
    const std::vector<reflex_dtype> &weights_;
    compute how_;
    bool packed_;
};

}  // namespace

void add_matmuls(std::vector<bench_case> &out, const options &wanted, const std::vector<int64_t> &rows,
                 const std::vector<reflex_dtype> &weights) {
    for (const compute how : wanted.computes) {
        for (const bool packed : wanted.packed) {
            matmul_list list(out, wanted, weights, how, packed);
            for (const matmul_shape &s : wanted.shapes) {
                for (const int64_t count : s.rows > 0 ? std::vector<int64_t>{s.rows} : rows) list.shape(s, count);
            }
            for (const std::string &name : wanted.models) {
                for (const int64_t count : rows) list.model(*find_model_shapes(name), count);
            }
        }
    }
}

}  // namespace bench
