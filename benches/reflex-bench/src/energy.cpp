#include "energy.h"

#include <algorithm>
#include <cmath>

namespace bench {
namespace {

// A reading of a Jetson's rails takes some milliseconds of a core that the model may want.
constexpr std::chrono::milliseconds counter_period{20}, power_period{50};
// The counter moves and power is renewed every 20 to 100 ms: below this an interval's error exceeds a tenth or so.
constexpr double shortest_interval = 0.5;

double seconds_between(energy_meter::clock::time_point from, energy_meter::clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
}

}  // namespace

energy_meter::energy_meter(const target &on) : on_(on) {
    const reflex::telemetry now = on.telemetry();
    // The counter of an integrated GPU leaves out the rest of the module.
    counted_ = on.info().integrated == 0 && !std::isnan(now.energy_counter_j);
    if (!counted_ && std::isnan(now.power_w)) return;
    source_ = counted_ ? "counter" : "power samples";
    thread_ = std::thread([this] { run(); });
}

void energy_meter::run() {
    double joules = 0, last_power = std::nan("");
    clock::time_point last;
    while (!done_) {
        const reflex::telemetry now = on_.telemetry();
        const clock::time_point at = clock::now();
        if (counted_) {
            joules = now.energy_counter_j;
        } else if (const auto power = static_cast<double>(now.power_w); !std::isnan(power)) {
            if (!std::isnan(last_power)) joules += (last_power + power) / 2 * seconds_between(last, at);
            last_power = power;
            last = at;
        }
        if (!std::isnan(joules)) {
            const std::lock_guard<std::mutex> lock(mutex_);
            // Only where it moves: between two such points it has grown evenly, more or less.
            if (samples_.empty() || samples_.back().joules != joules) samples_.push_back({at, joules});
        }
        std::this_thread::sleep_for(counted_ ? counter_period : power_period);
    }
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
