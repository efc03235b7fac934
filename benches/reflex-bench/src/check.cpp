// reflex-bench check: problems of `cases/` on the CPU backend and on the device, through infer.hpp.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>

#include "commands.h"
#include "half.h"
#include "patterns.h"
#include "problems.h"
#include "target.h"

namespace bench {
namespace {

// A context with a stream and the operands of one problem.
class side {
public:
    side(reflex_backend backend, int32_t device) {
        reflex::context_params params;
        params.backend = backend;
        params.device = device;
        context_ = std::make_unique<reflex::context>(params);
        stream_ = std::make_unique<reflex::stream>(*context_);
    }

    // The bytes of all results, and the kernel that made them.
    std::vector<std::vector<uint8_t>> run(const bench_case &what) {
        memory_.clear();
        std::vector<reflex_tensor> tensors;
        for (const operand &o : what.operands) tensors.push_back(placed(o, place(o)));
        const std::unique_ptr<launch_call> call = what.make(tensors);
        kernel_ = call->kernel(context_->get());
        if (const size_t bytes = call->workspace_bytes(context_->get()); bytes > 0)
            call->use_workspace(memory_.emplace_back(*context_, bytes).get(), bytes);
        call->launch(context_->get(), stream_->get());
        std::vector<std::vector<uint8_t>> out;
        for (size_t i = 0; i < what.operands.size(); ++i) {
            if (what.operands[i].holds != content::result) continue;
            out.emplace_back(placed_bytes(what.operands[i]));
            copy(out.back().data(), memory_[i].get(), out.back().size());
        }
        return out;
    }

    const std::string &kernel() const { return kernel_; }

private:
    void copy(void *to, const void *from, size_t bytes) const {
        reflex::check(reflex_memcpy(context_->get(), to, from, bytes, stream_->get()));
        stream_->synchronize();
    }

    // The same on every backend; results begin as bytes that no result has.
    void *place(const operand &o) {
        std::vector<uint8_t> bytes(placed_bytes(o), 0xFF);
        if (o.holds == content::values) {
            const std::vector<uint8_t> pattern = make_pattern(o.dtype);
            for (size_t at = 0; at < bytes.size(); at += pattern.size())
                std::memcpy(&bytes[at], pattern.data(), std::min(pattern.size(), bytes.size() - at));
        } else if (o.holds == content::integers) {
            const std::vector<int32_t> values = o.integers(0);
            if (!values.empty()) std::memcpy(bytes.data(), values.data(), values.size() * sizeof(int32_t));
        }
        void *data = memory_.emplace_back(*context_, bytes.size()).get();
        copy(data, bytes.data(), bytes.size());
        return data;
    }

    std::unique_ptr<reflex::context> context_;
    std::unique_ptr<reflex::stream> stream_;
    std::vector<reflex::device_buffer> memory_;
    std::string kernel_;
};

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

void compare(const problem &p, const operand &o, const std::vector<uint8_t> &got, const std::vector<uint8_t> &want,
             const bound &limit) {
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
        const double absolute = limit.absolute * p.sums, relative = std::max(limit.relative, step_of(p.rounded_to));
        const bool floats = o.dtype == REFLEX_DTYPE_F32 || o.dtype == REFLEX_DTYPE_F16 || o.dtype == REFLEX_DTYPE_BF16;
        if (limit.exact && !floats && std::memcmp(a, b, row_bytes) != 0)
            throw std::runtime_error("row " + std::to_string(row) + " has other bytes");
        if (!limit.exact && o.dtype == REFLEX_DTYPE_ACT_I8) compare_quantised(a, b, n, row, absolute, relative);
        for (int64_t i = 0; floats && i < n; ++i) {
            const auto byte = static_cast<size_t>(i) * reflex_dtype_block_bytes(o.dtype);
            const double x = element(o.dtype, a + byte), y = element(o.dtype, b + byte);
            if (x == y || (std::isnan(x) && std::isnan(y))) continue;
            if (limit.exact || !(std::fabs(x - y) <= absolute + relative * std::fabs(y))) differs(row, i, x, y);
        }
        ++row;
    }
    for (size_t i = 0; i < got.size(); ++i) {
        if (!inside[i] && got[i] != 0xFF)
            throw std::runtime_error("byte " + std::to_string(i) + " is outside of the rows");
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

}  // namespace

int run_check(const options &wanted) {
    const std::vector<descriptor> all = asked_for(wanted);
    side cpu(REFLEX_BACKEND_CPU, 0);
    std::unique_ptr<side> device;
    try {
        device = std::make_unique<side>(wanted.cpu ? REFLEX_BACKEND_CPU : REFLEX_BACKEND_CUDA, wanted.device);
    } catch (const reflex::error &error) {
        throw no_gpu_error(error.what());
    }
    bool failed = false;
    size_t others = 0;
    for (const descriptor &d : all) {
        try {
            const problem p = problem_of(d);
            const auto want = cpu.run(p.call), got = device->run(p.call);
            const bound limit = bound_of(device->kernel());
            size_t result = 0;
            for (const operand &o : p.call.operands) {
                if (o.holds != content::result) continue;
                compare(p, o, got[result], want[result], limit);
                ++result;
            }
            std::printf("test %s ... ok\n", d.text().c_str());
        } catch (const not_set_up &why) {
            if (!wanted.cases.empty()) throw usage_error(why.what());
            ++others;
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
