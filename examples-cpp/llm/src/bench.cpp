#include "bench.h"

#include <algorithm>
#include <chrono>
#include <functional>

namespace llm {
namespace {

constexpr uint32_t decode_steps = 64;
constexpr size_t least_repetitions = 7;
// Seconds of repetitions: as many as energy counters want, where a test is short; and as many as a test may take, which is measured once
// whatever that takes.
constexpr double least_time = 1, time_budget = 10;

double seconds_of(const std::function<void()> &body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Runs `body` once to warm up, then repeatedly, and sets the rates. After a stop nothing of the result is of use.
void repeat(bench_result &result, const stop_request &stop, const std::function<void()> &prepare,
            const std::function<void()> &body) {
    prepare();
    double spent = seconds_of(body);
    std::vector<double> rates;
    double measured = 0;
    while (rates.empty() || ((rates.size() < least_repetitions || measured < least_time) && spent < time_budget)) {
        if (stop()) return;
        prepare();
        const double seconds = seconds_of(body);
        measured += seconds;
        rates.push_back(uint64_t{result.tokens} * result.sequences / seconds);
        spent += seconds;
    }
    std::sort(rates.begin(), rates.end());
    result.slowest = rates.front();
    result.fastest = rates.back();
    result.repetitions = rates.size();
    const size_t middle = rates.size() / 2;
    result.tokens_per_second = rates.size() % 2 != 0 ? rates[middle] : (rates[middle - 1] + rates[middle]) / 2;
}

// Speed does not depend on which tokens these are.
std::vector<token_id> some_tokens(uint32_t count, uint32_t vocab) {
    std::vector<token_id> out(count);
    for (uint32_t i = 0; i < count; ++i) out[i] = static_cast<token_id>((uint64_t{i} * 7919 + 17) % vocab);
    return out;
}

bench_result bench_prefill(engine &model, uint32_t vocab, uint32_t tokens, const stop_request &stop) {
    bench_result result{"prefill", tokens, 0, 1, 0, 0, 0, 0, 0};
    const std::vector<token_id> input = some_tokens(tokens, vocab);
    repeat(
        result, stop, [&] { model.rewind(0); },
        [&] {
            model.append(input.data(), input.size(), stop);
            model.synchronize();
        });
    return result;
}

bench_result bench_decode(engine &model, uint32_t vocab, uint32_t depth, uint32_t steps, const stop_request &stop) {
    bench_result result{"decode", steps, depth, model.sequences(), 0, 0, 0, 0, 0};
    const std::vector<token_id> input = some_tokens(depth + 1, vocab);
    model.rewind(0);
    if (model.append(input.data(), depth, stop) < depth) return result;
    model.share();
    repeat(
        result, stop,
        [&] {
            model.rewind(depth);
            model.set_next(input[depth]);
            model.synchronize();
        },
        [&] {
            for (uint32_t i = 0; i < steps && !stop();) i += model.step(steps - i);
            model.synchronize();
        });
    return result;
}

}  // namespace

std::vector<bench_result> run_bench(engine &model, const model_config &config, uint64_t bytes_per_step,
                                    const bandwidth &memory, void (*done)(const bench_result &),
                                    const stop_request &stop) {
    std::vector<bench_result> results;
    const auto add = [&](bench_result result) {
        if (stop()) return;
        if (result.test == "decode" && memory.bytes_per_second > 0)
            result.floor_fraction = static_cast<double>(bytes_per_step) * result.tokens_per_second / result.sequences /
                                    memory.bytes_per_second;
        results.push_back(result);
        done(result);
    };
    const uint32_t context = model.context();
    std::vector<uint32_t> prefills, depths;
    for (const uint32_t tokens : {512u, 2048u}) {
        if (tokens <= context) prefills.push_back(tokens);
    }
    if (prefills.empty()) prefills.push_back(context);
    const uint32_t steps = std::min(decode_steps, std::max(1u, context / 2));
    for (const uint32_t depth : {0u, 512u, 4096u, 16384u, 32768u}) {
        if (depth + steps <= context) depths.push_back(depth);
    }
    // The deepest that the context allows, when none of the usual depths is near it.
    if (depths.back() < context / 2) depths.push_back(context - steps);

    for (const uint32_t tokens : prefills)
        if (!stop()) add(bench_prefill(model, config.vocab, tokens, stop));
    for (const uint32_t depth : depths)
        if (!stop()) add(bench_decode(model, config.vocab, depth, steps, stop));
    return results;
}

}  // namespace llm
