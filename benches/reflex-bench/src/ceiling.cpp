#include "ceiling.h"

#include <algorithm>
#include <chrono>

#include "measure.h"

namespace bench {
namespace {

constexpr double seconds_each = 0.05;
constexpr size_t launches_in_graph = 512;

// Far more than L2 holds: 64 times, so that what is left there from the last pass is a percent or two; at most 1/8 of what is free.
size_t read_buffer_bytes(const target &on) {
    const uint64_t wanted = std::max<uint64_t>(64 * on.l2_bytes(), 256 << 20);
    return static_cast<size_t>(std::min(wanted, on.free_memory() / 8) / 4096 * 4096);
}

struct read_shape {
    int in_flight;
    uint32_t blocks_per_sm, threads;
};

void find_read(target &on, ceilings &out) {
    const size_t bytes = read_buffer_bytes(on);
    const reflex::device_buffer buffer(on.owner(), bytes + 256);
    on.fill(buffer.get(), bytes, REFLEX_DTYPE_F32);
    void *sink = static_cast<uint8_t *>(buffer.get()) + bytes;
    const auto read = [&](const read_shape &s) {
        on.cuda().read(buffer.get(), bytes, sink, s.in_flight, s.blocks_per_sm * on.sm_count(), s.threads);
    };
    out.read_bytes = static_cast<double>(bytes);
    // Clocks ramp up under load.
    sample_replays(on, [&] { read({8, 8, 512}); }, nullptr, 0.2);
    read_shape best{};
    for (const int in_flight : {4, 8}) {
        for (const uint32_t threads : {256u, 512u, 1024u}) {
            for (const uint32_t blocks : {1u, 2u, 4u, 8u, 16u}) {
                // Neither a fraction of what an SM holds, nor many waves.
                if (blocks * threads < 1024 || blocks * threads > 8192) continue;
                const read_shape shape{in_flight, blocks, threads};
                const summary us = summarise(sample_replays(on, [&] { read(shape); }, nullptr, 0.02));
                if (out.read_us.samples == 0 || us.median < out.read_us.median) {
                    out.read_us = us;
                    best = shape;
                }
            }
        }
    }
    out.read_without_graph = out.read_bytes / out.read_us.median * 1e6;
    const auto graph = on.record([&] { read(best); });
    out.read_us = summarise(sample_replays(on, [&] { graph->replay(); }, nullptr, 4 * seconds_each));
    const busy_clock clock = clock_under(on, [&] { graph->replay(); }, out.read_us.median);
    out.read = out.read_bytes / out.read_us.median * 1e6;
    out.sm_mhz = clock.mhz;
    out.clock_source = clock.source;
    out.read_kernel = "read" + std::to_string(best.in_flight) + ", " + std::to_string(best.blocks_per_sm) +
                      " blocks of " + std::to_string(best.threads) + " threads per SM";
}

void find_copy(target &on, ceilings &out) {
    const size_t bytes = read_buffer_bytes(on) / 2;
    const reflex::device_buffer from(on.owner(), bytes), to(on.owner(), bytes);
    on.fill(from.get(), bytes, REFLEX_DTYPE_F32);
    const auto copy = [&] { reflex::check(reflex_memcpy(on.context(), to.get(), from.get(), bytes, on.stream())); };
    out.copy_us = summarise(sample_replays(on, copy, nullptr, seconds_each));
    out.copy = 2.0 * static_cast<double>(bytes) / out.copy_us.median * 1e6;
}

summary in_graph(const target &on, const std::function<void()> &launch) {
    launch();  // loads the kernel, which a capture must not wait for
    on.synchronize();
    const auto graph = on.record([&] {
        for (size_t i = 0; i < launches_in_graph; ++i) launch();
    });
    std::vector<double> us = sample_replays(on, [&] { graph->replay(); }, nullptr, seconds_each);
    for (double &t : us) t /= launches_in_graph;
    return summarise(std::move(us));
}

void find_launch(target &on, ceilings &out) {
    out.graph_launch_us = in_graph(on, [&] { on.cuda().empty_kernel(); });

    const reflex::device_buffer memory(on.owner(), 3 * 256);
    on.fill(memory.get(), memory.size(), REFLEX_DTYPE_F32);
    auto *base = static_cast<uint8_t *>(memory.get());
    reflex::add_params p;
    p.a = reflex::tensor(base, REFLEX_DTYPE_F32, {1, 1});
    p.b = reflex::tensor(base + 256, REFLEX_DTYPE_F32, {1, 1});
    p.y = reflex::tensor(base + 512, REFLEX_DTYPE_F32, {1, 1});
    const auto add_one = [&] { reflex::check(reflex_add(on.context(), &p, on.stream())); };
    out.add_one_us = in_graph(on, add_one);

    // The host's share alone: few enough that none waits for room in the queue.
    std::vector<double> host;
    constexpr int launches = 256;
    for (int pass = 0; pass < 20; ++pass) {
        on.synchronize();
        const auto start = std::chrono::steady_clock::now();
        for (int i = 0; i < launches; ++i) add_one();
        const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - start;
        host.push_back(spent.count() / launches);
    }
    on.synchronize();
    out.host_launch_us = summarise(std::move(host));
}

json spread(const summary &s) {
    json out = json::object();
    out.set("median", s.median).set("min", s.min).set("p10", s.p10).set("p90", s.p90).set("max", s.max);
    return out.set("samples", s.samples);
}

}  // namespace

json ceilings::to_json(uint32_t sm_count) const {
    json out = json::object();
    out.set("read_gb_s", read / 1e9).set("read_us", spread(read_us)).set("read_bytes", read_bytes);
    out.set("read_kernel", read_kernel).set("read_without_graph_gb_s", read_without_graph / 1e9);
    out.set("read_bytes_per_clock_sm", read_bytes_per_clock_sm(sm_count));
    out.set("sm_mhz", sm_mhz).set("clock_source", clock_source);
    if (copy > 0) {
        out.set("copy_gb_s", copy / 1e9).set("copy_us", spread(copy_us));
        out.set("graph_launch_us", spread(graph_launch_us)).set("add_one_us", spread(add_one_us));
        out.set("host_launch_us", spread(host_launch_us));
    }
    return out;
}

ceilings measure_read_ceiling(target &on) {
    ceilings out;
    find_read(on, out);
    return out;
}

ceilings measure_ceilings(target &on) {
    ceilings out = measure_read_ceiling(on);
    find_copy(on, out);
    find_launch(on, out);
    return out;
}

}  // namespace bench
