// Problems of the ops of attention.
#include <cstdlib>

#include "problem_reader.h"

namespace bench {

problem attention_problem(const descriptor &d) {
    problem_reader r(d, {"kv", "batch", "tokens", "heads", "kv_heads", "capacity", "dim", "v_dim", "q", "y", "mask",
                         "scale", "lengths", "gap", "offset", "in_place", "kernel", "since"});
    const int64_t batch = r.whole("batch"), tokens = r.whole("tokens"), capacity = r.whole("capacity");
    const int64_t heads = r.whole("heads"), kv_heads = r.whole("kv_heads");
    const int64_t dim = r.whole("dim"), v_dim = r.whole_or("v_dim", "dim");
    const size_t q = r.add("q", r.in("q", {batch, tokens, heads, dim}));
    const size_t k = r.add("cache.k", r.in("kv", {batch, capacity, kv_heads, dim}));
    const size_t v = r.add("cache.v", r.in("kv", {batch, capacity, kv_heads, v_dim}));
    size_t y = q;
    if (d.flag("in_place")) r.at(q) = in_place(r.at(q));
    else y = r.add("y", r.out("y", {batch, tokens, heads, v_dim}));
    operand_place lengths;
    if (r.given("lengths")) lengths = r.add("cache.lengths", integers(r.integers_of("lengths")));
    const reflex_attention_mask mask = d.is("mask", "full") ? REFLEX_ATTENTION_FULL : REFLEX_ATTENTION_CAUSAL;
    return r.finish(d.dtype("y"), [=, scale = d.number("scale")](const std::vector<reflex_tensor> &t) {
        reflex::attention_params p;
        p.mask = mask;
        p.scale = scale;
        p.q = t[q];
        p.y = t[y];
        reflex::kv_cache cache;
        cache.k = t[k];
        cache.v = t[v];
        cache.lengths = at(t, lengths);
        return make_call<reflex_attention_params>(p, cache, REFLEX_BENCH_OP(attention, nullptr));
    });
}

problem attention_decode_problem(const descriptor &d) {
    problem_reader r(d, {"kv",      "heads",    "kv_heads", "capacity", "dim",      "v_dim",  "lengths", "given",
                         "x",       "y",        "scale",    "rotated",  "append",   "norms",  "mode",    "rotary",
                         "factors", "position", "gap",      "offset",   "in_place", "kernel", "since"});
    const std::vector<int32_t> sequences = r.integers_of("lengths");
    const int64_t batch = static_cast<int64_t>(sequences.size()), capacity = r.whole("capacity");
    const int64_t heads = r.whole("heads"), kv_heads = r.whole("kv_heads");
    const int64_t dim = r.whole("dim"), v_dim = r.whole_or("v_dim", "dim"), rotary = r.whole("rotary");
    const int64_t position = r.whole("position");
    const bool append = d.flag("append"), rotated = d.flag("rotated"), scaled = d.flag("factors");
    const bool quantised = d.is("y", "act_i8");
    const size_t q = r.add("q", r.in("x", {batch, heads, dim}));
    const auto cache = [&](const char *name, int64_t width) {
        operand o = r.in("kv", {batch, capacity, kv_heads, width});
        o.written = append;
        return r.add(name, o);
    };
    const size_t k = cache("cache.k", dim), v = cache("cache.v", v_dim);
    size_t y = q;
    if (d.flag("in_place")) r.at(q) = in_place(r.at(q));
    else y = r.add("y", quantised ? r.out("y", {batch, heads * v_dim}) : r.out("y", {batch, heads, v_dim}));
    operand_place lengths, k_new, v_new, positions, factors, q_norm, k_norm;
    if (d.flag("given")) lengths = r.add("cache.lengths", integers(sequences));
    if (append) {
        k_new = r.add("k_new", r.in("x", {batch, kv_heads, dim}));
        v_new = r.add("v_new", r.in("x", {batch, kv_heads, v_dim}));
    }
    const auto weights = [&](const char *name) {
        operand o = input(d.dtype("norms"), {dim});
        o.least = 0.5f;
        o.most = 1.5f;
        o.offset = r.whole("offset");
        return r.add(name, o);
    };
    if (r.given("norms")) q_norm = weights("q_norm");
    if (r.given("norms") && append) k_norm = weights("k_norm");
    if (rotated) {
        // Any positions: they need not be those of the rows.
        std::vector<int32_t> values;
        for (int64_t i = 0; i < batch; ++i) values.push_back(static_cast<int32_t>(position + 5000 * i));
        positions = r.add("positions", integers(values));
    }
    if (scaled) {
        operand o = input(REFLEX_DTYPE_F32, {(rotary == 0 ? dim : rotary) / 2});
        o.least = 1;
        o.most = 8;
        factors = r.add("freq_factors", o);
    }
    const auto make = [=, scale = d.number("scale"), mode = rope_mode_of(d)](const std::vector<reflex_tensor> &t) {
        reflex::attention_decode_params p;
        p.scale = scale;
        p.mode = mode;
        p.rotary_dim = static_cast<uint32_t>(rotary);
        p.q = t[q];
        p.y = t[y];
        reflex::kv_cache keys_and_values;
        keys_and_values.k = t[k];
        keys_and_values.v = t[v];
        keys_and_values.lengths = at(t, lengths);
        p.k_new = at(t, k_new);
        p.v_new = at(t, v_new);
        p.positions = at(t, positions);
        p.q_norm = at(t, q_norm);
        p.k_norm = at(t, k_norm);
        if (scaled) {
            p.freq_factors = at(t, factors);
            p.theta_base = 5e5f;
            p.freq_scale = 0.25f;
            p.magnitude = 1.1f;
            p.norm_epsilon = 1e-5f;
        }
        return make_call<reflex_attention_decode_params>(
            p, keys_and_values, REFLEX_BENCH_OP(attention_decode, reflex_attention_decode_workspace_size));
    };
    problem p = r.finish(d.dtype("y"), make);
    if (!rotated && !append && !r.given("norms")) return p;
    // An element of a step's k between two of the cache's numbers may fall to either: a row of the cache is off by what tensor cores
    // round all of them to.
    const reflex_dtype kv = d.dtype("kv");
    p.at_least = kv == REFLEX_DTYPE_BF16 ? 1.6e-2 : kv == REFLEX_DTYPE_F16 ? 2e-3 : 1e-5;
    // Angles near 2^31 are good to 2^-19, of pairs with |u| + |v| up to 10, on either side.
    if (std::llabs(position) > 1 << 24) p.at_least += 5e-5;
    if (kv != REFLEX_DTYPE_F32 && p.rounded_to != REFLEX_DTYPE_BF16) p.rounded_to = kv;
    return p;
}

problem attention_merge_problem(const descriptor &d) {
    problem_reader r(d, {"shape", "a", "b", "y", "y_lse", "gap", "offset", "place"});
    const std::vector<int64_t> shape = d.list("shape"), rows(shape.begin(), shape.end() - 1);
    const std::string over = r.one_of("place", {"none", "a", "b"});
    const bool wanted = d.flag("y_lse");
    const auto part = [&](const char *key, const char *lse) {
        operand logarithms = input(REFLEX_DTYPE_F32, rows);
        logarithms.least = -3;
        logarithms.most = 3;
        const bool is_over = over == key;
        const operand elements = r.in(key, shape);
        const size_t at = r.add(key, is_over ? in_place(elements) : elements);
        r.add(lse, is_over && wanted ? in_place(logarithms) : logarithms);
        return at;
    };
    const size_t a = part("a", "a_lse"), b = part("b", "b_lse");
    size_t y = over == "a" ? a : b;
    operand_place y_lse;
    if (over == "none") y = r.add("y", r.out("y", shape));
    if (wanted) y_lse = over == "none" ? r.add("y_lse", output(REFLEX_DTYPE_F32, rows)) : y + 1;
    return r.finish(d.dtype("y"), [=](const std::vector<reflex_tensor> &t) {
        reflex::attention_merge_params p;
        p.a = t[a];
        p.a_lse = t[a + 1];
        p.b = t[b];
        p.b_lse = t[b + 1];
        p.y = t[y];
        p.y_lse = at(t, y_lse);
        return make_call<reflex_attention_merge_params>(p, REFLEX_BENCH_OP(attention_merge, nullptr));
    });
}

}  // namespace bench
