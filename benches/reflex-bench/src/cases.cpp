#include "cases.h"

#include <algorithm>
#include <initializer_list>

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

// The words of a descriptor.
class problem_words {
public:
    struct word {
        word(const char *the_key, const std::string &value) : key(the_key), text(value) {}
        word(const char *the_key, const char *value) : key(the_key), text(value) {}
        word(const char *the_key, int64_t value) : key(the_key), text(std::to_string(value)) {}
        std::string key, text;
    };

    problem_words(const char *op, std::initializer_list<word> words) : text_(op) { add(words); }
    void add(std::initializer_list<word> words) {
        for (const word &each : words) text_ += " " + each.key + "=" + each.text;
    }
    const std::string &text() const { return text_; }

private:
    std::string text_;
};

class case_list {
public:
    explicit case_list(const options &wanted)
        : wanted_(wanted),
          float_(wanted.activations),
          float_name_(name_in_lists(wanted.activations)),
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
                if (asked("attention_merge")) attention_merge(m, rows);
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
                if (asked("softmax")) softmax(m, rows);
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

    // A problem in the form of cases/, by the names that a model has for it.
    bench_case &described(const problem_words &words, const std::string &name, const model_shapes &m,
                          reflex_dtype dtype) {
        out_.push_back(problem_of(read_case(words.text()).front()).call);
        bench_case &c = out_.back();
        c.name = name;
        c.model = m.name;
        c.dtype = reflex_dtype_name(dtype);
        return c;
    }

    // One of rows of activations.
    bench_case &by_rows(const problem_words &words, const std::string &name, const model_shapes &m, int64_t rows,
                        const std::pair<std::string, int64_t> &width) {
        bench_case &c = described(words, name, m, float_);
        c.shape = {{"rows", rows}, width};
        c.batch = rows;
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
        problem_words words("attention_decode", {{"kv", "f16"}, {"x", float_name_}, {"y", float_name_}});
        words.add({{"heads", m.heads}, {"kv_heads", m.kv_heads}, {"dim", m.head_dim}});
        words.add({{"capacity", keys}, {"lengths", keys}});
        if (step) {
            words.add({{"rotated", 1}, {"append", 1}, {"position", keys - 1}});
            if (m.qk_norm) words.add({{"norms", "f32"}});
        }
        bench_case &c = described(words, step ? "step" : "attention", m, REFLEX_DTYPE_F16);
        c.shape = {{"q_heads", m.heads}, {"kv_heads", m.kv_heads}, {"head_dim", m.head_dim}, {"keys", keys}};
        c.context = keys;
        c.flops = 4.0 * static_cast<double>(m.q_width()) * static_cast<double>(keys);
    }

    // A prompt's first tokens, and tokens behind a context.
    void attentions(const model_shapes &m, int64_t rows) {
        if (rows == 1) return;  // attention_decode's work
        attention(m, rows, rows);
        if (rows < 4096) attention(m, rows, 4096);
    }

    void attention(const model_shapes &m, int64_t rows, int64_t keys) {
        problem_words words("attention", {{"kv", "f16"}, {"q", float_name_}, {"y", float_name_}});
        words.add({{"heads", m.heads}, {"kv_heads", m.kv_heads}, {"dim", m.head_dim}});
        words.add({{"tokens", rows}, {"capacity", keys}, {"lengths", keys}});
        bench_case &c = described(words, keys == rows ? "prefill" : "prefill_behind_context", m, REFLEX_DTYPE_F16);
        c.shape = {
            {"tokens", rows}, {"q_heads", m.heads}, {"kv_heads", m.kv_heads}, {"head_dim", m.head_dim}, {"keys", keys}};
        c.batch = rows;
        c.context = keys;
        // Of the masked half nothing is counted.
        const double seen = static_cast<double>(rows) * static_cast<double>(keys) -
                            static_cast<double>(rows) * static_cast<double>(rows - 1) / 2;
        c.flops = 4.0 * static_cast<double>(m.q_width()) * seen;
    }

    // The attention over a shared prefix, and that over what comes behind it.
    void attention_merge(const model_shapes &m, int64_t rows) {
        const std::string shape =
            std::to_string(rows) + "/" + std::to_string(m.heads) + "/" + std::to_string(m.head_dim);
        const problem_words words("attention_merge",
                                  {{"shape", shape}, {"a", float_name_}, {"b", float_name_}, {"y", float_name_}});
        bench_case &c = by_rows(words, "shared_prefix", m, rows, {"q_heads", m.heads});
        c.shape.emplace_back("head_dim", m.head_dim);
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
        norm(m, "attn_norm", rows, m.hidden, float_name_, "none");
        norm(m, "ffn_norm_residual", rows, m.hidden, float_name_, float_name_);
        norm(m, "ffn_norm_residual_act_i8", rows, m.hidden, "act_i8", float_name_);
        if (!m.qk_norm) return;
        bench_case &c = norm(m, "q_norm", rows * m.heads, m.head_dim, float_name_, "none");
        c.shape = {{"rows", rows}, {"heads", m.heads}, {"dim", m.head_dim}};
        c.batch = rows;
        for (operand &o : c.operands) {
            if (o.shape.size() == 2) o.shape = {rows, m.heads, m.head_dim};
        }
    }

    bench_case &norm(const model_shapes &m, const char *name, int64_t rows, int64_t dim, const std::string &y,
                     const std::string &residual) {
        const problem_words words("norm",
                                  {{"rows", rows}, {"dim", dim}, {"x", float_name_}, {"y", y}, {"residual", residual}});
        return by_rows(words, name, m, rows, {"dim", dim});
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
                      output(REFLEX_DTYPE_F16, {1, rows, m.kv_heads, m.head_dim}),
                      output(REFLEX_DTYPE_F16, {1, rows, m.kv_heads, m.head_dim})};
        c.make = [base = m.rope_base](const std::vector<reflex_tensor> &t) {
            reflex::rope_params p;
            p.theta_base = base;
            p.q = t[0];
            p.k = t[1];
            p.v = t[2];
            p.positions = t[3];
            reflex::kv_cache cache;
            cache.k = t[4];
            cache.v = t[5];
            return make_call<reflex_rope_params>(p, cache, REFLEX_BENCH_OP(rope, nullptr));
        };
    }

    void activations(const model_shapes &m, int64_t rows) {
        const std::string name = m.activation == REFLEX_ACTIVATION_SILU ? "swiglu" : "geglu";
        activation(m, name, rows, float_);
        activation(m, name + "_act_i8", rows, REFLEX_DTYPE_ACT_I8);
    }

    void activation(const model_shapes &m, const std::string &name, int64_t rows, reflex_dtype y) {
        problem_words words("activation", {{"kind", m.activation == REFLEX_ACTIVATION_SILU ? "silu" : "gelu_tanh"}});
        words.add({{"rows", rows}, {"n", m.ffn}, {"gate", float_name_}, {"up", float_name_}, {"y", name_in_lists(y)}});
        by_rows(words, name, m, rows, {"n", m.ffn});
    }

    void add(const model_shapes &m, int64_t rows) {
        const problem_words words(
            "add", {{"rows", rows}, {"n", m.hidden}, {"a", float_name_}, {"b", float_name_}, {"y", float_name_}});
        by_rows(words, "residual", m, rows, {"n", m.hidden});
    }

    void quantize(const model_shapes &m, int64_t rows) {
        const std::string shape = std::to_string(rows) + "/" + std::to_string(m.hidden);
        by_rows({"quantize", {{"shape", shape}, {"x", float_name_}}}, "activations", m, rows, {"k", m.hidden});
    }

    // What Gemma 2 does to its logits.
    void softcap(const model_shapes &m, int64_t rows) {
        const problem_words words("softcap", {{"rows", rows}, {"n", m.vocab}, {"x", float_name_}, {"y", float_name_}});
        by_rows(words, "logits", m, rows, {"n", m.vocab});
    }

    // The log-probabilities of a token.
    void softmax(const model_shapes &m, int64_t rows) {
        const std::string shape = std::to_string(rows) + "/" + std::to_string(m.vocab);
        const problem_words words("softmax", {{"shape", shape}, {"log", 1}, {"x", float_name_}, {"y", float_name_}});
        by_rows(words, "log_probabilities", m, rows, {"n", m.vocab});
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
        const problem_words words("argmax", {{"rows", rows}, {"n", m.vocab}, {"x", float_name_}});
        by_rows(words, "greedy", m, rows, {"n", m.vocab});
    }

    void samples(const model_shapes &m, int64_t rows) {
        sample(m, "top_k_40_top_p_0.95", rows, 40, "0.95");
        sample(m, "top_p_0.95", rows, 0, "0.95");
        sample(m, "temperature", rows, 0, "0");
    }

    void sample(const model_shapes &m, const char *name, int64_t rows, int64_t top_k, const char *top_p) {
        problem_words words("sample", {{"rows", rows}, {"n", m.vocab}, {"logits", float_name_}, {"counters", "none"}});
        words.add({{"temperature", "0.8"}, {"top_k", top_k}, {"top_p", top_p}});
        by_rows(words, name, m, rows, {"n", m.vocab});
    }

    const options &wanted_;
    reflex_dtype float_;
    std::string float_name_;
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
