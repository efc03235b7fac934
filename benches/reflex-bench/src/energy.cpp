#include "energy.h"

#include <algorithm>

namespace bench {
namespace {

constexpr std::chrono::milliseconds period{10};
// The counter moves every 20 to 100 ms: below this an interval's error exceeds a tenth or so.
constexpr double shortest_interval = 0.5;

double seconds_between(energy_meter::clock::time_point from, energy_meter::clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
}

}  // namespace

energy_meter::energy_meter(const nvml *gpu) : gpu_(gpu) {
    if (gpu_ == nullptr || !gpu_->read().energy_j) return;
    thread_ = std::thread([this] {
        while (!done_) {
            if (const auto joules = gpu_->read().energy_j) {
                const std::lock_guard<std::mutex> lock(mutex_);
                // Only where it moves: between two such points it has grown evenly, more or less.
                if (samples_.empty() || samples_.back().joules != *joules) samples_.push_back({clock::now(), *joules});
            }
            std::this_thread::sleep_for(period);
        }
    });
}

energy_meter::~energy_meter() {
    done_ = true;
    if (thread_.joinable()) thread_.join();
}

std::optional<double> energy_meter::counter_at(clock::time_point at) const {
    const auto after = std::lower_bound(samples_.begin(), samples_.end(), at,
                                        [](const sample &s, clock::time_point t) { return s.at < t; });
    if (samples_.size() < 2 || after == samples_.begin()) return std::nullopt;
    // Past the last sample the line goes on.
    const auto right = after == samples_.end() ? after - 1 : after, left = right - 1;
    const double share = seconds_between(left->at, at) / seconds_between(left->at, right->at);
    return left->joules + std::min(share, 2.0) * (right->joules - left->joules);
}

std::optional<double> energy_meter::joules(clock::time_point end, double seconds) const {
    if (seconds < shortest_interval) return std::nullopt;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto to = counter_at(end);
    const auto from =
        counter_at(end - std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds)));
    if (!to || !from || *to <= *from) return std::nullopt;
    return *to - *from;
}

}  // namespace bench
