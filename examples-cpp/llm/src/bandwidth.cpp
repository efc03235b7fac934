#include "bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace llm {
namespace {

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

constexpr int passes = 5;  // the fastest counts: anything else was disturbed

uint64_t sum_words(const uint8_t *data, uint64_t bytes) {
    // Four independent sums, so that the loop waits for memory and not for its own additions.
    uint64_t sums[4] = {0, 0, 0, 0};
    uint64_t at = 0;
    for (; at + 32 <= bytes; at += 32) {
        uint64_t words[4];
        std::memcpy(words, data + at, sizeof words);
        for (int i = 0; i < 4; ++i) sums[i] += words[i];
    }
    for (; at < bytes; ++at) sums[0] += data[at];
    return sums[0] + sums[1] + sums[2] + sums[3];
}

double measure_host_read(const model_tensors &tensors, unsigned threads) {
    std::atomic<uint64_t> sink{0};
    double best = 0;
    for (int pass = 0; pass < passes; ++pass) {
        const auto start = clock::now();
        std::vector<std::thread> workers;
        for (unsigned t = 0; t < threads; ++t) {
            workers.emplace_back([&, t] {
                uint64_t sum = 0;
                for (const gguf_tensor *tensor : tensors.all) {
                    const uint64_t begin = tensor->bytes * t / threads, end = tensor->bytes * (t + 1) / threads;
                    sum += sum_words(tensor->data + begin, end - begin);
                }
                sink += sum;
            });
        }
        for (std::thread &worker : workers) worker.join();
        best = std::max(best, static_cast<double>(tensors.bytes()) / seconds_since(start));
    }
    return best;
}

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

bandwidth find_bandwidth(const device &owner, const model_tensors &tensors) {
    if (owner.is_cpu()) {
        const unsigned threads = std::max(1u, owner.info().sm_count);
        return {measure_host_read(tensors, threads),
                "measured, weights read by " + std::to_string(threads) + (threads == 1 ? " thread" : " threads")};
    }
    const double nominal = owner.owner().profile().memory_bandwidth;
    if (nominal > 0) return {nominal, "nominal"};
    return {measure_device_copy(owner), "measured by a copy, reads and writes counted"};
}

}  // namespace llm
