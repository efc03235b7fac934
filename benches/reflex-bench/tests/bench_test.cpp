// What can be tested without a GPU: statistics, options, byte counts, plans of replays, JSON, comparison.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <set>
#include <sstream>

#include "cases.h"
#include "half.h"
#include "json.h"
#include "launch_calls.h"
#include "measure.h"
#include "model_shapes.h"
#include "options.h"
#include "patterns.h"
#include "result.h"
#include "statistics.h"
#include "tune.h"

namespace {

int failures = 0;

void check(bool right, const char *what, int line) {
    if (right) return;
    std::fprintf(stderr, "bench_test.cpp:%d: not so: %s\n", line, what);
    ++failures;
}
#define CHECK(condition) check(condition, #condition, __LINE__)

template <typename Error, typename Body>
std::string message_of(const Body &body) {
    try {
        body();
    } catch (const Error &error) {
        return error.what();
    }
    return "no error";
}

bench::options parse(std::vector<const char *> words) {
    words.insert(words.begin(), "reflex-bench");
    return bench::parse_options(static_cast<int>(words.size()), words.data());
}

std::string usage(const std::vector<const char *> &words) {
    return message_of<bench::usage_error>([&] { parse(words); });
}

bool has(const std::string &text, const char *part) { return text.find(part) != std::string::npos; }

void test_statistics() {
    const bench::summary s = bench::summarise({5, 1, 4, 2, 3});
    CHECK(s.median == 3 && s.min == 1 && s.max == 5 && s.samples == 5);
    CHECK(std::fabs(s.p10 - 1.4) < 1e-12 && std::fabs(s.p90 - 4.6) < 1e-12);
    CHECK(bench::summarise({2, 1}).median == 1.5);
    CHECK(bench::summarise({7}).p10 == 7 && bench::summarise({7}).p90 == 7);
    CHECK(bench::summarise({}).samples == 0 && bench::summarise({}).median == 0);
}

void test_options() {
    const bench::options plain = parse({"ops"});
    CHECK(plain.what == bench::command::ops && plain.cold && plain.sm_count == 0 && !plain.cpu);
    CHECK(plain.models == std::vector<std::string>{"qwen3-4b"});
    const bench::options o =
        parse({"ops", "--op", "matmul,norm", "--shapes", "1,14336,4096", "--shapes", "llama3-8b", "--dtype", "q4_k,F16",
               "--rows", "1,8", "--sm-count", "8", "--warm", "--json", "x"});
    CHECK((o.ops == std::vector<std::string>{"matmul", "norm"}) && o.shapes.size() == 1 && o.shapes[0].n == 14336);
    CHECK(o.models == std::vector<std::string>{"llama3-8b"} && o.sm_count == 8 && !o.cold && o.json == "x");
    CHECK((o.dtypes == std::vector<reflex_dtype>{REFLEX_DTYPE_Q4_K, REFLEX_DTYPE_F16}));
    CHECK((o.rows == std::vector<int64_t>{1, 8}));
    CHECK(plain.packed == std::vector<bool>{false} &&
          plain.computes == std::vector<bench::compute>{bench::compute::exact});
    const bench::options modes =
        parse({"ops", "--shapes", "4096,256", "--layout", "native,packed", "--compute", "int8,exact,int8_quantize"});
    CHECK((modes.packed == std::vector<bool>{false, true}) && modes.shapes[0].rows == 0 && modes.shapes[0].k == 256);
    CHECK((modes.computes ==
           std::vector<bench::compute>{bench::compute::int8, bench::compute::exact, bench::compute::int8_quantize}));
    const bench::options m = parse({"model", "a.gguf", "--llm", "b", "--", "--ctx", "8"});
    CHECK(m.model == "a.gguf" && m.llm == "b" && m.llm_arguments.size() == 2);
    CHECK(parse({"ops", "--help"}).what == bench::command::help && parse({"--help"}).what == bench::command::help);

    CHECK(has(usage({}), "no command"));
    CHECK(has(usage({"speed"}), "no command speed"));
    CHECK(usage({"ops", "--fast"}) == "unknown option --fast");
    CHECK(usage({"ceiling", "--op", "norm"}) == "unknown option --op");
    CHECK(has(usage({"ops", "--json"}), "needs a value"));
    CHECK(has(usage({"ops", "--op", "gemm"}), "attention_decode"));
    CHECK(has(usage({"ops", "--shapes", "gpt-2"}), "qwen3-4b"));
    CHECK(has(usage({"ops", "--shapes", "1"}), "M,N,K") && has(usage({"ops", "--shapes", "1,2,3,4"}), "M,N,K"));
    CHECK(usage({"ops", "--layout", "tiled"}) == "--layout tiled: expected one of native, packed");
    CHECK(usage({"ops", "--compute", "int4"}) == "--compute int4: expected one of exact, int8, int8_quantize");
    CHECK(has(usage({"ops", "--rows", "0"}), "whole number"));
    CHECK(has(usage({"ops", "--rows", "1,x"}), "whole number"));
    CHECK(has(usage({"ops", "--dtype", "I32"}), "Q4_K"));
    CHECK(has(usage({"ops", "--sm-count", "8", "--backend", "cpu"}), "--sm-count"));
    CHECK(has(usage({"ceiling", "--backend", "cpu"}), "GPU"));
    CHECK(has(usage({"model"}), "GGUF"));
    CHECK(has(usage({"ops", "--seconds", "-1"}), "above 0"));
}

void test_bytes() {
    CHECK(bench::tensor_bytes(REFLEX_DTYPE_Q4_K, {14336, 4096}) == size_t{14336} * 16 * 144);
    CHECK(bench::tensor_bytes(REFLEX_DTYPE_Q6_K, {2, 256}) == 420);
    CHECK(bench::tensor_bytes(REFLEX_DTYPE_F16, {3, 5}) == 30);

    bench::options wanted = parse({"ops", "--op", "matmul", "--shapes", "1,14336,4096", "--dtype", "Q4_K"});
    auto cases = bench::list_cases(wanted);
    CHECK(cases.size() == 1);
    CHECK(cases[0].bytes() == 14336.0 * 16 * 144 + 4096 * 4 + 14336 * 4);
    CHECK(cases[0].flops == 2.0 * 14336 * 4096);
    CHECK(cases[0].shape_text() == "m=1 n=14336 k=4096");

    // K and V once for all query heads; q and y.
    wanted = parse({"ops", "--op", "attention_decode", "--context", "4096"});
    cases = bench::list_cases(wanted);
    CHECK(cases.size() == 2 && cases[0].name == "attention" && cases[1].name == "step");
    CHECK(cases[0].bytes() == 2.0 * 4096 * 8 * 128 * 2 + 2.0 * 32 * 128 * 4 + 4);
    // And the new key and value, the position and two norms.
    CHECK(cases[1].bytes() == cases[0].bytes() + 2.0 * 8 * 128 * 4 + 4 + 2.0 * 128 * 4);
    CHECK(cases[0].context == 4096 && cases[0].flops == 4.0 * 32 * 128 * 4096);

    // The causal half alone counts as work.
    wanted = parse({"ops", "--op", "attention", "--rows", "512"});
    CHECK(bench::list_cases(wanted)[0].flops == 4.0 * 32 * 128 * (512.0 * 513 / 2));

    // Rows that are looked up, not the table.
    wanted = parse({"ops", "--op", "embedding", "--dtype", "Q6_K", "--rows", "512"});
    CHECK(bench::list_cases(wanted)[0].bytes() == 512.0 * 10 * 210 + 512 * 4 + 512.0 * 2560 * 4);
}

// An op whose params have a workspace, needed or optional, is measured with one; `make` throws where its size is not asked.
template <typename P>
void check_workspace(bench::launch_call &call) {
    static_assert(bench::takes_workspace<P>::value, "these params have a workspace");
    char scratch = 0;
    call.use_workspace(&scratch, 256);
    const P &params = dynamic_cast<bench::op_call<P> &>(call).params();
    CHECK(params.workspace == &scratch && params.workspace_size == 256);
}

void test_workspaces() {
    static_assert(!bench::takes_workspace<reflex_norm_params>::value, "norm has no workspace");
    for (const bench::bench_case &c : bench::list_cases(parse({"ops", "--shapes", "tiny"}))) {
        const auto call = c.make(std::vector<reflex_tensor>(c.operands.size()));
        if (c.op == "argmax") check_workspace<reflex_argmax_params>(*call);
        if (c.op == "matmul") check_workspace<reflex_matmul_params>(*call);
        if (c.op == "weights_pack") check_workspace<reflex_weights_pack_params>(*call);
        if (c.op == "weights_unpack") check_workspace<reflex_weights_unpack_params>(*call);
        if (c.op == "sample") check_workspace<reflex_sample_params>(*call);
        if (c.op == "attention_decode") check_workspace<reflex_attention_decode_params>(*call);
    }
}

void test_cases() {
    for (const std::string &model : bench::shape_names()) {
        std::set<std::string> ops, keys;
        const bench::options wanted = parse({"ops", "--shapes", model.c_str()});
        for (const bench::bench_case &c : bench::list_cases(wanted)) {
            ops.insert(c.op);
            CHECK(c.bytes() > 0 && !c.operands.empty() && c.make);
            bench::result r;
            r.op = c.op;
            r.name = c.name;
            r.shape = c.shape;
            r.dtype = c.dtype;
            CHECK(keys.insert(r.key()).second);
        }
        CHECK(ops == std::set<std::string>(bench::op_names().begin(), bench::op_names().end()));
    }
    // A type whose blocks do not fit is left out, but not when it was asked for.
    CHECK(bench::list_cases(parse({"ops", "--op", "matmul", "--shapes", "1,8,32"})).size() == 5);
    CHECK(has(message_of<bench::usage_error>(
                  [] { bench::list_cases(parse({"ops", "--op", "matmul", "--shapes", "1,8,32", "--dtype", "Q4_K"})); }),
              "no multiple of the 256"));
}

std::vector<bench::bench_case> matmuls(std::vector<const char *> words) {
    words.insert(words.begin(), {"ops", "--op", "matmul"});
    return bench::list_cases(parse(words));
}

void test_matmul_cases() {
    // Rows of --rows, each type in each layout it has, exact and in integers.
    const auto shapes = matmuls({"--shapes", "4096,14336", "--rows", "1,64", "--dtype", "Q4_K,F16", "--layout",
                                 "native,packed", "--compute", "exact,int8"});
    std::set<std::string> found;
    for (const bench::bench_case &c : shapes)
        found.insert(c.dtype + " " + c.activations + " " + c.computed + " " + std::to_string(c.batch));
    CHECK((found == std::set<std::string>{"F16 F32  1", "F16 F32  64", "Q4_K F32  1", "Q4_K F32  64",
                                          "Q4_K ACT_I8 int8 1", "Q4_K ACT_I8 int8 64", "Q4_K_PACKED F32  1",
                                          "Q4_K_PACKED F32  64", "Q4_K_PACKED ACT_I8 int8 1",
                                          "Q4_K_PACKED ACT_I8 int8 64"}));
    CHECK(found.size() == shapes.size());

    // A layer's fused matmuls: weights, x and y once each.
    constexpr double x = 2560.0 / 32 * 40, q4_k = 144.0 / 256, q6_k = 210.0 / 256;
    std::set<std::string> keys;
    bool qkv = false, mixed = false, pair = false;
    for (const bench::bench_case &c :
         matmuls({"--rows", "1", "--dtype", "Q4_K,Q6_K", "--layout", "packed", "--compute", "int8,int8_quantize"})) {
        bench::result r;
        r.op = c.op;
        r.name = c.name;
        r.shape = c.shape;
        r.dtype = c.dtype;
        r.activations = c.activations;
        r.computed = c.computed;
        CHECK(keys.insert(r.key()).second);
        if (c.computed != "int8") continue;
        if (c.name == "attn_qkv" && c.dtype == "Q4_K_PACKED") {
            qkv = true;
            CHECK(c.bytes() == x + 6144 * 2560 * q4_k + 6144 * 4 && c.flops == 2.0 * 6144 * 2560);
        }
        if (c.name == "attn_qkv" && c.dtype == "Q4_K+Q6_K_PACKED") {
            mixed = true;
            CHECK(c.bytes() == x + (5120 * q4_k + 1024 * q6_k) * 2560 + 6144 * 4);
        }
        if (c.name == "ffn_gate_up" && c.dtype == "Q4_K_PACKED") {
            pair = true;
            CHECK(c.bytes() == x + 2 * 9728 * 2560 * q4_k + 9728.0 / 32 * 40 && c.shape_text() == "m=1 n=19456 k=2560");
        }
    }
    CHECK(qkv && mixed && pair);

    // The flag is void for more than 64 rows of weights that are not packed, and plain types have no integers.
    for (const bool packed : {false, true})
        CHECK(matmuls({"--shapes", "16,256", "--rows", "64,65", "--dtype", "Q8_0", "--compute", "int8_quantize",
                       "--layout", packed ? "packed" : "native"})
                  .size() == (packed ? 2 : 1));
    CHECK(has(
        message_of<bench::usage_error>([] { matmuls({"--shapes", "8,256", "--dtype", "F16", "--layout", "packed"}); }),
        "nothing to measure"));
    CHECK(has(
        message_of<bench::usage_error>([] { matmuls({"--shapes", "1,8,96", "--dtype", "Q8_0", "--compute", "int8"}); }),
        "multiple of 64"));
}

void test_plans() {
    constexpr uint64_t l2 = 50 << 20;
    // More than four times L2.
    const bench::rotation large = bench::plan_rotation(33e6, l2, true);
    CHECK(!large.flush && static_cast<double>(large.sets) * 33e6 > 4.0 * l2 && large.sets < 10);
    const bench::rotation small = bench::plan_rotation(1e4, l2, true);
    CHECK(small.flush && small.sets >= 64);
    CHECK(bench::plan_rotation(1e10, l2, true).sets == 1);
    CHECK(bench::plan_rotation(1e4, l2, false).sets == 1 && !bench::plan_rotation(1e4, l2, false).flush);

    const bench::replay_plan rounds = bench::plan_replay(large, 20, true);
    CHECK(rounds.launches % large.sets == 0 && !rounds.flush && static_cast<double>(rounds.launches) * 20 >= 1500);
    // What is flushed before must not come round a second time.
    CHECK(bench::plan_replay(small, 2, true).launches == small.sets && bench::plan_replay(small, 2, true).flush);
    const bench::replay_plan slow = bench::plan_replay(large, 15e3, true);
    CHECK(slow.launches == 1 && slow.flush);
    CHECK(bench::plan_replay({1, false}, 0.01, false).launches <= 4096);
}

void test_patterns() {
    for (const reflex_dtype dtype : bench::weight_dtypes()) {
        const auto bytes = bench::make_pattern(dtype);
        CHECK(bytes.size() % reflex_dtype_block_bytes(dtype) == 0 && bytes.size() >= 1 << 16);
        CHECK(bytes == bench::make_pattern(dtype));
    }
    // No infinity, no NaN: an exponent of all ones.
    const auto halves = bench::make_pattern(REFLEX_DTYPE_F16);
    for (size_t i = 1; i < halves.size(); i += 2) CHECK((halves[i] & 0x7C) != 0x7C);
    // Scales that make weights near 1: 0.00073 of a Q6_K block, half of it more or less.
    const auto blocks = bench::make_pattern(REFLEX_DTYPE_Q6_K);
    for (size_t i = 208; i < blocks.size(); i += 210) {
        const float scale = bench::half_to_float(static_cast<uint16_t>(blocks[i] | blocks[i + 1] << 8));
        CHECK(scale > 0.00036f && scale < 0.0011f);
    }
    const auto range = bench::make_values(REFLEX_DTYPE_F32, 1000, 1, 16, 40);
    for (size_t i = 0; i < range.size(); i += 4) {
        float value;
        std::memcpy(&value, &range[i], sizeof value);
        CHECK(value >= 16 && value <= 40);
    }
    CHECK(bench::make_values(REFLEX_DTYPE_F16, 100, 1) != bench::make_values(REFLEX_DTYPE_F16, 100, 2));
}

void test_json() {
    using bench::json;
    json inner = json::array();
    inner.push(1).push(-2.5).push(true).push(json()).push("a \"quoted\" \\ line\n\xC3\xA9");
    json whole = json::object();
    whole.set("list", inner).set("empty", json::object()).set("big", 4810637107200.0).set("small", 6.9e-7);
    const json back = json::parse(whole.dump());
    CHECK(back.dump() == whole.dump());
    CHECK(back["list"].items().size() == 5 && back["list"].items()[1].number() == -2.5);
    CHECK(back["list"].items()[4].text() == "a \"quoted\" \\ line\n\xC3\xA9");
    CHECK(back["big"].number() == 4810637107200.0 && back["none"].is_null());
    CHECK(json::parse("\"\\u00e9\\ud83d\\ude00\"").text() == "\xC3\xA9\xF0\x9F\x98\x80");
    CHECK(json(std::numeric_limits<double>::infinity()).dump() == "null\n");
    for (const char *wrong : {"", "{", "[1,]", "{\"a\" 1}", "nul", "1 2", "\"open", "{\"a\":1,}", "\"\\q\"", "inf"})
        CHECK(message_of<bench::json_error>([&] { json::parse(wrong); }) != "no error");
    CHECK(has(message_of<bench::json_error>([] { json::parse("[\n1,\n!]"); }), "line 3"));
    CHECK(has(message_of<bench::json_error>([] { json::parse(std::string(100000, '[')); }), "deep"));
}

bench::result some_result(double us) {
    bench::result r;
    r.op = "matmul";
    r.name = "ffn_up";
    r.dtype = "Q4_K";
    r.activations = "F32";
    r.shape = {{"m", 1}, {"n", 9728}, {"k", 2560}};
    r.shape_text = "m=1 n=9728 k=2560";
    r.sm_count = 8;
    r.measured.us = bench::summarise({us, us, us});
    r.measured.bytes = 14e6;
    r.measured.flops = 49.8e6;
    r.measured.sm_mhz = 1980;
    r.measured.cache = "cold (rotated)";
    r.measured.kernel = "reflex_matmul_q4_k_vec";
    return r;
}

std::string temporary_path(const char *name) {
    const char *folder = std::getenv("TMPDIR");
    return std::string(folder != nullptr ? folder : "/tmp") + "/" + name;
}

void test_results() {
    bench::result r = some_result(100);
    CHECK(std::fabs(r.measured.bytes_per_second() - 140e9) < 1);
    CHECK(std::fabs(r.measured.bytes_per_clock_sm(8) - 14e6 / (100 * 1980.0 * 8)) < 1e-9);

    const std::string path = temporary_path("reflex-bench-test.json");
    bench::json rows = bench::json::array(), file = bench::json::object();
    rows.push(r.to_json());
    file.set("schema", "reflex-bench/1").set("kind", "ops").set("results", rows);
    bench::write_text_file(path, file.dump());
    const auto baseline = bench::read_baseline(path);
    bench::result faster = some_result(50);
    // Rotated or flushed, cold is cold.
    faster.measured.cache = "cold (flushed)";
    CHECK(baseline.count(faster.key()) == 1);
    faster.before_us = baseline.at(faster.key());
    CHECK(has(bench::text_table({faster}), "2.00x") && faster.to_json()["speedup"].number() == 2);
    bench::result other = some_result(50);
    other.sm_count = 132;
    CHECK(baseline.count(other.key()) == 0);
    other.sm_count = 8;
    other.measured.cache = "warm";
    CHECK(baseline.count(other.key()) == 0);

    bench::write_text_file(path, "{\"schema\": \"other\"}");
    CHECK(has(message_of<bench::json_error>([&] { bench::read_baseline(path); }), "no result file"));
    CHECK(message_of<std::runtime_error>([] { bench::read_baseline("/nonexistent/file"); }) != "no error");

    bench::write_text_file(path,
                           "arch\tfile\tkernel\tregisters\tstatic_shared\tstack\tspill_stores\tspill_loads\n"
                           "sm_80\tm\tk\t50\t0\t0\t0\t0\nsm_87\tm\tk\t40\t16\t0\t4\t8\nsm_90a\tm\tk\t60\t0\t0\t0\t0\n");
    CHECK(bench::read_resources(path, 90).at("k").registers == 60);
    CHECK(bench::read_resources(path, 87).at("k").registers == 40 &&
          bench::read_resources(path, 87).at("k").spills == 12);
    CHECK(bench::read_resources(path, 86).at("k").registers == 50);
    CHECK(bench::read_resources(path, 100).empty());
    std::remove(path.c_str());

    bench::result failed = some_result(1);
    failed.error = "REFLEX_UNSUPPORTED: no kernel";
    CHECK(has(bench::text_table({failed}), "no kernel") && failed.to_json()["us"].is_null());
    CHECK(has(bench::markdown_table({some_result(100)}), "| 140 |"));
}

void test_boards() {
    const bench::options plain =
        parse({"ops", "--as", "agx-orin", "--impl", "norm:block", "--tuning", "norm.warp_dim=64"});
    CHECK(plain.as == "agx-orin" && plain.sm_count == 16 && plain.impl == "norm:block");
    CHECK(plain.tuning == "norm.warp_dim=64");
    CHECK(parse({"ceiling", "--as", "orin-nano", "--sm-count", "4"}).sm_count == 4);
    CHECK(parse({"tune", "--table", "x", "--as", "orin-nx"}).sm_count == 8);
    CHECK(parse({"tune", "--table", "x", "--sm-count", "4"}).sm_count == 4);
    CHECK(usage({"ops", "--as", "orin"}) == "--as orin: expected one of orin-nano, orin-nx, agx-orin");
    CHECK(usage({"ops", "--as", "orin-nano", "--backend", "cpu"}) == "--as needs --backend cuda");
    CHECK(usage({"model", "x.gguf", "--as", "orin-nano"}) == "unknown option --as");

    // A padded run and a plain one are not the same work.
    bench::result r = some_result(100), padded = some_result(100);
    padded.as = "orin-nano";
    CHECK(r.key() != padded.key() && has(padded.key(), "orin-nano") && r.to_json()["as"].is_null());
    CHECK(padded.to_json()["as"].text() == "orin-nano");

    bench::options adopted = parse({"ops"});
    ::setenv("REFLEX_AS", "orin-nano", 1);
    ::setenv("REFLEX_IMPL", "norm:block", 1);
    bench::adopt_environment(adopted);
    CHECK(adopted.as == "orin-nano" && adopted.sm_count == 8 && adopted.impl == "norm:block");
    ::setenv("REFLEX_AS", "nano", 1);
    adopted = parse({"ops"});
    CHECK(has(message_of<bench::usage_error>([&] { bench::adopt_environment(adopted); }), "REFLEX_AS nano"));
    ::unsetenv("REFLEX_AS");
    ::unsetenv("REFLEX_IMPL");
}

// A table with each number at its least.
std::string least_table() {
    std::string out = "//! A table.\n\npub(super) static TABLE: Tuning = Tuning {\n", group;
    for (const bench::tuning_parameter &p : bench::tuning_parameters()) {
        const size_t dot = p.name.find('.');
        if (p.name.substr(0, dot) != group) {
            out += group.empty() ? "" : "    },\n";
            group = p.name.substr(0, dot);
            out += "    " + group + ": Group {\n";
        }
        std::string numbers;
        for (int64_t i = 0; i < p.count; ++i) numbers += (i > 0 ? ", " : "") + std::to_string(p.least);
        out += "        " + p.name.substr(dot + 1) + ": " + (p.count > 1 ? "[" + numbers + "]" : numbers);
        out += ", // in no file\n";
    }
    return out + "    },\n};\n";
}

void test_tune() {
    CHECK(has(usage({"tune"}), "--table"));
    CHECK(has(usage({"tune", "--table", "x", "--out", "y"}), "--json"));
    CHECK(has(usage({"tune", "--table", "x", "--parameter", "matmul.warp"}), "expected an op or one of matmul."));
    CHECK(usage({"tune", "--table", "x", "--rows", "1"}) == "unknown option --rows");
    CHECK(usage({"tune", "--table", "x", "--tuning", "norm.warp_dim=1"}) == "unknown option --tuning");
    const bench::options o = parse({"tune", "--table", "x", "--parameter", "matmul,norm.warp_dim", "--dtype", "Q4_K"});
    CHECK(o.parameters.size() == 2 && o.dtypes.size() == 1 && o.table == "x" && o.seconds < 0.1);
    ::setenv("REFLEX_TUNING", "norm.warp_dim=64", 1);
    bench::options with = parse({"tune", "--table", "x"});
    CHECK(has(message_of<bench::usage_error>([&] { bench::adopt_environment(with); }), "REFLEX_TUNING"));
    ::unsetenv("REFLEX_TUNING");

    // The cases of an entry are options of ops, and what is tried may be set.
    for (const bench::tuning_parameter &p : bench::tuning_parameters()) {
        std::vector<std::string> words = {"ops"};
        std::istringstream in(p.cases);
        for (std::string word; in >> word;) words.push_back(word);
        std::vector<const char *> arguments;
        for (const std::string &word : words) arguments.push_back(word.c_str());
        CHECK(p.cases.empty() || !bench::list_cases(parse(arguments)).empty());
        for (const int64_t number : p.tries) CHECK(number >= p.least && number <= p.most && number % p.step == 0);
    }

    bench::tuning_table table(least_table());
    CHECK(table.text() == least_table() && table.numbers("matmul.in_clusters").size() == 8);
    table.set("matmul.warps", 0, 6, "x.json (GPU, 8 SMs, commit c, d)");
    table.set("matmul.in_clusters", 1, 900, "y.json");
    CHECK(has(table.text(), "\n        warps: 6, // x.json (GPU, 8 SMs, commit c, d)\n"));
    CHECK(has(table.text(), "\n        in_clusters: [1, 900, 1, 1, 1, 1, 1, 1], // y.json\n"));
    const bench::tuning_table again(table.text());
    CHECK(again.numbers("matmul.warps")[0] == 6 && again.numbers("matmul.in_clusters")[1] == 900);
    CHECK(again.numbers("matmul.lone_warps")[0] == 1);
    CHECK(has(message_of<std::runtime_error>([] { bench::tuning_table("fn main() {}\n"); }), "no matmul."));
    std::string twice = least_table();
    twice.insert(twice.find("        warps:"), "        warps: 1, // again\n");
    CHECK(has(message_of<std::runtime_error>([&] { bench::tuning_table{twice}; }), "twice"));

    const auto times = [](double a, double b) {
        return bench::case_times{{"a", bench::summarise({a, a, a})}, {"b", bench::summarise({b, b, b})}};
    };
    CHECK(std::fabs(bench::slowdown(times(10, 20), times(20, 10)) - 1) < 1e-12);
    CHECK(std::fabs(bench::slowdown(times(10, 20), times(20, 40)) - 2) < 1e-12);
    // What cannot be measured is no gain.
    CHECK(std::isinf(bench::slowdown(times(10, 20), {{"a", bench::summarise({1})}})));
    CHECK(std::fabs(bench::spread_of(times(10, 20), times(11, 22)) - 0.1) < 1e-12);
    const bench::case_times wide = {{"a", bench::summarise({8, 10, 12})}};
    CHECK(std::fabs(bench::spread_of(wide, wide) - 0.16) < 1e-12);
}

}  // namespace

int main() {
    test_statistics();
    test_options();
    test_boards();
    test_tune();
    test_bytes();
    test_cases();
    test_workspaces();
    test_matmul_cases();
    test_plans();
    test_patterns();
    test_json();
    test_results();
    if (failures == 0) std::puts("all right");
    return failures == 0 ? 0 : 1;
}
