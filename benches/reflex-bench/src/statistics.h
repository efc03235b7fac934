// What a set of samples says.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace bench {

struct summary {
    double median = 0, min = 0, p10 = 0, p90 = 0, max = 0;
    size_t samples = 0;
};

// The value below which `fraction` of the sorted samples lie, linear between two.
inline double quantile(const std::vector<double> &sorted, double fraction) {
    if (sorted.empty()) return 0;
    const double at = fraction * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<size_t>(std::floor(at));
    const size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

inline summary summarise(std::vector<double> samples) {
    std::sort(samples.begin(), samples.end());
    summary out;
    out.samples = samples.size();
    out.median = quantile(samples, 0.5);
    out.p10 = quantile(samples, 0.1);
    out.p90 = quantile(samples, 0.9);
    if (!samples.empty()) {
        out.min = samples.front();
        out.max = samples.back();
    }
    return out;
}

inline double median(std::vector<double> samples) { return summarise(std::move(samples)).median; }

}  // namespace bench
