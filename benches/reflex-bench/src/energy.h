// Energy over intervals of a run that are known only afterwards, which the library's sampler does not give: from the GPU's counter,
// or where there is none, as on Jetson, from samples of the power.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "target.h"

namespace bench {

// Samples from now until it is destroyed.
class energy_meter {
public:
    using clock = std::chrono::steady_clock;

    explicit energy_meter(const target &on);
    ~energy_meter();
    energy_meter(const energy_meter &) = delete;
    energy_meter &operator=(const energy_meter &) = delete;

    // Joules of the `seconds` before `end`. Unknown without a measure, and for intervals too short for its resolution.
    std::optional<double> joules(clock::time_point end, double seconds) const;
    // "counter", "power samples" or "none".
    const char *source() const { return source_; }

private:
    struct sample {
        clock::time_point at;
        double joules;
    };
    void run();
    std::optional<double> counter_at(clock::time_point at) const;

    const target &on_;
    const char *source_ = "none";
    bool counted_ = false;
    std::atomic<bool> done_{false};
    mutable std::mutex mutex_;
    std::vector<sample> samples_;
    std::thread thread_;
};

}  // namespace bench
