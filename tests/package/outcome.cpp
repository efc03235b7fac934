#include <algorithm>
#include <cstring>

#include "parity.h"

namespace parity {
namespace {

template <typename T>
std::vector<T> as(const std::vector<uint8_t> &bytes) {
    std::vector<T> out(bytes.size() / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
    return out;
}

// Without what lies behind the rows.
std::vector<uint8_t> rows_of(const bench::operand &what, std::vector<uint8_t> bytes) {
    expect(what.gap == 0 && what.offset == 0, what.name + " is not contiguous");
    bytes.resize(what.bytes());
    return bytes;
}

}  // namespace

outcome::outcome(bench::case_runner &runner, const bench::descriptor &what)
    : what_(what), problem_(bench::problem_of(what)), after_(runner.run(problem_.call)) {
    for (size_t i = 0; i < after_.size(); ++i) {
        const bench::operand &o = problem_.call.operands[i];
        expect(o.compared() || after_[i] == bench::contents_of(o, i), o.name + " is an input and has changed");
    }
}

size_t outcome::place(const char *name) const {
    const auto &all = problem_.call.operands;
    const auto found = std::find_if(all.begin(), all.end(), [&](const bench::operand &o) { return o.name == name; });
    if (found == all.end()) throw std::logic_error(what_.text() + " has no " + name);
    return static_cast<size_t>(found - all.begin());
}

size_t outcome::size(const char *name, size_t dimension) const {
    return static_cast<size_t>(operand(name).shape.at(dimension));
}

std::vector<uint8_t> outcome::bytes_before(const char *name) const {
    return rows_of(operand(name), bench::contents_of(operand(name), place(name)));
}
std::vector<uint8_t> outcome::bytes_after(const char *name) const {
    return rows_of(operand(name), after_[place(name)]);
}

std::vector<uint8_t> outcome::native_bytes(const char *name) const {
    bench::operand native = operand(name);
    native.dtype &= ~REFLEX_DTYPE_PACKED;
    return rows_of(native, bench::contents_of(native, place(name)));
}

std::vector<float> outcome::before(const char *name) const {
    expect(dtype(name) == REFLEX_DTYPE_F32, std::string(name) + " is not F32");
    return as<float>(bytes_before(name));
}
std::vector<float> outcome::after(const char *name) const {
    expect(dtype(name) == REFLEX_DTYPE_F32, std::string(name) + " is not F32");
    return as<float>(bytes_after(name));
}
std::vector<int32_t> outcome::integers_before(const char *name) const { return as<int32_t>(bytes_before(name)); }
std::vector<int32_t> outcome::integers_after(const char *name) const { return as<int32_t>(bytes_after(name)); }

void expect(bool condition, const std::string &what) {
    if (!condition) throw std::runtime_error(what);
}

void expect_close(const std::vector<float> &got, const std::vector<double> &expected, double tolerance) {
    expect(got.size() == expected.size(), "wrong number of elements");
    for (size_t i = 0; i < got.size(); ++i) {
        const double error = std::fabs(static_cast<double>(got[i]) - expected[i]);
        if (!(error <= tolerance * (1.0 + std::fabs(expected[i]))))
            throw std::runtime_error("element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " +
                                     std::to_string(expected[i]));
    }
}

double dot(const float *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return sum;
}

}  // namespace parity
