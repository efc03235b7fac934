#include "rotation.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "gguf.h"

namespace llm {
namespace {

// The index of the pair whose frequency makes this many turns within the original context.
double pair_with_turns(const rope_config &c, double turns) {
    constexpr double two_pi = 6.283185307179586476925287;
    return c.dims * std::log(c.original_context / (turns * two_pi)) / (2 * std::log(c.base));
}

// YaRN's magnitude for a context lengthened by `factor`.
double yarn_magnitude(double factor, double multiplier) {
    return factor <= 1 ? 1.0 : 0.1 * multiplier * std::log(factor) + 1.0;
}

// By what each frequency is multiplied: a ramp from 1 for the fast pairs to 1 / factor for the slow ones.
std::vector<double> yarn_scales(const rope_config &c) {
    const double first = std::max(0.0, std::floor(pair_with_turns(c, c.beta_fast))),
                 last = std::min(c.dims - 1.0, std::ceil(pair_with_turns(c, c.beta_slow)));
    std::vector<double> out(c.dims / 2);
    for (size_t i = 0; i < out.size(); ++i) {
        const double at = (static_cast<double>(i) - first) / std::max(0.001, last - first);
        const double kept = (1 - std::clamp(at, 0.0, 1.0)) * c.extrapolation;
        out[i] = (1 - kept) / c.factor + kept;
    }
    return out;
}

}  // namespace

rotation plan_rotation(const rope_config &c, const std::vector<float> &factors) {
    rotation out{1.0f, 1.0f, factors};
    double magnitude = c.attention_factor;
    if (c.extrapolation == 0) {
        out.frequency_scale = static_cast<float>(1 / c.factor);
    } else {
        magnitude *= yarn_magnitude(c.factor, 1);
        if (c.log_multiplier != 0) magnitude /= yarn_magnitude(c.factor, c.log_multiplier);
        if (out.factors.empty()) out.factors.assign(c.dims / 2, 1.0f);
        const std::vector<double> scales = yarn_scales(c);
        for (size_t i = 0; i < scales.size(); ++i)
            out.factors[i] = static_cast<float>(static_cast<double>(out.factors[i]) / scales[i]);
    }
    out.magnitude = static_cast<float>(magnitude);
    const auto usable = [](float value) { return std::isfinite(value) && value > 0; };
    if (!usable(out.frequency_scale) || !usable(out.magnitude))
        throw gguf_error("model: the scaling of the rotation is out of range: frequencies times " +
                         std::to_string(out.frequency_scale) + ", magnitude " + std::to_string(out.magnitude));
    for (size_t i = 0; i < out.factors.size(); ++i) {
        if (!usable(out.factors[i]))
            throw gguf_error("model: frequency " + std::to_string(i) + " of the rotation is divided by " +
                             std::to_string(out.factors[i]) + ", must be a positive number");
    }
    return out;
}

}  // namespace llm
