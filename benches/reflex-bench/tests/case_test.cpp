// The reader of cases/: the same text and the same answers as in tests/support/cases/list.rs.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <string>

#include "case_file.h"
#include "half.h"
#include "options.h"
#include "problems.h"

namespace {

int failures = 0;

void check(bool right, const char *what, int line) {
    if (right) return;
    std::fprintf(stderr, "case_test.cpp:%d: not so: %s\n", line, what);
    ++failures;
}
#define CHECK(condition) check(condition, #condition, __LINE__)

template <typename Body>
std::string message_of(const Body &body) {
    try {
        body();
    } catch (const bench::case_error &error) {
        return error.what();
    }
    return "no error";
}

std::vector<std::string> names(const bench::problem_list &list) {
    std::vector<std::string> out;
    for (const bench::descriptor &d : list.all())
        out.push_back(d.text() + (d.in() == bench::tier::smoke ? " Smoke" : " Full"));
    return out;
}

void test_products() {
    const bench::problem_list list("trial", R"(
        # of a trial op
        [defaults kind rows=3 n=8 x=f32 lengths=none]
        [set floats=f32|f16]
        [smoke kind=a]
        rows=1 # alone
        [full kind=a|b]
        rows,n=1,8|2,9 x=$floats|bf16
        kind=c lengths=1/-2/7x3/0..2
    )");
    std::vector<std::string> want{"trial kind=a rows=1 Smoke"};
    for (const char *kind : {"a", "b"}) {
        for (const char *shape : {"rows=1", "rows=2 n=9"}) {
            for (const char *x : {"", " x=f16", " x=bf16"}) {
                const std::string name = std::string("trial kind=") + kind + " " + shape + x;
                // In both tiers: once, and of smoke.
                if (name != "trial kind=a rows=1") want.push_back(name + " Full");
            }
        }
    }
    want.push_back("trial kind=c lengths=1/-2/7x3/0..2 Full");
    CHECK(names(list) == want);
    const bench::descriptor &last = list.all().back();
    CHECK(last.list("lengths") == std::vector<int64_t>({1, -2, 7, 7, 7, 0, 1}));
    CHECK(last.whole("rows") == 3 && last.dtype("x") == REFLEX_DTYPE_F32);
    CHECK(list.read("kind=d n=5").front().text() == "trial kind=d n=5");
    CHECK(names(bench::problem_list("trial", "[defaults n=1 m=2]\n[full]\nm=2")) ==
          std::vector<std::string>{"trial n=1 Full"});
    const bench::problem_list blocks("trial", "[defaults k=512+3b]\n[full]\nk=512+3b\nk=2b");
    CHECK(blocks.all()[0].elements("k", REFLEX_DTYPE_Q4_K) == 512 + 768);
    CHECK(blocks.all()[1].elements("k", REFLEX_DTYPE_F16) == 64);
}

void test_mistakes() {
    const std::pair<const char *, const char *> mistakes[] = {
        {"rows=1", "line 1: a problem before [smoke] or [full]"},
        {"[defaults n=1]\n[full]\nm=2", "line 3: trial has no key m"},
        {"[defaults n]\n[full]\n\n[smoke]\n[full]\n[defaults m=1]\nm=2", "line 7: n is not given"},
        {"[defaults n=1]\n[full]\nn=2\nn=1|2", "line 4: `trial n=2` is there already"},
        {"[defaults n=1 m=1]\n[full]\nn,m=2", "line 3: `n,m=2`: 2 is no value for n and m"},
        {"[defaults n=1 m=1]\n[full n,m=3,4]\nn=2", "line 3: n is given twice"},
        {"[defaults n=1]\n[full]\nn=$all", "line 3: there is no set $all"},
        {"[defaults n=1]\n[fast]", "line 2: tier fast: expected smoke or full"}};
    for (const auto &[text, what] : mistakes) {
        const std::string message = message_of([&t = text] { bench::problem_list("trial", t); });
        if (message != std::string("cases/trial.txt, ") + what) std::fprintf(stderr, "%s\n", message.c_str());
        CHECK(message == std::string("cases/trial.txt, ") + what);
    }
    CHECK(message_of([] { bench::read_case("softmin rows=1"); }).find("expected one of activation, add") !=
          std::string::npos);
}

// Those of the library: every list can be read, most problems are set up, and every op of the library has some that are checked.
void test_lists() {
    size_t all = 0, set_up = 0;
    std::set<std::string> checked;
    for (const std::string &op : bench::case_ops()) {
        std::set<std::string> names;
        for (const bench::descriptor &d : bench::cases_of(op).all()) {
            CHECK(names.insert(d.text()).second);
            ++all;
            try {
                const bench::problem p = bench::problem_of(d);
                const auto compared = [](const bench::operand &o) { return o.compared(); };
                CHECK(std::any_of(p.call.operands.begin(), p.call.operands.end(), compared));
                if (d.in() == bench::tier::smoke) checked.insert(p.call.op);
                ++set_up;
            } catch (const bench::not_set_up &) {
            }
        }
    }
    std::printf("%zu problems, %zu of them are set up here\n", all, set_up);
    CHECK(all > 5000 && set_up > 4 * (all - set_up));
    for (const std::string &op : bench::op_names()) {
        if (checked.count(op) == 0)
            std::fprintf(stderr, "no problem of %s is checked: problems.cpp needs its operands\n", op.c_str());
        CHECK(checked.count(op) == 1);
        checked.erase(op);
    }
    CHECK(checked.empty());
    CHECK(bench::bound_of("reflex_add_vec8").exact);
    CHECK(bench::bound_of("reflex_norm_warp").absolute == 1e-6 && !bench::bound_of("reflex_norm_warp").exact);
    CHECK(message_of([] { bench::bound_of("reflex_unknown"); }) == "no list of cases/ has a bound for reflex_unknown");
}

void test_places() {
    bench::operand o = bench::input(REFLEX_DTYPE_F16, {2, 3, 8});
    o.gap = 2;
    o.offset = 1;
    uint8_t memory[256];
    const reflex_tensor t = bench::placed(o, memory);
    CHECK(t.data == memory + 2 && t.stride[2] == 2 && t.stride[1] == 20 && t.stride[0] == 60);
    CHECK(bench::placed_bytes(o) >= 2 + 5 * 20 + 16);
    CHECK(bench::half_to_float(0x3C00) == 1 && bench::half_to_float(0xC100) == -2.5f);
    for (const float value : {0.0f, -0.0f, 1.0f, -2.5f, 0x1p-14f, 0.1f, 65504.0f}) {
        const uint16_t half = bench::float_to_half(value);
        CHECK(std::fabs(bench::half_to_float(half) - value) <= std::fabs(value) * 0x1p-11f);
        CHECK(bench::float_to_half(bench::half_to_float(half)) == half);
    }
    CHECK(bench::float_to_bfloat(1) == 0x3F80);
    CHECK(bench::half_to_float(1) == 0x1p-24f && std::isnan(bench::half_to_float(0x7E00)));
    CHECK(bench::bfloat_to_float(0x3F80) == 1);
}

}  // namespace

int main() {
    test_products();
    test_mistakes();
    test_lists();
    test_places();
    if (failures == 0) std::puts("all right");
    return failures == 0 ? 0 : 1;
}
