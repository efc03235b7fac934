// What the parity tests share: problems of cases/ with their operands as numbers, before a launch and after it, and comparison.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "case_run.h"
#include "problems.h"

namespace parity {

// A problem in the form of cases/ after one launch. Its operands have the names of the params' fields; those of the products of a matmul
// end in their number.
class outcome {
public:
    outcome(bench::case_runner &runner, const bench::descriptor &what);

    const bench::descriptor &what() const { return what_; }
    size_t size(const char *name, size_t dimension) const;

    // Contiguous operands of these types.
    std::vector<float> before(const char *name) const;
    std::vector<float> after(const char *name) const;
    std::vector<int32_t> integers_before(const char *name) const;
    std::vector<int32_t> integers_after(const char *name) const;
    std::vector<uint8_t> bytes_before(const char *name) const;
    std::vector<uint8_t> bytes_after(const char *name) const;
    // A weight as it was before it was packed, if it is.
    std::vector<uint8_t> native_bytes(const char *name) const;
    reflex_dtype dtype(const char *name) const { return operand(name).dtype; }

private:
    size_t place(const char *name) const;
    const bench::operand &operand(const char *name) const { return problem_.call.operands[place(name)]; }

    bench::descriptor what_;
    bench::problem problem_;
    std::vector<std::vector<uint8_t>> after_;
};

// A test: problems, and what each has to come to.
struct test {
    const char *name, *problems;
    std::function<void(const outcome &)> check;
};

void expect(bool condition, const std::string &what);
void expect_close(const std::vector<float> &got, const std::vector<double> &expected, double tolerance);
double dot(const float *a, const float *b, size_t count);

// parity_matmul.cpp
const std::vector<test> &matmul_tests();
// Not one problem but two: the same product of a float x and of the same x quantised before.
void test_int8_flag(bench::case_runner &runner);

}  // namespace parity
