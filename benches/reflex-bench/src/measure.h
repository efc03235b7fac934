// The one way a time is taken: replays of a graph of launches that go round over sets of operands.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cases.h"
#include "statistics.h"
#include "target.h"

namespace bench {

struct measurement {
    summary us;                     // of one launch
    size_t sets = 0, launches = 0;  // in one replay
    // Cold by going round over more than four times L2, or by flushing it before every replay; "warm"; or "host" on the CPU.
    std::string cache;
    double sm_mhz = 0;
    std::string clock_source;
    std::string kernel;
    double bytes = 0, flops = 0;

    double bytes_per_second() const { return us.median > 0 ? bytes / us.median * 1e6 : 0; }
    double flops_per_second() const { return us.median > 0 ? flops / us.median * 1e6 : 0; }
    double bytes_per_clock_sm(uint32_t sm_count) const {
        const double clocks = us.median * sm_mhz * sm_count;
        return clocks > 0 ? bytes / clocks : 0;
    }
};

// How many sets of `bytes` make a run cold, and whether L2 has to be flushed between replays as well.
struct rotation {
    size_t sets;
    bool flush;
};
rotation plan_rotation(double bytes, uint64_t l2_bytes, bool cold);

// Launches in one replay: whole rounds, long enough to be timed, short enough to be captured. Where even one round is long, it is cut
// short and L2 is flushed instead.
struct replay_plan {
    size_t launches;
    bool flush;
};
replay_plan plan_replay(const rotation &how, double estimate_us, bool cold);

// The SMs' clock while `work` runs, which takes `work_us`. Asked for apart from what is timed, which the question would delay.
struct busy_clock {
    double mhz;
    std::string source;  // "nvml", "sysfs", or "nominal": unknown, and the top clock taken
};
busy_clock clock_under(const target &on, const std::function<void()> &work, double work_us);

// Samples of `replay` until `seconds` have passed: at least 5 of them, at most 400. `before` runs untimed before each.
std::vector<double> sample_replays(const target &on, const std::function<void()> &replay,
                                   const std::function<void()> &before, double seconds);

// Throws reflex::error where the library has no kernel for the case.
measurement measure(target &on, const bench_case &what, bool cold, double seconds);

}  // namespace bench
