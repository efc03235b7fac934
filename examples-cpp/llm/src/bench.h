// Speed of prefill and decode, as medians of repetitions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bandwidth.h"
#include "engine.h"
#include "interrupt.h"
#include "model_file.h"

namespace llm {

struct bench_result {
    std::string test;          // "prefill" or "decode"
    uint32_t tokens;           // of each sequence, processed in one repetition
    uint32_t depth;            // of each sequence, in the cache before
    uint32_t sequences;        // at once
    double tokens_per_second;  // of all sequences, median
    double slowest, fastest;   // of the repetitions
    size_t repetitions;
    double floor_fraction;  // decode: share of the time that reading the weights alone would take; otherwise 0
};

// Prefill of 512 and 2048 tokens of one sequence, and decode of all the engine has, behind several lengths of context, as far as the model's context reaches. A step reads
// `bytes_per_step` of weights. `done` is told each result as it comes; where `stop` says so, the test that is running is dropped and
// those behind it are not begun.
std::vector<bench_result> run_bench(engine &model, const model_config &config, uint64_t bytes_per_step,
                                    const bandwidth &memory, void (*done)(const bench_result &),
                                    const stop_request &stop);

}  // namespace llm
