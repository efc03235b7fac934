// Problems of matrix products, and of the op that prepares their weights.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "problem_reader.h"

namespace bench {
namespace {

// One weight and its epilogue.
struct product_spec {
    reflex_dtype weight;
    int64_t n;
    bool packed;
    reflex_dtype y = REFLEX_DTYPE_F32, bias = REFLEX_DTYPE_NONE, residual = REFLEX_DTYPE_NONE;
    // The residual is y itself.
    bool in_place = false;
};

std::vector<std::string> split(const std::string &text, char by) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, by);) out.push_back(part);
    return out;
}

// "q5_k:47:y.f16:bias.f32": a further product; `same` is the format of the first.
product_spec further_product(const descriptor &d, const std::string &text, const product_spec &first) {
    const auto fail = [&]() -> case_error {
        return case_error(d.text() + ": others=" + text +
                          ": expected a format, a number and what is not as in the first");
    };
    const std::vector<std::string> words = split(text, ':');
    if (words.size() < 2) throw fail();
    const auto type = [&](const std::string &name) {
        const reflex_dtype found = dtype_in_lists(name);
        if (found == REFLEX_DTYPE_NONE) throw fail();
        return found;
    };
    char *end = nullptr;
    const int64_t n = std::strtoll(words[1].c_str(), &end, 10);
    if (words[1].empty() || *end != '\0') throw fail();
    product_spec out{words[0] == "same" ? first.weight : type(words[0]), n, first.packed};
    for (size_t i = 2; i < words.size(); ++i) {
        const size_t dot = std::min(words[i].find('.'), words[i].size());
        const std::string what = words[i].substr(0, dot), value = words[i].substr(std::min(dot + 1, words[i].size()));
        if (what == "packed" || what == "native") out.packed = what == "packed";
        else if (what == "in_place") out.in_place = true;
        else if (what == "y") out.y = type(value);
        else if (what == "bias") out.bias = type(value);
        else if (what == "residual") out.residual = type(value);
        else throw fail();
    }
    return out;
}

std::vector<product_spec> products_of(const descriptor &d) {
    const auto optional = [&](const char *key) { return d.is(key, "none") ? REFLEX_DTYPE_NONE : d.dtype(key); };
    std::vector<product_spec> out{{d.dtype("weight"), d.whole("n"), d.flag("packed"), d.dtype("y"), optional("bias"),
                                   optional("residual"), d.flag("in_place")}};
    if (d.is("others", "none")) return out;
    for (const std::string &text : split(d.get("others"), '/')) out.push_back(further_product(d, text, out.front()));
    return out;
}

struct product_places {
    size_t weight;
    operand_place bias, residual, y;
};

// What errors are measured by, as tests/support/cases/matmul.rs has it.
void set_sizes(problem &p, const std::vector<product_spec> &products, int64_t k, bool gated, bool norm, bool y_norm) {
    const double size = std::sqrt(static_cast<double>(k) + 1);
    const auto has_y = [&](reflex_dtype dtype) {
        return std::any_of(products.begin(), products.end(), [&](const product_spec &each) { return each.y == dtype; });
    };
    p.rounded_to = has_y(REFLEX_DTYPE_BF16)  ? REFLEX_DTYPE_BF16
                   : has_y(REFLEX_DTYPE_F16) ? REFLEX_DTYPE_F16
                                             : REFLEX_DTYPE_F32;
    p.sums = size;
    // A norm whose sum is rounded otherwise may move an element of x by a step, 1/127 of its block's largest: a few may.
    if (norm) p.beside_int8 = 0.15;
    // A gated pair multiplies two sums, of which both may be far out.
    if (gated) p.scale *= 3 * size;
    if (y_norm) {
        // Sums of 32 squares of numbers of up to five times their deviation, which is that of the sum of k products; a square is off by
        // twice what its root is, and a little more.
        p.scale *= 320 * size;
        p.relative = 3;
    }
    const bool packed =
        std::any_of(products.begin(), products.end(), [](const product_spec &each) { return each.packed; });
    p.variant = std::string(packed ? "packed" : "native") + (gated ? "+gated" : "");
}

}  // namespace

problem matmul_problem(const descriptor &d) {
    problem_reader r(d,
                     {"weight",   "rows",     "n",      "k",     "packed",     "x",         "y",        "bias",
                      "residual", "in_place", "others", "int8",  "constant",   "invariant", "gate",     "norm",
                      "squares",  "y_norm",   "x_gap",  "y_gap", "weight_gap", "x_offset",  "y_offset", "weight_offset",
                      "kernel",   "since"});
    const std::vector<product_spec> products = products_of(d);
    const int64_t rows = r.whole("rows"), k = d.elements("k", products.front().weight), n = products.front().n;
    const bool gated = r.given("gate"), norm = r.given("norm"), squares = d.flag("squares"), y_norm = r.given("y_norm");
    uint32_t flags = gated ? REFLEX_MATMUL_GATED : 0;
    if (d.flag("int8")) flags |= REFLEX_MATMUL_INT8;
    if (d.flag("constant")) flags |= REFLEX_MATMUL_CONSTANT_WEIGHTS;
    if (d.flag("invariant")) flags |= REFLEX_MATMUL_BATCH_INVARIANT;
    const reflex_activation_kind activation = gated ? activation_named(d, "gate") : 0;

    operand x = r.strided(input(d.dtype("x"), {rows, k}), r.whole("x_gap"), r.whole("x_offset"));
    if (x.dtype == REFLEX_DTYPE_ACT_I8) x.gap += r.whole("x_gap");
    r.add("x", x);
    const auto y_operand = [&](reflex_dtype dtype, int64_t width) {
        return r.strided(output(dtype, {rows, width}), r.whole("y_gap"), r.whole("y_offset"));
    };
    operand_place x_norm, x_squares, y_weight, y_normed, y_squares;
    if (norm) x_norm = r.add("norm", input(d.dtype("norm"), {k}));
    if (squares) {
        operand o = input(REFLEX_DTYPE_F32, {rows, k / 32});
        o.gap = r.whole("x_gap");
        o.least = 16;
        o.most = 40;
        x_squares = r.add("x_squares", o);
    }
    if (y_norm) {
        y_weight = r.add("y_norm", input(d.dtype("y_norm"), {n}));
        y_normed = r.add("y_normed", r.strided(output(REFLEX_DTYPE_ACT_I8, {rows, n}), 0, 0));
        operand o = output(REFLEX_DTYPE_F32, {rows, n / 32});
        o.gap = r.whole("y_gap");
        y_squares = r.add("y_squares", o);
    }
    std::vector<product_places> places;
    for (const product_spec &each : products) {
        operand weight = input(in_layout(each.weight, each.packed), {each.n, k});
        if (!each.packed) weight = r.strided(weight, r.whole("weight_gap"), r.whole("weight_offset"));
        const auto field = [&](const char *name) { return name + std::to_string(places.size()); };
        product_places p{r.add(field("weight"), weight), {}, {}, {}};
        if (each.bias != REFLEX_DTYPE_NONE) p.bias = r.add(field("bias"), input(each.bias, {each.n}));
        // Every product has a y, but a gated pair has one.
        if (places.empty() || !gated) {
            const auto read = [&](reflex_dtype dtype) {
                operand o = y_operand(dtype, each.n);
                o.holds = content::values;
                return o;
            };
            if (each.in_place) {
                p.y = p.residual = r.add(field("y"), in_place(read(each.y)));
            } else {
                if (each.residual != REFLEX_DTYPE_NONE) p.residual = r.add(field("residual"), read(each.residual));
                p.y = r.add(field("y"), y_operand(each.y, each.n));
            }
        }
        places.push_back(p);
    }
    problem out = r.finish(REFLEX_DTYPE_F32, [=](const std::vector<reflex_tensor> &t) {
        reflex::matmul_params p;
        p.flags = flags;
        p.activation = activation;
        p.x = t[0];
        p.norm = at(t, x_norm);
        p.x_squares = at(t, x_squares);
        if (norm) p.norm_epsilon = 1e-5f;
        if (squares) p.norm_epsilon = 1e-3f;
        p.y_norm = at(t, y_weight);
        p.y_normed = at(t, y_normed);
        p.y_squares = at(t, y_squares);
        std::vector<reflex_matmul_product> made;
        for (const product_places &place : places) {
            reflex::matmul_product product;
            product.weight = reflex::weight(t[place.weight]);
            product.bias = at(t, place.bias);
            product.residual = at(t, place.residual);
            product.y = at(t, place.y);
            made.push_back(product);
        }
        return std::make_unique<matmul_call>(p, std::move(made), REFLEX_BENCH_OP(matmul, reflex_matmul_workspace_size));
    });
    out.call.dtype = reflex_dtype_name(in_layout(products.front().weight, products.front().packed));
    set_sizes(out, products, k, gated, norm, y_norm);
    return out;
}

problem weights_pack_problem(const descriptor &d) {
    problem_reader r(d, {"dtype", "direction", "n", "k", "gap", "offset", "in_place"});
    const reflex_dtype native = d.dtype("dtype"), packed = in_layout(native, true);
    const bool unpack = r.one_of("direction", {"pack", "unpack"}) == "unpack", over = d.flag("in_place");
    const std::vector<int64_t> shape{r.whole("n"), d.elements("k", native)};
    operand source = unpack ? input(packed, shape) : r.strided(input(native, shape));
    operand destination = unpack ? r.strided(output(native, shape)) : output(packed, shape);
    const size_t from = r.add("source", over ? in_place(source) : source);
    if (!over) r.add("destination", destination);
    problem p = r.finish(native, [=](const std::vector<reflex_tensor> &t) {
        reflex_tensor result = t.back();
        result.dtype = unpack ? native : packed;
        return make_conversion(t[from], result, unpack);
    });
    if (unpack) p.call.op = "weights_unpack";
    return p;
}

}  // namespace bench
