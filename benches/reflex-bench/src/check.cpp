// reflex-bench check: problems of `cases/` on the CPU backend and on the device, through infer.hpp.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include "case_run.h"
#include "commands.h"
#include "half.h"
#include "problems.h"
#include "target.h"

namespace bench {
namespace {

double step_of(reflex_dtype dtype) {
    return dtype == REFLEX_DTYPE_F16 ? 0x1p-10 : dtype == REFLEX_DTYPE_BF16 ? 0x1p-7 : 0;
}

double element(reflex_dtype dtype, const uint8_t *at) {
    if (dtype == REFLEX_DTYPE_F32) {
        float value;
        std::memcpy(&value, at, sizeof value);
        return static_cast<double>(value);
    }
    uint16_t bits;
    std::memcpy(&bits, at, sizeof bits);
    return static_cast<double>(dtype == REFLEX_DTYPE_F16 ? half_to_float(bits) : bfloat_to_float(bits));
}

// Offsets of the rows of a result.
std::vector<size_t> rows_of(const reflex_tensor &t) {
    std::vector<size_t> out{0};
    for (uint32_t i = 0; i + 1 < t.rank; ++i) {
        std::vector<size_t> next;
        for (const size_t row : out) {
            for (int64_t k = 0; k < t.shape[i]; ++k) next.push_back(row + static_cast<size_t>(k * t.stride[i]));
        }
        out = std::move(next);
    }
    return out;
}

[[noreturn]] void differs(size_t row, int64_t at, double got, double want) {
    throw std::runtime_error("row " + std::to_string(row) + ", element " + std::to_string(at) + " is " +
                             std::to_string(got) + ", expected " + std::to_string(want));
}

// A row of ACT_I8: quants, then scale and sums of each block. An element may fall to the next step.
void compare_quantised(const uint8_t *got, const uint8_t *want, int64_t n, size_t row, double absolute,
                       double relative) {
    for (int64_t block = 0; block < n / 32; ++block) {
        float scales[2];
        std::memcpy(&scales[0], got + n + block * 8, sizeof(float));
        std::memcpy(&scales[1], want + n + block * 8, sizeof(float));
        const double step = static_cast<double>(std::max(scales[0], scales[1])) * (1 + 0x1p-22);
        for (int64_t i = block * 32; i < block * 32 + 32; ++i) {
            const double a = static_cast<double>(scales[0]) * static_cast<int8_t>(got[i]);
            const double b = static_cast<double>(scales[1]) * static_cast<int8_t>(want[i]);
            if (!(std::fabs(a - b) <= step + absolute + relative * std::fabs(b))) differs(row, i, a, b);
        }
    }
}

// How far an element of a result may be from the CPU backend's.
struct tolerance {
    double absolute, relative;
    bool exact;
};

tolerance tolerance_of(const problem &p, const operand &o, const std::string &kernel) {
    const bound limit = bound_of(p.variant.empty() ? kernel : kernel + "@" + p.variant);
    const bool integers = kernel.rfind("reflex_matmul_int8", 0) == 0;
    const double absolute = (limit.absolute * p.sums + (integers ? p.beside_int8 : 0)) * p.scale;
    const double step = std::max(step_of(p.rounded_to), o.written ? step_of(o.dtype) : 0);
    return {std::max(absolute, p.at_least), p.relative * std::max(limit.relative, step), limit.exact};
}

// Rows against the CPU backend's, and everything else against what was there before.
void compare(const operand &o, const std::vector<uint8_t> &got, const std::vector<uint8_t> &want,
             const std::vector<uint8_t> &before, const tolerance &limit) {
    const reflex_tensor t = placed(o, nullptr);
    const auto start = static_cast<size_t>(o.offset * reflex_dtype_block_bytes(o.dtype));
    const int64_t n = o.shape.back();
    const auto row_bytes =
        static_cast<size_t>(n / reflex_dtype_block_elements(o.dtype) * reflex_dtype_block_bytes(o.dtype));
    std::vector<bool> inside(got.size());
    size_t row = 0;
    for (const size_t at : rows_of(t)) {
        const uint8_t *a = &got[start + at], *b = &want[start + at];
        std::fill_n(inside.begin() + static_cast<std::ptrdiff_t>(start + at), row_bytes, true);
        const bool floats = o.dtype == REFLEX_DTYPE_F32 || o.dtype == REFLEX_DTYPE_F16 || o.dtype == REFLEX_DTYPE_BF16;
        const bool quantised = o.dtype == REFLEX_DTYPE_ACT_I8 && !limit.exact;
        if (!floats && !quantised && std::memcmp(a, b, row_bytes) != 0)
            throw std::runtime_error("row " + std::to_string(row) + " has other bytes");
        if (quantised) compare_quantised(a, b, n, row, limit.absolute, limit.relative);
        for (int64_t i = 0; floats && i < n; ++i) {
            const auto byte = static_cast<size_t>(i) * reflex_dtype_block_bytes(o.dtype);
            const double x = element(o.dtype, a + byte), y = element(o.dtype, b + byte);
            if (x == y || (std::isnan(x) && std::isnan(y))) continue;
            if (limit.exact || !(std::fabs(x - y) <= limit.absolute + limit.relative * std::fabs(y)))
                differs(row, i, x, y);
        }
        ++row;
    }
    for (size_t i = 0; i < got.size(); ++i) {
        if (!inside[i] && got[i] != before[i])
            throw std::runtime_error("byte " + std::to_string(i) + " is outside of the rows");
    }
}

// What two launches left of one problem, the second of them on the device.
void compare(const problem &p, const std::vector<std::vector<uint8_t>> &want,
             const std::vector<std::vector<uint8_t>> &got, const std::string &kernel) {
    for (size_t i = 0; i < p.call.operands.size(); ++i) {
        const operand &o = p.call.operands[i];
        const std::vector<uint8_t> before = contents_of(o, i);
        try {
            if (o.compared()) compare(o, got[i], want[i], before, tolerance_of(p, o, kernel));
            else if (got[i] != before) throw std::runtime_error("an input has changed");
        } catch (const std::runtime_error &error) {
            throw std::runtime_error(o.name + ": " + error.what());
        }
    }
}

std::vector<descriptor> asked_for(const options &wanted) {
    std::vector<descriptor> out = wanted.cases;
    if (!out.empty()) return out;
    for (const std::string &op : wanted.ops.empty() ? case_ops() : wanted.ops) {
        for (const descriptor &d : cases_of(op).all()) {
            if (d.in() == tier::smoke || wanted.full) out.push_back(d);
        }
    }
    return out;
}

// Nothing where the problem is not set up here. What the user described has to be.
std::optional<problem> set_up(const descriptor &d, bool described) {
    try {
        return problem_of(d);
    } catch (const not_set_up &why) {
        if (described) throw usage_error(why.what());
        return std::nullopt;
    } catch (const case_error &why) {
        if (described) throw usage_error(why.what());
        throw;
    }
}

}  // namespace

int run_check(const options &wanted) {
    const std::vector<descriptor> all = asked_for(wanted);
    case_runner cpu(REFLEX_BACKEND_CPU);
    std::unique_ptr<case_runner> device;
    try {
        device = std::make_unique<case_runner>(wanted.cpu ? REFLEX_BACKEND_CPU : REFLEX_BACKEND_CUDA, wanted.device);
    } catch (const reflex::error &error) {
        throw no_gpu_error(error.what());
    }
    bool failed = false;
    size_t others = 0;
    for (const descriptor &d : all) {
        try {
            const std::optional<problem> p = set_up(d, !wanted.cases.empty());
            if (!p) {
                ++others;
                continue;
            }
            const auto want = cpu.run(p->call), got = device->run(p->call);
            compare(*p, want, got, device->kernel());
            std::printf("test %s ... ok\n", d.text().c_str());
        } catch (const usage_error &) {
            throw;
        } catch (const std::runtime_error &error) {
            failed = true;
            std::printf("test %s ... FAILED\n  %s\n  it alone: reflex-bench check --case '%s'\n", d.text().c_str(),
                        error.what(), d.text().c_str());
        }
    }
    if (others > 0) std::printf("%zu more problems are those of reflex-gpu-tests alone\n", others);
    return failed ? 1 : 0;
}

}  // namespace bench
