// Rows, token ids and rotations; attention_problems.cpp and matmul_problems.cpp have the rest.
#include "problems.h"

#include <algorithm>

#include "problem_reader.h"

namespace bench {

problem_reader::problem_reader(const descriptor &d, std::initializer_list<const char *> keys) : d_(d) {
    for (const std::string &key : d.changed()) {
        if (std::find(keys.begin(), keys.end(), key) == keys.end())
            throw not_set_up("reflex-bench sets up no " + d.op() + " with " + key + "=" + d.get(key));
    }
}

std::string problem_reader::one_of(const char *key, std::initializer_list<const char *> values) const {
    if (std::find(values.begin(), values.end(), d_.get(key)) == values.end())
        throw not_set_up("reflex-bench sets up no " + d_.op() + " with " + key + "=" + d_.get(key));
    return d_.get(key);
}

std::vector<int32_t> problem_reader::integers_of(const char *key) const {
    const std::vector<int64_t> list = d_.list(key);
    return {list.begin(), list.end()};
}

operand problem_reader::strided(operand o, int64_t gap, int64_t offset) const {
    if (o.dtype == REFLEX_DTYPE_ACT_I8) {
        o.gap = o.shape.back() / 32 % 2;
        return o;
    }
    o.gap = gap;
    o.offset = offset;
    return o;
}

problem problem_reader::finish(reflex_dtype rounded_to, decltype(bench_case::make) make) const {
    problem p;
    p.call.op = d_.op();
    // Without the op, which stands before it in a report.
    p.call.name = d_.text().size() > d_.op().size() ? d_.text().substr(d_.op().size() + 1) : "defaults";
    p.call.operands = operands_;
    p.call.dtype = reflex_dtype_name(operands_.front().dtype);
    p.call.make = std::move(make);
    p.rounded_to = rounded_to;
    return p;
}

reflex_activation_kind activation_named(const descriptor &d, const char *key) {
    if (d.is(key, "silu")) return REFLEX_ACTIVATION_SILU;
    if (d.is(key, "gelu_tanh")) return REFLEX_ACTIVATION_GELU_TANH;
    if (d.is(key, "gelu_erf")) return REFLEX_ACTIVATION_GELU_ERF;
    throw case_error(d.text() + ": " + key + "=" + d.get(key) + ": expected silu, gelu_tanh or gelu_erf");
}

reflex_rope_mode rope_mode_of(const descriptor &d) {
    if (d.is("mode", "neox")) return REFLEX_ROPE_NEOX;
    if (d.is("mode", "interleaved")) return REFLEX_ROPE_INTERLEAVED;
    throw case_error(d.text() + ": mode=" + d.get("mode") + ": expected neox or interleaved");
}

namespace {

problem norm(const descriptor &d) {
    problem_reader r(d, {"rows", "dim", "x", "y", "residual", "weight", "gap", "offset", "place"});
    const std::vector<int64_t> shape{r.whole("rows"), r.whole("dim")};
    const std::string over = r.one_of("place", {"none", "x", "residual"});
    const size_t x = r.add("x", r.in("x", shape));
    size_t y = x;
    if (over == "x") r.at(x) = in_place(r.at(x));
    else y = r.add("y", r.out("y", shape));
    operand_place residual, sum, weight;
    if (r.given("residual")) {
        sum = residual = r.add("residual", r.in("residual", shape));
        if (over == "residual") r.at(*residual) = in_place(r.at(*residual));
        else sum = r.add("residual_out", r.out("x", shape));
    }
    if (r.given("weight")) {
        operand o = input(d.dtype("weight"), {shape[1]});
        o.offset = r.whole("offset");
        weight = r.add("weight", o);
    }
    return r.finish(d.dtype("y"), [=](const std::vector<reflex_tensor> &t) {
        reflex::norm_params p;
        p.epsilon = 1e-5f;
        p.x = t[x];
        p.y = t[y];
        p.residual = at(t, residual);
        p.residual_out = at(t, sum);
        p.weight = at(t, weight);
        return make_call<reflex_norm_params>(p, REFLEX_BENCH_OP(norm, nullptr));
    });
}

problem add(const descriptor &d) {
    problem_reader r(d, {"outer", "rows", "n", "a", "b", "y", "scale", "broadcast", "gap", "offset", "place"});
    std::vector<int64_t> shape{r.whole("rows"), r.whole("n")};
    if (r.whole("outer") != 1) shape.insert(shape.begin(), r.whole("outer"));
    const std::string over = r.one_of("place", {"none", "a", "b"});
    const size_t a = r.add("a", r.in("a", shape));
    const size_t b = r.add("b", r.in("b", d.flag("broadcast") ? std::vector<int64_t>{shape.back()} : shape));
    size_t y = over == "a" ? a : b;
    if (over == "none") y = r.add("y", r.out("y", shape));
    else r.at(y) = in_place(r.at(y));
    return r.finish(d.dtype("y"), [=, scale = d.number("scale")](const std::vector<reflex_tensor> &t) {
        reflex::add_params p;
        p.scale = scale;
        p.a = t[a];
        p.b = t[b];
        p.y = t[y];
        return make_call<reflex_add_params>(p, REFLEX_BENCH_OP(add, nullptr));
    });
}

problem activation(const descriptor &d) {
    problem_reader r(d, {"kind", "rows", "n", "gate", "up", "y", "gap", "offset"});
    const std::vector<int64_t> shape{r.whole("rows"), r.whole("n")};
    const size_t gate = r.add("gate", r.in("gate", shape)), y = r.add("y", r.out("y", shape));
    operand_place up;
    if (r.given("up")) up = r.add("up", r.in("up", shape));
    return r.finish(d.dtype("y"), [=, kind = activation_named(d, "kind")](const std::vector<reflex_tensor> &t) {
        reflex::activation_params p;
        p.kind = kind;
        p.gate = t[gate];
        p.y = t[y];
        p.up = at(t, up);
        return make_call<reflex_activation_params>(p, REFLEX_BENCH_OP(activation, nullptr));
    });
}

problem softcap(const descriptor &d) {
    problem_reader r(d, {"rows", "n", "cap", "x", "y", "gap", "offset", "values", "place"});
    const std::vector<int64_t> shape{r.whole("rows"), r.whole("n")};
    operand contents = r.in("x", shape);
    if (r.one_of("values", {"normal", "wide"}) == "wide") {
        contents.least = -200;
        contents.most = 200;
    }
    const bool over = r.one_of("place", {"none", "x"}) == "x";
    const size_t x = r.add("x", over ? in_place(contents) : contents);
    const size_t y = over ? x : r.add("y", r.out("y", shape));
    return r.finish(d.dtype("y"), [=, cap = d.number("cap")](const std::vector<reflex_tensor> &t) {
        reflex::softcap_params p;
        p.cap = cap;
        p.x = t[x];
        p.y = t[y];
        return make_call<reflex_softcap_params>(p, REFLEX_BENCH_OP(softcap, nullptr));
    });
}

problem softmax(const descriptor &d) {
    problem_reader r(d,
                     {"shape", "scale", "log", "causal", "mask", "over", "x", "y", "gap", "offset", "values", "place"});
    const std::vector<int64_t> shape = d.list("shape");
    operand contents = r.in("x", shape);
    if (r.one_of("values", {"normal", "wide"}) == "wide") {
        contents.least = -200;
        contents.most = 200;
    }
    const bool over = r.one_of("place", {"none", "x"}) == "x", log = d.flag("log");
    const size_t x = r.add("x", over ? in_place(contents) : contents);
    operand_place mask;
    if (r.given("mask")) {
        std::vector<int64_t> wanted = shape;
        if (d.is("over", "row")) wanted.erase(wanted.begin(), wanted.end() - 1);
        if (d.is("over", "rows")) wanted.erase(wanted.begin(), wanted.end() - 2);
        if (d.is("over", "ones")) std::fill(wanted.begin() + 1, wanted.end() - 1, 1);
        mask = r.add("mask", r.in("mask", wanted));
    }
    const size_t y = over ? x : r.add("y", r.out("y", shape));
    const uint32_t flags = (log ? REFLEX_SOFTMAX_LOG : 0) | (d.flag("causal") ? REFLEX_SOFTMAX_CAUSAL : 0);
    problem p = r.finish(d.dtype("y"), [=, scale = d.number("scale")](const std::vector<reflex_tensor> &t) {
        reflex::softmax_params params;
        params.flags = flags;
        params.scale = scale;
        params.x = t[x];
        params.mask = at(t, mask);
        params.y = t[y];
        return make_call<reflex_softmax_params>(params, REFLEX_BENCH_OP(softmax, nullptr));
    });
    if (log) p.variant = "log";
    // Small numbers of F16 are multiples of this.
    if (p.rounded_to == REFLEX_DTYPE_F16) p.at_least = 0x1p-24;
    return p;
}

problem quantize(const descriptor &d) {
    problem_reader r(d, {"shape", "x", "gap", "offset", "kernel"});
    const std::vector<int64_t> shape = d.list("shape");
    r.add("x", r.in("x", shape));
    r.add("y", r.strided(output(REFLEX_DTYPE_ACT_I8, shape)));
    return r.finish(REFLEX_DTYPE_ACT_I8, [](const std::vector<reflex_tensor> &t) {
        reflex::quantize_params p;
        p.x = t[0];
        p.y = t[1];
        return make_call<reflex_quantize_params>(p, REFLEX_BENCH_OP(quantize, nullptr));
    });
}

problem argmax(const descriptor &d) {
    problem_reader r(d, {"rows", "n", "x", "counters", "gap", "offset", "workspace"});
    const int64_t rows = r.whole("rows");
    r.add("x", r.in("x", {rows, r.whole("n")}));
    r.add("ids", output(REFLEX_DTYPE_I32, {rows}));
    operand_place counters;
    if (r.given("counters")) counters = r.add("counters", in_place(integers(r.integers_of("counters"))));
    return r.finish(REFLEX_DTYPE_I32, [counters](const std::vector<reflex_tensor> &t) {
        reflex::argmax_params p;
        p.x = t[0];
        p.ids = t[1];
        p.counters = at(t, counters);
        return make_call<reflex_argmax_params>(p, REFLEX_BENCH_OP(argmax, reflex_argmax_workspace_size));
    });
}

problem sample(const descriptor &d) {
    problem_reader r(d, {"rows", "n", "logits", "temperature", "top_k", "top_p", "min_p", "counters", "gap", "offset"});
    const int64_t rows = r.whole("rows"), n = r.whole("n");
    operand logits = r.in("logits", {rows, n});
    logits.least = -6;
    logits.most = 6;
    r.add("logits", logits);
    r.add("ids", output(REFLEX_DTYPE_I32, {rows}));
    // In a decode step the counters stand in place of the steps.
    const bool together = d.is("counters", "steps");
    operand_place counters;
    if (together) {
        std::vector<int32_t> steps;
        for (int32_t row = 0; row < rows; ++row) steps.push_back(100 - 7 * row);
        counters = r.add("counters", in_place(integers(steps)));
    } else if (r.given("counters")) {
        counters = r.add("counters", in_place(integers(r.integers_of("counters"))));
    }
    reflex::sample_params settings;
    settings.temperature = d.number("temperature");
    settings.top_k = static_cast<uint32_t>(r.whole("top_k"));
    settings.top_p = d.number("top_p");
    settings.min_p = d.number("min_p");
    settings.seed = 0x9E3779B97F4A7C15u ^ static_cast<uint64_t>(rows * n);
    return r.finish(REFLEX_DTYPE_I32, [=](const std::vector<reflex_tensor> &t) {
        reflex::sample_params p = settings;
        p.logits = t[0];
        p.ids = t[1];
        p.counters = at(t, counters);
        if (together) p.steps = p.counters;
        return make_call<reflex_sample_params>(p, REFLEX_BENCH_OP(sample, reflex_sample_workspace_size));
    });
}

problem embedding(const descriptor &d) {
    problem_reader r(d,
                     {"table", "packed", "vocab", "dim", "ids", "repeat", "y", "scale", "gap", "y_offset", "kernel"});
    const reflex_dtype table = d.dtype("table");
    const bool blocks = reflex_dtype_block_elements(table) > 1, packed = d.flag("packed");
    const int64_t vocab = r.whole("vocab"), dim = blocks ? d.elements("dim", table) : r.whole("dim");
    std::vector<int32_t> ids;
    if (d.is("ids", "all")) {
        for (int64_t id = vocab; id >= -1; --id) ids.push_back(static_cast<int32_t>(id));
    } else {
        for (int64_t i = 0; i < r.whole("repeat"); ++i) {
            for (const int32_t id : r.integers_of("ids")) ids.push_back(id);
        }
    }
    r.add("table", r.strided(input(in_layout(table, packed), {vocab, dim}), packed ? 0 : r.whole("gap"), 0));
    r.add("ids", integers(ids));
    r.add("y", r.strided(output(d.dtype("y"), {static_cast<int64_t>(ids.size()), dim}), r.whole("gap"),
                         r.whole("y_offset")));
    return r.finish(d.dtype("y"), [scale = d.number("scale")](const std::vector<reflex_tensor> &t) {
        reflex::embedding_params p;
        p.scale = scale;
        p.table = t[0];
        p.ids = t[1];
        p.y = t[2];
        return make_call<reflex_embedding_params>(p, REFLEX_BENCH_OP(embedding, nullptr));
    });
}

}  // namespace

problem rope_problem(const descriptor &d) {
    problem_reader r(d, {"mode", "tokens", "q_heads", "kv_heads", "dim", "v_dim", "x", "cache", "rotary", "position",
                         "scaled", "q_norm", "k_norm", "gap", "offset", "kernel"});
    const int64_t tokens = r.whole("tokens"), q_heads = r.whole("q_heads"), kv_heads = r.whole("kv_heads");
    const int64_t dim = r.whole("dim"), v_dim = r.whole_or("v_dim", "dim"), rotary = r.whole("rotary");
    const int64_t slots = 2 * tokens + 3;
    const bool scaled = d.flag("scaled"), normed = r.given("q_norm") || r.given("k_norm");
    std::vector<int32_t> positions, places;
    for (int32_t t = 0; t < tokens; ++t) {
        positions.push_back(static_cast<int32_t>(r.whole("position")) + t);
        // Each token has one for itself, or one that the cache has not.
        places.push_back(t % 5 == 3 ? -1 - t : static_cast<int32_t>(slots) - 2 - 2 * t);
    }
    const size_t q = r.add("q", in_place(r.in("x", {tokens, q_heads, dim}))),
                 k = r.add("k", r.in("x", {tokens, kv_heads, dim}));
    const size_t v = r.add("v", r.in("x", {tokens, kv_heads, v_dim}));
    const size_t at_position = r.add("positions", integers(positions)), at_slot = r.add("slots", integers(places));
    const auto cache = [&](const char *name, int64_t width) {
        operand o = r.in("cache", {1, slots, kv_heads, width});
        o.written = true;
        o.moved = static_cast<double>(tensor_bytes(o.dtype, {tokens, kv_heads, width}));
        return r.add(name, o);
    };
    const size_t cache_k = cache("cache.k", dim), cache_v = cache("cache.v", v_dim);
    operand_place factors, k_out, q_norm, k_norm;
    if (scaled) {
        operand o = input(REFLEX_DTYPE_F32, {(rotary == 0 ? dim : rotary) / 2});
        o.least = 1;
        o.most = 8;
        factors = r.add("freq_factors", o);
        k_out = r.add("k_out", r.strided(output(REFLEX_DTYPE_F32, {tokens, kv_heads, dim})));
    }
    const auto weights = [&](const char *key) {
        operand o = input(d.dtype(key), {dim});
        o.offset = r.whole("offset");
        return r.add(key, o);
    };
    if (r.given("q_norm")) q_norm = weights("q_norm");
    if (r.given("k_norm")) k_norm = weights("k_norm");
    const reflex_dtype x = d.dtype("x"), cached = d.dtype("cache");
    problem p =
        r.finish(x == REFLEX_DTYPE_F32 ? cached : x, [=, mode = rope_mode_of(d)](const std::vector<reflex_tensor> &t) {
            reflex::rope_params params;
            params.mode = mode;
            params.rotary_dim = static_cast<uint32_t>(rotary);
            params.q = t[q];
            params.k = t[k];
            params.v = t[v];
            params.positions = t[at_position];
            params.slots = t[at_slot];
            reflex::kv_cache keys_and_values;
            keys_and_values.k = t[cache_k];
            keys_and_values.v = t[cache_v];
            params.q_norm = at(t, q_norm);
            params.k_norm = at(t, k_norm);
            if (scaled) {
                params.freq_factors = at(t, factors);
                params.k_out = at(t, k_out);
                params.theta_base = 5e5f;
                params.freq_scale = 0.25f;
                params.magnitude = 1.1f;
            }
            return make_call<reflex_rope_params>(params, keys_and_values, REFLEX_BENCH_OP(rope, nullptr));
        });
    // Products of two normal numbers.
    if (normed) p.sums = 5;
    return p;
}

problem problem_of(const descriptor &what) {
    const std::pair<const char *, problem (*)(const descriptor &)> ops[] = {
        {"activation", activation},
        {"add", add},
        {"argmax", argmax},
        {"attention", attention_problem},
        {"attention_decode", attention_decode_problem},
        {"attention_merge", attention_merge_problem},
        {"embedding", embedding},
        {"matmul", matmul_problem},
        {"norm", norm},
        {"quantize", quantize},
        {"rope", rope_problem},
        {"sample", sample},
        {"softcap", softcap},
        {"softmax", softmax},
        {"weights_pack", weights_pack_problem}};
    for (const auto &[op, make] : ops) {
        if (what.op() == op) return make(what);
    }
    throw not_set_up("reflex-bench sets up no problem of " + what.op());
}

}  // namespace bench
