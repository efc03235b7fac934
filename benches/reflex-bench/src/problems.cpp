#include "problems.h"

#include <algorithm>

#include "launch_calls.h"

namespace bench {
namespace {

// The operands of one descriptor. Its keys are those of the op's file.
class reader {
public:
    reader(const descriptor &d, const std::vector<std::string> &keys) : d_(d) {
        for (const std::string &key : d.changed()) {
            if (std::find(keys.begin(), keys.end(), key) == keys.end())
                throw not_set_up("reflex-bench sets up no " + d.op() + " with " + key + "=" + d.get(key));
        }
    }

    bool given(const char *key) const { return !d_.is(key, "none"); }
    int64_t whole(const char *key) const { return d_.whole(key); }

    // Rows with the descriptor's gap and offset; those of ACT_I8 begin at multiples of 16 bytes.
    operand strided(operand o) const {
        if (o.dtype == REFLEX_DTYPE_ACT_I8) {
            o.gap = o.shape.back() / 32 % 2;
            return o;
        }
        o.gap = d_.whole("gap");
        o.offset = d_.whole("offset");
        return o;
    }
    operand in(const char *dtype, std::vector<int64_t> shape) const {
        return strided(input(d_.dtype(dtype), std::move(shape)));
    }
    operand out(const char *dtype, std::vector<int64_t> shape) const {
        return strided(output(d_.dtype(dtype), std::move(shape)));
    }

    problem finish(std::vector<operand> operands, reflex_dtype rounded_to, decltype(bench_case::make) make) const {
        problem p;
        p.call.op = d_.op();
        // Without the op, which stands before it in a report.
        p.call.name = d_.text().size() > d_.op().size() ? d_.text().substr(d_.op().size() + 1) : "defaults";
        p.call.operands = std::move(operands);
        p.call.dtype = reflex_dtype_name(p.call.operands.front().dtype);
        p.call.make = std::move(make);
        p.rounded_to = rounded_to;
        return p;
    }

private:
    const descriptor &d_;
};

problem norm(const descriptor &d) {
    const reader r(d, {"rows", "dim", "x", "y", "residual", "weight", "gap", "offset"});
    const std::vector<int64_t> shape{r.whole("rows"), r.whole("dim")};
    const bool residual = r.given("residual"), weight = r.given("weight");
    std::vector<operand> operands{r.in("x", shape), r.out("y", shape)};
    if (residual) operands.insert(operands.end(), {r.in("residual", shape), r.out("x", shape)});
    if (weight) {
        operands.push_back(input(d.dtype("weight"), {shape[1]}));
        operands.back().offset = r.whole("offset");
    }
    return r.finish(operands, d.dtype("y"), [residual, weight](const std::vector<reflex_tensor> &t) {
        reflex::norm_params p;
        p.epsilon = 1e-5f;
        p.x = t[0];
        p.y = t[1];
        if (residual) {
            p.residual = t[2];
            p.residual_out = t[3];
        }
        if (weight) p.weight = t.back();
        return make_call<reflex_norm_params>(p, REFLEX_BENCH_OP(norm, nullptr));
    });
}

problem add(const descriptor &d) {
    const reader r(d, {"rows", "n", "a", "b", "y", "scale", "broadcast", "gap", "offset"});
    const std::vector<int64_t> shape{r.whole("rows"), r.whole("n")};
    operand b = r.in("b", shape);
    if (d.flag("broadcast")) b = r.in("b", {shape[1]});
    return r.finish({r.in("a", shape), b, r.out("y", shape)}, d.dtype("y"),
                    [scale = d.number("scale")](const std::vector<reflex_tensor> &t) {
                        reflex::add_params p;
                        p.scale = scale;
                        p.a = t[0];
                        p.b = t[1];
                        p.y = t[2];
                        return make_call<reflex_add_params>(p, REFLEX_BENCH_OP(add, nullptr));
                    });
}

reflex_activation_kind activation_named(const std::string &name) {
    if (name == "silu") return REFLEX_ACTIVATION_SILU;
    if (name == "gelu_tanh") return REFLEX_ACTIVATION_GELU_TANH;
    if (name == "gelu_erf") return REFLEX_ACTIVATION_GELU_ERF;
    throw case_error("activation kind=" + name + ": expected silu, gelu_tanh or gelu_erf");
}

problem activation(const descriptor &d) {
    const reader r(d, {"kind", "rows", "n", "gate", "up", "y", "gap", "offset"});
    const std::vector<int64_t> shape{r.whole("rows"), r.whole("n")};
    std::vector<operand> operands{r.in("gate", shape), r.out("y", shape)};
    if (r.given("up")) operands.push_back(r.in("up", shape));
    return r.finish(operands, d.dtype("y"),
                    [kind = activation_named(d.get("kind"))](const std::vector<reflex_tensor> &t) {
                        reflex::activation_params p;
                        p.kind = kind;
                        p.gate = t[0];
                        p.y = t[1];
                        if (t.size() > 2) p.up = t[2];
                        return make_call<reflex_activation_params>(p, REFLEX_BENCH_OP(activation, nullptr));
                    });
}

problem quantize(const descriptor &d) {
    const reader r(d, {"shape", "x", "gap", "offset", "kernel"});
    const std::vector<int64_t> shape = d.list("shape");
    return r.finish({r.in("x", shape), r.strided(output(REFLEX_DTYPE_ACT_I8, shape))}, REFLEX_DTYPE_ACT_I8,
                    [](const std::vector<reflex_tensor> &t) {
                        reflex::quantize_params p;
                        p.x = t[0];
                        p.y = t[1];
                        return make_call<reflex_quantize_params>(p, REFLEX_BENCH_OP(quantize, nullptr));
                    });
}

problem argmax(const descriptor &d) {
    const reader r(d, {"rows", "n", "x", "counters", "gap", "offset", "workspace"});
    const int64_t rows = r.whole("rows");
    std::vector<operand> operands{r.in("x", {rows, r.whole("n")}), output(REFLEX_DTYPE_I32, {rows})};
    if (const std::vector<int64_t> counters = d.list("counters"); !counters.empty()) {
        const std::vector<int32_t> values(counters.begin(), counters.end());
        operands.push_back(
            {REFLEX_DTYPE_I32, {static_cast<int64_t>(values.size())}, content::integers, [values](size_t) {
                 return values;
             }});
    }
    return r.finish(operands, REFLEX_DTYPE_I32, [](const std::vector<reflex_tensor> &t) {
        reflex::argmax_params p;
        p.x = t[0];
        p.ids = t[1];
        if (t.size() > 2) p.counters = t[2];
        return make_call<reflex_argmax_params>(p, REFLEX_BENCH_OP(argmax, reflex_argmax_workspace_size));
    });
}

problem embedding(const descriptor &d) {
    const reader r(d, {"table", "vocab", "dim", "ids", "repeat", "y", "scale", "kernel"});
    const reflex_dtype table = d.dtype("table");
    const bool blocks = reflex_dtype_block_elements(table) > 1;
    const int64_t vocab = r.whole("vocab"), dim = blocks ? d.elements("dim", table) : r.whole("dim");
    std::vector<int32_t> ids;
    if (d.is("ids", "all")) {
        for (int64_t id = vocab; id >= -1; --id) ids.push_back(static_cast<int32_t>(id));
    } else {
        for (int64_t i = 0; i < r.whole("repeat"); ++i) {
            for (const int64_t id : d.list("ids")) ids.push_back(static_cast<int32_t>(id));
        }
    }
    const auto count = static_cast<int64_t>(ids.size());
    return r.finish({input(table, {vocab, dim}),
                     {REFLEX_DTYPE_I32, {count}, content::integers, [ids](size_t) { return ids; }},
                     output(d.dtype("y"), {count, dim})},
                    d.dtype("y"), [scale = d.number("scale")](const std::vector<reflex_tensor> &t) {
                        reflex::embedding_params p;
                        p.scale = scale;
                        p.table = t[0];
                        p.ids = t[1];
                        p.y = t[2];
                        return make_call<reflex_embedding_params>(p, REFLEX_BENCH_OP(embedding, nullptr));
                    });
}

// The key's value, or the other one where it says so.
int64_t whole_or(const descriptor &d, const char *key, const char *other) {
    return d.whole(d.is(key, other) ? other : key);
}

operand lengths_of(const descriptor &d) {
    const std::vector<int64_t> given = d.list("lengths");
    const std::vector<int32_t> values(given.begin(), given.end());
    return {REFLEX_DTYPE_I32, {static_cast<int64_t>(values.size())}, content::integers, [values](size_t) {
                return values;
            }};
}

problem attention(const descriptor &d) {
    const reader r(d, {"kv", "batch", "tokens", "heads", "kv_heads", "capacity", "dim", "v_dim", "q", "y", "mask",
                       "scale", "lengths", "gap", "offset", "kernel", "since"});
    const int64_t batch = r.whole("batch"), tokens = r.whole("tokens"), capacity = r.whole("capacity");
    const int64_t heads = r.whole("heads"), kv_heads = r.whole("kv_heads");
    const int64_t dim = r.whole("dim"), v_dim = whole_or(d, "v_dim", "dim");
    std::vector<operand> operands{r.in("q", {batch, tokens, heads, dim}), r.in("kv", {batch, capacity, kv_heads, dim}),
                                  r.in("kv", {batch, capacity, kv_heads, v_dim}),
                                  r.out("y", {batch, tokens, heads, v_dim})};
    if (r.given("lengths")) operands.push_back(lengths_of(d));
    const reflex_attention_mask mask = d.is("mask", "full") ? REFLEX_ATTENTION_FULL : REFLEX_ATTENTION_CAUSAL;
    return r.finish(operands, d.dtype("y"), [mask, scale = d.number("scale")](const std::vector<reflex_tensor> &t) {
        reflex::attention_params p;
        p.mask = mask;
        p.scale = scale;
        p.q = t[0];
        p.k = t[1];
        p.v = t[2];
        p.y = t[3];
        if (t.size() > 4) p.kv_lengths = t[4];
        return make_call<reflex_attention_params>(p, REFLEX_BENCH_OP(attention, nullptr));
    });
}

problem attention_decode(const descriptor &d) {
    const reader r(d, {"kv", "heads", "kv_heads", "capacity", "dim", "v_dim", "lengths", "given", "x", "y", "scale",
                       "gap", "offset", "kernel", "since"});
    const int64_t batch = static_cast<int64_t>(d.list("lengths").size()), capacity = r.whole("capacity");
    const int64_t heads = r.whole("heads"), kv_heads = r.whole("kv_heads");
    const int64_t dim = r.whole("dim"), v_dim = whole_or(d, "v_dim", "dim");
    const bool quantised = d.is("y", "act_i8");
    std::vector<operand> operands{r.in("x", {batch, heads, dim}), r.in("kv", {batch, capacity, kv_heads, dim}),
                                  r.in("kv", {batch, capacity, kv_heads, v_dim}),
                                  quantised ? r.out("y", {batch, heads * v_dim}) : r.out("y", {batch, heads, v_dim})};
    if (d.flag("given")) operands.push_back(lengths_of(d));
    return r.finish(operands, d.dtype("y"), [scale = d.number("scale")](const std::vector<reflex_tensor> &t) {
        reflex::attention_decode_params p;
        p.scale = scale;
        p.q = t[0];
        p.k = t[1];
        p.v = t[2];
        p.y = t[3];
        if (t.size() > 4) p.kv_lengths = t[4];
        return make_call<reflex_attention_decode_params>(
            p, REFLEX_BENCH_OP(attention_decode, reflex_attention_decode_workspace_size));
    });
}

}  // namespace

problem problem_of(const descriptor &what) {
    const std::pair<const char *, problem (*)(const descriptor &)> ops[] = {{"norm", norm},
                                                                            {"add", add},
                                                                            {"activation", activation},
                                                                            {"quantize", quantize},
                                                                            {"argmax", argmax},
                                                                            {"embedding", embedding},
                                                                            {"attention", attention},
                                                                            {"attention_decode", attention_decode}};
    for (const auto &[op, make] : ops) {
        if (what.op() == op) return make(what);
    }
    throw not_set_up("reflex-bench sets up no problem of " + what.op());
}

reflex_tensor placed(const operand &what, void *data) {
    const int64_t unit = reflex_dtype_block_bytes(what.dtype);
    const int64_t row = what.shape.back() / reflex_dtype_block_elements(what.dtype) + what.gap;
    reflex_tensor t{};
    t.data = static_cast<uint8_t *>(data) + what.offset * unit;
    t.dtype = what.dtype;
    t.rank = static_cast<uint32_t>(what.shape.size());
    int64_t step = unit;
    for (size_t i = what.shape.size(); i-- > 0;) {
        t.shape[i] = what.shape[i];
        t.stride[i] = step;
        step *= std::max<int64_t>(i + 1 == what.shape.size() ? row : what.shape[i], 1);
    }
    return t;
}

size_t placed_bytes(const operand &what) {
    int64_t units = what.shape.back() / reflex_dtype_block_elements(what.dtype) + what.gap;
    for (size_t i = 0; i + 1 < what.shape.size(); ++i) units *= what.shape[i];
    return static_cast<size_t>((units + what.offset + 1) * reflex_dtype_block_bytes(what.dtype));
}

}  // namespace bench
