#include "cases.h"

#include <algorithm>

#include "launch_calls.h"
#include "model_shapes.h"
#include "problems.h"

namespace bench {
namespace {

int64_t bytes_of(reflex_dtype dtype, std::vector<int64_t> shape) {
    return static_cast<int64_t>(tensor_bytes(dtype, shape));
}

// Spread over the table, and another part of it for each set.
std::vector<int32_t> scattered_ids(size_t set, int64_t count, int64_t vocab) {
    std::vector<int32_t> out;
    uint64_t state = 0x9e3779b97f4a7c15u * (set + 1);
    for (int64_t i = 0; i < count; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        out.push_back(static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(vocab)));
    }
    return out;
}

std::vector<int32_t> counting(int64_t count) {
    std::vector<int32_t> out;
    for (int64_t i = 0; i < count; ++i) out.push_back(static_cast<int32_t>(i));
    return out;
}

class case_list {
public:
    explicit case_list(const options &wanted)
        : wanted_(wanted),
          float_(wanted.activations),
          rows_(wanted.rows.empty() ? std::vector<int64_t>{1, 512} : wanted.rows),
          weights_(wanted.dtypes.empty() ? usual_weight_dtypes() : wanted.dtypes) {}

    std::vector<bench_case> all() {
        if (asked("matmul")) add_matmuls(out_, wanted_, rows_, weights_);
        for (const std::string &name : wanted_.models) {
            const model_shapes &m = *find_model_shapes(name);
            if (asked("attention_decode")) decodes(m);
            if (asked("weights_pack")) conversions(m, false);
            if (asked("weights_unpack")) conversions(m, true);
            for (const int64_t rows : rows_) {
                if (asked("attention")) attentions(m, rows);
                if (asked("embedding")) {
                    for (const bool packed : wanted_.packed) embeddings(m, rows, packed);
                }
                if (asked("norm")) norms(m, rows);
                if (asked("rope")) rope(m, rows);
                if (asked("activation")) activations(m, rows);
                if (asked("add")) add(m, rows);
                if (asked("quantize")) quantize(m, rows);
                if (rows > most_logit_rows) continue;
                if (asked("softcap")) softcap(m, rows);
                if (asked("argmax")) argmax(m, rows);
                if (asked("sample")) samples(m, rows);
            }
        }
        return std::move(out_);
    }

private:
    bool asked(const char *op) const {
        return wanted_.ops.empty() || std::find(wanted_.ops.begin(), wanted_.ops.end(), op) != wanted_.ops.end();
    }

    bench_case &start(const char *op, const std::string &name, const std::string &model, reflex_dtype dtype) {
        out_.emplace_back();
        bench_case &c = out_.back();
        c.op = op;
        c.name = name;
        c.model = model;
        c.dtype = reflex_dtype_name(dtype);
        return c;
    }

    void decodes(const model_shapes &m) {
        const std::vector<int64_t> contexts =
            wanted_.contexts.empty() ? std::vector<int64_t>{1024, 4096, 16384} : wanted_.contexts;
        for (const int64_t keys : contexts) decode(m, keys, false);
        for (const int64_t keys : contexts) decode(m, keys, true);
    }

    // A step: with the head norms, the rotation and the append before the attention.
    void decode(const model_shapes &m, int64_t keys, bool step) {
        bench_case &c = start("attention_decode", step ? "step" : "attention", m.name, REFLEX_DTYPE_F16);
        c.shape = {{"q_heads", m.heads}, {"kv_heads", m.kv_heads}, {"head_dim", m.head_dim}, {"keys", keys}};
        c.context = keys;
        c.flops = 4.0 * static_cast<double>(m.q_width()) * static_cast<double>(keys);
        c.operands = {input(float_, {1, m.heads, m.head_dim}),
                      input(REFLEX_DTYPE_F16, {1, keys, m.kv_heads, m.head_dim}),
                      input(REFLEX_DTYPE_F16, {1, keys, m.kv_heads, m.head_dim}),
                      integers({1}, [keys](size_t) { return std::vector<int32_t>{static_cast<int32_t>(keys)}; }),
                      output(float_, {1, m.heads, m.head_dim})};
        if (step) {
            c.operands.push_back(input(float_, {1, m.kv_heads, m.head_dim}));
            c.operands.push_back(input(float_, {1, m.kv_heads, m.head_dim}));
            c.operands.push_back(
                integers({1}, [keys](size_t) { return std::vector<int32_t>{static_cast<int32_t>(keys - 1)}; }));
            for (int norm = 0; m.qk_norm && norm < 2; ++norm)
                c.operands.push_back(input(REFLEX_DTYPE_F32, {m.head_dim}));
        }
        c.make = [](const std::vector<reflex_tensor> &t) {
            reflex::attention_decode_params p;
            p.q = t[0];
            p.k = t[1];
            p.v = t[2];
            p.kv_lengths = t[3];
            p.y = t[4];
            if (t.size() > 5) {
                p.k_new = t[5];
                p.v_new = t[6];
                p.positions = t[7];
            }
            if (t.size() > 8) {
                p.q_norm = t[8];
                p.k_norm = t[9];
            }
            return make_call<reflex_attention_decode_params>(
                p, REFLEX_BENCH_OP(attention_decode, reflex_attention_decode_workspace_size));
        };
    }

    // A prompt's first tokens, and tokens behind a context.
    void attentions(const model_shapes &m, int64_t rows) {
        if (rows == 1) return;  // attention_decode's work
        attention(m, rows, rows);
        if (rows < 4096) attention(m, rows, 4096);
    }

    void attention(const model_shapes &m, int64_t rows, int64_t keys) {
        bench_case &c =
            start("attention", keys == rows ? "prefill" : "prefill_behind_context", m.name, REFLEX_DTYPE_F16);
        c.shape = {
            {"tokens", rows}, {"q_heads", m.heads}, {"kv_heads", m.kv_heads}, {"head_dim", m.head_dim}, {"keys", keys}};
        c.batch = rows;
        c.context = keys;
        // Of the masked half nothing is counted.
        const double seen = static_cast<double>(rows) * static_cast<double>(keys) -
                            static_cast<double>(rows) * static_cast<double>(rows - 1) / 2;
        c.flops = 4.0 * static_cast<double>(m.q_width()) * seen;
        c.operands = {input(float_, {1, rows, m.heads, m.head_dim}),
                      input(REFLEX_DTYPE_F16, {1, keys, m.kv_heads, m.head_dim}),
                      input(REFLEX_DTYPE_F16, {1, keys, m.kv_heads, m.head_dim}),
                      integers({1}, [keys](size_t) { return std::vector<int32_t>{static_cast<int32_t>(keys)}; }),
                      output(float_, {1, rows, m.heads, m.head_dim})};
        c.make = [](const std::vector<reflex_tensor> &t) {
            reflex::attention_params p;
            p.mask = REFLEX_ATTENTION_CAUSAL;
            p.q = t[0];
            p.k = t[1];
            p.v = t[2];
            p.kv_lengths = t[3];
            p.y = t[4];
            return make_call<reflex_attention_params>(p, REFLEX_BENCH_OP(attention, nullptr));
        };
    }

    void embeddings(const model_shapes &m, int64_t rows, bool packed) {
        for (const reflex_dtype table : weights_) {
            if (has_layout(table, packed)) embedding(m, rows, in_layout(table, packed));
        }
    }

    void embedding(const model_shapes &m, int64_t rows, reflex_dtype table) {
        bench_case &c = start("embedding", "token_embd", m.name, table);
        c.shape = {{"tokens", rows}, {"vocab", m.vocab}, {"dim", m.hidden}};
        c.batch = rows;
        operand whole = input(table, {m.vocab, m.hidden});
        whole.shared = true;
        whole.moved = static_cast<double>(bytes_of(table, {rows, m.hidden}));
        const int64_t vocab = m.vocab;
        c.operands = {whole, integers({rows}, [rows, vocab](size_t s) { return scattered_ids(s, rows, vocab); }),
                      output(float_, {rows, m.hidden})};
        c.make = [](const std::vector<reflex_tensor> &t) {
            reflex::embedding_params p;
            p.table = t[0];
            p.ids = t[1];
            p.y = t[2];
            return make_call<reflex_embedding_params>(p, REFLEX_BENCH_OP(embedding, nullptr));
        };
    }

    void norms(const model_shapes &m, int64_t rows) {
        norm(m, "attn_norm", rows, {rows, m.hidden}, false);
        norm(m, "ffn_norm_residual", rows, {rows, m.hidden}, true);
        norm(m, "ffn_norm_residual_act_i8", rows, {rows, m.hidden}, true, REFLEX_DTYPE_ACT_I8);
        if (m.qk_norm) norm(m, "q_norm", rows, {rows, m.heads, m.head_dim}, false);
    }

    void norm(const model_shapes &m, const char *name, int64_t rows, const std::vector<int64_t> &shape, bool residual,
              reflex_dtype y = REFLEX_DTYPE_NONE) {
        bench_case &c = start("norm", name, m.name, float_);
        if (shape.size() == 3) {
            c.shape = {{"rows", rows}, {"heads", shape[1]}, {"dim", shape[2]}};
        } else {
            c.shape = {{"rows", rows}, {"dim", shape.back()}};
        }
        c.batch = rows;
        c.operands = {input(float_, shape), input(REFLEX_DTYPE_F32, {shape.back()}),
                      output(y == REFLEX_DTYPE_NONE ? float_ : y, shape)};
        if (residual) {
            c.operands.push_back(input(float_, shape));
            c.operands.push_back(output(float_, shape));
        }
        c.make = [](const std::vector<reflex_tensor> &t) {
            reflex::norm_params p;
            p.x = t[0];
            p.weight = t[1];
            p.y = t[2];
            if (t.size() > 3) {
                p.residual = t[3];
                p.residual_out = t[4];
            }
            return make_call<reflex_norm_params>(p, REFLEX_BENCH_OP(norm, nullptr));
        };
    }

    void rope(const model_shapes &m, int64_t rows) {
        bench_case &c = start("rope", "rope_to_cache", m.name, float_);
        c.shape = {{"tokens", rows}, {"q_heads", m.heads}, {"kv_heads", m.kv_heads}, {"head_dim", m.head_dim}};
        c.batch = rows;
        operand q = input(float_, {rows, m.heads, m.head_dim});
        q.moved = 2.0 * static_cast<double>(q.bytes());  // rotated in place
        c.operands = {q,
                      input(float_, {rows, m.kv_heads, m.head_dim}),
                      input(float_, {rows, m.kv_heads, m.head_dim}),
                      integers({rows}, [rows](size_t) { return counting(rows); }),
                      output(REFLEX_DTYPE_F16, {rows, m.kv_heads, m.head_dim}),
                      output(REFLEX_DTYPE_F16, {rows, m.kv_heads, m.head_dim})};
        c.make = [base = m.rope_base](const std::vector<reflex_tensor> &t) {
            reflex::rope_params p;
            p.theta_base = base;
            p.q = t[0];
            p.k = t[1];
            p.v = t[2];
            p.positions = t[3];
            p.k_cache = t[4];
            p.v_cache = t[5];
            return make_call<reflex_rope_params>(p, REFLEX_BENCH_OP(rope, nullptr));
        };
    }

    void activations(const model_shapes &m, int64_t rows) {
        const std::string name = m.activation == REFLEX_ACTIVATION_SILU ? "swiglu" : "geglu";
        activation(m, name, rows, float_);
        activation(m, name + "_act_i8", rows, REFLEX_DTYPE_ACT_I8);
    }

    void activation(const model_shapes &m, const std::string &name, int64_t rows, reflex_dtype y) {
        bench_case &c = start("activation", name, m.name, float_);
        c.shape = {{"rows", rows}, {"n", m.ffn}};
        c.batch = rows;
        c.operands = {input(float_, {rows, m.ffn}), input(float_, {rows, m.ffn}), output(y, {rows, m.ffn})};
        c.make = [kind = m.activation](const std::vector<reflex_tensor> &t) {
            reflex::activation_params p;
            p.kind = kind;
            p.gate = t[0];
            p.up = t[1];
            p.y = t[2];
            return make_call<reflex_activation_params>(p, REFLEX_BENCH_OP(activation, nullptr));
        };
    }

    void add(const model_shapes &m, int64_t rows) {
        bench_case &c = start("add", "residual", m.name, float_);
        c.shape = {{"rows", rows}, {"n", m.hidden}};
        c.batch = rows;
        c.operands = {input(float_, {rows, m.hidden}), input(float_, {rows, m.hidden}),
                      output(float_, {rows, m.hidden})};
        c.make = [](const std::vector<reflex_tensor> &t) {
            reflex::add_params p;
            p.a = t[0];
            p.b = t[1];
            p.y = t[2];
            return make_call<reflex_add_params>(p, REFLEX_BENCH_OP(add, nullptr));
        };
    }

    void quantize(const model_shapes &m, int64_t rows) {
        bench_case &c = start("quantize", "activations", m.name, float_);
        c.shape = {{"rows", rows}, {"k", m.hidden}};
        c.batch = rows;
        c.operands = {input(float_, {rows, m.hidden}), output(REFLEX_DTYPE_ACT_I8, {rows, m.hidden})};
        c.make = [](const std::vector<reflex_tensor> &t) {
            reflex::quantize_params p;
            p.x = t[0];
            p.y = t[1];
            return make_call<reflex_quantize_params>(p, REFLEX_BENCH_OP(quantize, nullptr));
        };
    }

    // What Gemma 2 does to its logits.
    void softcap(const model_shapes &m, int64_t rows) {
        bench_case &c = start("softcap", "logits", m.name, float_);
        c.shape = {{"rows", rows}, {"n", m.vocab}};
        c.batch = rows;
        c.operands = {input(float_, {rows, m.vocab}), output(float_, {rows, m.vocab})};
        c.make = [](const std::vector<reflex_tensor> &t) {
            reflex::softcap_params p;
            p.cap = 30;
            p.x = t[0];
            p.y = t[1];
            return make_call<reflex_softcap_params>(p, REFLEX_BENCH_OP(softcap, nullptr));
        };
    }

    // What loading a model does to each of its matrices, and the way back.
    void conversions(const model_shapes &m, bool unpack) {
        for (const reflex_dtype weight : weights_) {
            if (has_layout(weight, true)) conversion(m, weight, unpack);
        }
    }

    void conversion(const model_shapes &m, reflex_dtype weight, bool unpack) {
        bench_case &c = start(unpack ? "weights_unpack" : "weights_pack", "ffn_up", m.name, weight);
        c.shape = {{"n", m.ffn}, {"k", m.hidden}};
        c.operands = {input(in_layout(weight, unpack), {m.ffn, m.hidden}),
                      output(in_layout(weight, !unpack), {m.ffn, m.hidden})};
        c.make = [unpack](const std::vector<reflex_tensor> &t) { return make_conversion(t[0], t[1], unpack); };
    }

    void argmax(const model_shapes &m, int64_t rows) {
        bench_case &c = start("argmax", "greedy", m.name, float_);
        c.shape = {{"rows", rows}, {"n", m.vocab}};
        c.batch = rows;
        c.operands = {input(float_, {rows, m.vocab}), output(REFLEX_DTYPE_I32, {rows})};
        c.make = [](const std::vector<reflex_tensor> &t) {
            reflex::argmax_params p;
            p.x = t[0];
            p.ids = t[1];
            return make_call<reflex_argmax_params>(p, REFLEX_BENCH_OP(argmax, reflex_argmax_workspace_size));
        };
    }

    void samples(const model_shapes &m, int64_t rows) {
        sample(m, "top_k_40_top_p_0.95", rows, 40, 0.95f);
        sample(m, "top_p_0.95", rows, 0, 0.95f);
        sample(m, "temperature", rows, 0, 0);
    }

    void sample(const model_shapes &m, const char *name, int64_t rows, uint32_t top_k, float top_p) {
        bench_case &c = start("sample", name, m.name, float_);
        c.shape = {{"rows", rows}, {"n", m.vocab}};
        c.batch = rows;
        c.operands = {input(float_, {rows, m.vocab}), output(REFLEX_DTYPE_I32, {rows})};
        c.make = [top_k, top_p](const std::vector<reflex_tensor> &t) {
            reflex::sample_params p;
            p.temperature = 0.8f;
            p.top_k = top_k;
            p.top_p = top_p;
            p.seed = 1;
            p.logits = t[0];
            p.ids = t[1];
            return make_call<reflex_sample_params>(p, REFLEX_BENCH_OP(sample, reflex_sample_workspace_size));
        };
    }

    const options &wanted_;
    reflex_dtype float_;
    std::vector<int64_t> rows_;
    std::vector<reflex_dtype> weights_;
    std::vector<bench_case> out_;
};

}  // namespace

double bench_case::bytes() const {
    double sum = 0;
    for (const operand &o : operands) sum += o.moved_bytes();
    return sum;
}

std::string bench_case::shape_text() const {
    std::string out;
    for (const auto &[key, size] : shape) out += (out.empty() ? "" : " ") + key + "=" + std::to_string(size);
    return out;
}

namespace {

// The problems that the user described: in contiguous memory, as those of a model.
std::vector<bench_case> described_cases(const options &wanted) {
    std::vector<bench_case> out;
    for (const descriptor &d : wanted.cases) {
        try {
            out.push_back(problem_of(d).call);
        } catch (const case_error &error) {
            throw usage_error(error.what());
        }
        for (const operand &o : out.back().operands) {
            if (o.gap != 0 || o.offset != 0)
                throw usage_error("--case " + d.text() + ": rows that lie apart are checked, not measured");
        }
    }
    return out;
}

}  // namespace

std::vector<bench_case> list_cases(const options &wanted) {
    if (!wanted.cases.empty()) return described_cases(wanted);
    std::vector<bench_case> out = case_list(wanted).all();
    if (out.empty()) throw usage_error("nothing to measure: no type of the list has such a layout or computation");
    return out;
}

}  // namespace bench
