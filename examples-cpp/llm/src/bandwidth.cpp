#include "bandwidth.h"

#include <algorithm>
#include <chrono>

namespace llm {
namespace {

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

constexpr int passes = 5;  // the fastest counts: anything else was disturbed

double measure_device_copy(const device &owner) {
    const size_t bytes = std::clamp<size_t>(owner.memory().free / 16, 1 << 20, 256 << 20);
    const reflex::device_buffer from(owner.owner(), bytes), to(owner.owner(), bytes);
    reflex::check(reflex_memset(owner.context(), from.get(), 0, bytes, owner.stream()));
    owner.copy(to.get(), from.get(), bytes);
    owner.synchronize();
    constexpr int copies = 20;
    double best = 0;
    for (int pass = 0; pass < passes; ++pass) {
        const auto start = clock::now();
        for (int i = 0; i < copies; ++i) owner.copy(to.get(), from.get(), bytes);
        owner.synchronize();
        best = std::max(best, 2.0 * copies * static_cast<double>(bytes) / seconds_since(start));
    }
    return best;
}

}  // namespace

bandwidth find_bandwidth(const device &owner) {
    if (owner.is_cpu()) return {};
    const double nominal = owner.owner().profile().memory_bandwidth;
    if (nominal > 0) return {nominal, "nominal"};
    return {measure_device_copy(owner), "measured by a copy, reads and writes counted"};
}

}  // namespace llm
