// Energy over intervals of a run, from NVML's counter.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "nvml.h"

namespace bench {

// Samples from now until it is destroyed.
class energy_meter {
public:
    using clock = std::chrono::steady_clock;

    explicit energy_meter(const nvml *gpu);
    ~energy_meter();
    energy_meter(const energy_meter &) = delete;
    energy_meter &operator=(const energy_meter &) = delete;

    // Joules of the `seconds` before `end`. Unknown without a counter, and for intervals too short for its resolution.
    std::optional<double> joules(clock::time_point end, double seconds) const;

private:
    struct sample {
        clock::time_point at;
        double joules;
    };
    std::optional<double> counter_at(clock::time_point at) const;

    const nvml *gpu_;
    std::atomic<bool> done_{false};
    mutable std::mutex mutex_;
    std::vector<sample> samples_;
    std::thread thread_;
};

}  // namespace bench
