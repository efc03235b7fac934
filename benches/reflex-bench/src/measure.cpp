#include "measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace bench {
namespace {

using clock = std::chrono::steady_clock;

constexpr size_t alignment = 256;
constexpr double rotated_l2 = 4;        // a run is cold when it goes round over this many times L2
constexpr size_t most_sets = 256;       // beyond, L2 is flushed between replays
constexpr size_t most_launches = 2048;  // in one replay
constexpr double replay_us =
    1500;  // a replay lasts about this long, which makes the gap between two of them negligible
constexpr double longest_replay_us = 20e3;
constexpr size_t least_samples = 5, most_samples = 400, samples_at_once = 5;
constexpr double clock_reading_us = 20e3;  // more than a reading of the device's state takes
constexpr int clock_readings = 3;

size_t aligned(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

// The operands of a case, as often as the rotation wants them.
class operand_sets {
public:
    operand_sets(target &on, const bench_case &what, size_t sets) {
        size_t set_bytes = 0, shared_bytes = 0;
        for (const operand &o : what.operands) (o.shared ? shared_bytes : set_bytes) += aligned(o.bytes());
        memory_ = reflex::device_buffer(on.owner(), std::max(shared_bytes + sets * set_bytes, alignment));
        auto *base = static_cast<uint8_t *>(memory_.get());
        uint8_t *shared = base + sets * set_bytes;
        std::vector<void *> shared_at;
        for (const operand &o : what.operands) {
            shared_at.push_back(o.shared ? shared : nullptr);
            if (!o.shared) continue;
            on.fill(view(o, shared), o.bytes());
            shared += aligned(o.bytes());
        }
        for (size_t s = 0; s < sets; ++s) {
            std::vector<reflex_tensor> tensors;
            for (size_t i = 0; i < what.operands.size(); ++i) {
                const operand &o = what.operands[i];
                void *data = shared_at[i];
                if (data == nullptr) {
                    data = base;
                    base += aligned(o.bytes());
                    prepare(on, o, data, s);
                }
                tensors.push_back(view(o, data));
            }
            calls_.push_back(what.make(tensors));
        }
        workspace_bytes_ = calls_.front()->workspace_bytes(on.context());
        if (workspace_bytes_ > 0) {
            workspace_ = reflex::device_buffer(on.owner(), workspace_bytes_);
            for (const auto &call : calls_) call->use_workspace(workspace_.get(), workspace_bytes_);
        }
    }

    const std::vector<std::unique_ptr<launch_call>> &calls() const { return calls_; }

private:
    static void prepare(target &on, const operand &o, void *data, size_t set) {
        switch (o.holds) {
            case content::values:
                on.fill(view(o, data), o.bytes());
                break;
            case content::integers: {
                const std::vector<int32_t> values = o.integers(set);
                on.upload(data, values.data(), values.size() * sizeof(int32_t));
                break;
            }
            case content::result:
                break;
        }
    }
    static reflex_tensor view(const operand &o, void *data) {
        reflex_tensor t{};
        t.data = data;
        t.dtype = o.dtype;
        for (const int64_t n : o.shape) t.shape[t.rank++] = n;
        return t;
    }

    reflex::device_buffer memory_, workspace_;
    size_t workspace_bytes_ = 0;
    std::vector<std::unique_ptr<launch_call>> calls_;
};

// Leaves a fifth of the memory to others.
rotation fit_memory(const rotation &how, const bench_case &what, uint64_t free_bytes) {
    double shared = 0, own = 0;
    for (const operand &o : what.operands) (o.shared ? shared : own) += static_cast<double>(aligned(o.bytes()));
    const double room = 0.8 * static_cast<double>(free_bytes) - shared;
    if (room < own)
        throw std::runtime_error("needs " + std::to_string(static_cast<uint64_t>((own + shared) / 1e6)) +
                                 " MB, the device has " + std::to_string(free_bytes / 1000000) + " MB free");
    const auto most = static_cast<size_t>(std::max(1.0, std::floor(room / std::max(own, 1.0))));
    if (most >= how.sets) return how;
    return {most, true};
}

// Bytes of a set that rotation pushes through L2.
double own_bytes(const bench_case &what) {
    double out = 0;
    for (const operand &o : what.operands) out += o.shared ? o.moved_bytes() : static_cast<double>(o.bytes());
    return out;
}

}  // namespace

rotation plan_rotation(double bytes, uint64_t l2_bytes, bool cold) {
    if (!cold) return {1, false};
    const double sets = std::floor(rotated_l2 * static_cast<double>(l2_bytes) / std::max(bytes, 1.0)) + 1;
    if (sets <= static_cast<double>(most_sets)) return {static_cast<size_t>(sets), false};
    return {most_sets, true};
}

replay_plan plan_replay(const rotation &how, double estimate_us, bool cold) {
    const auto sets = static_cast<double>(how.sets);
    const double estimate = std::max(estimate_us, 0.1);
    if (cold && sets * estimate > longest_replay_us) {
        return {static_cast<size_t>(std::clamp(std::floor(longest_replay_us / estimate), 1.0, sets)), true};
    }
    // Later rounds would find what the first has left in L2.
    if (how.flush) return {how.sets, true};
    const double rounds = std::ceil(replay_us / estimate / sets);
    const double most = std::max(1.0, std::floor(static_cast<double>(most_launches) / sets));
    return {how.sets * static_cast<size_t>(std::clamp(rounds, 1.0, most)), false};
}

busy_clock clock_under(const target &on, const std::function<void()> &work, double work_us) {
    const int times = static_cast<int>(std::clamp(std::ceil(clock_reading_us / std::max(work_us, 1.0)), 1.0, 1000.0));
    std::vector<double> mhz;
    for (int i = 0; i < clock_readings; ++i) {
        for (int j = 0; j < times; ++j) work();
        // 0 is a gated clock, which a busy device does not have.
        if (const float now = on.telemetry().gpu_clock_mhz; now > 0) mhz.push_back(static_cast<double>(now));
        on.synchronize();
    }
    if (mhz.empty()) return {on.nominal_mhz(), "nominal"};
    return {median(mhz), on.clock_source()};
}

std::vector<double> sample_replays(const target &on, const std::function<void()> &replay,
                                   const std::function<void()> &before, double seconds) {
    std::vector<target::step> steps;
    const auto make_steps = [&](size_t count) {
        steps.clear();
        for (size_t i = 0; i < count; ++i) {
            if (before) steps.push_back({before, false});
            steps.push_back({replay, true});
        }
    };
    make_steps(2);
    const std::vector<double> first = on.time(steps);  // warm-up
    // Few slow ones at a time, or the last batch overruns its time.
    make_steps(first.back() * static_cast<double>(samples_at_once) > seconds * 1e6 ? 1 : samples_at_once);
    std::vector<double> out;
    const auto start = clock::now();
    const auto spent = [&] { return std::chrono::duration<double>(clock::now() - start).count(); };
    while (out.size() < least_samples || (spent() < seconds && out.size() < most_samples)) {
        for (const double us : on.time(steps)) out.push_back(us);
        // A single replay that takes this long needs no company.
        if (spent() > 20 * seconds) break;
    }
    return out;
}

measurement measure(target &on, const bench_case &what, bool cold, double seconds) {
    rotation how = plan_rotation(own_bytes(what), on.l2_bytes(), cold);
    if (!on.is_cuda()) how = {std::min<size_t>(how.sets, 2), false};
    how = fit_memory(how, what, on.free_memory());
    operand_sets sets(on, what, how.sets);

    measurement out;
    out.sets = how.sets;
    out.bytes = what.bytes();
    out.flops = what.flops;
    out.kernel = sets.calls().front()->kernel(on.context());

    const auto launch_from = [&](size_t first, size_t count) {
        for (size_t i = 0; i < count; ++i) sets.calls()[(first + i) % how.sets]->launch(on.context(), on.stream());
    };
    if (!on.is_cuda()) {
        const auto replay = on.record([&] { launch_from(0, how.sets); });
        std::vector<double> times = on.time({{[&] { replay->replay(); }, true}, {[&] { replay->replay(); }, true}});
        for (double &us : times) us /= static_cast<double>(how.sets);
        out.launches = how.sets;
        out.cache = "host";
        out.us = summarise(std::move(times));
        return out;
    }

    // The first launch loads the kernel; the next ones say how long a replay should be.
    const size_t probes = std::min<size_t>(how.sets, 8);
    launch_from(0, 1);
    const double estimate = on.time({{[&] { launch_from(0, probes); }, true}}).front() / static_cast<double>(probes);
    const replay_plan plan = plan_replay(how, estimate, cold);
    out.launches = plan.launches;
    out.cache = !cold ? "warm" : plan.flush ? "cold (flushed)" : "cold (rotated)";
    const auto replay = on.record([&] { launch_from(0, out.launches); });

    const std::function<void()> flush = plan.flush ? std::function<void()>([&] { on.flush_l2(); }) : nullptr;
    std::vector<double> times = sample_replays(on, [&] { replay->replay(); }, flush, seconds);
    const busy_clock clock = clock_under(
        on,
        [&] {
            if (flush) flush();
            replay->replay();
        },
        median(times));
    out.sm_mhz = clock.mhz;
    out.clock_source = clock.source;
    for (double &us : times) us /= static_cast<double>(out.launches);
    out.us = summarise(std::move(times));
    return out;
}

}  // namespace bench
