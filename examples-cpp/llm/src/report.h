// What the program says about a run, on standard error.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "bandwidth.h"
#include "bench.h"
#include "device.h"
#include "engine.h"
#include "generate.h"
#include "model_file.h"
#include "perplexity.h"

namespace llm {

// What every report begins with.
struct run_facts {
    const device &owner;
    const model_config &config;
    const model_tensors &tensors;
    const engine &model;
    double load_seconds;
};

void report_generation(const run_facts &facts, const generation &result, const bandwidth &memory);
void report_perplexity(const run_facts &facts, const perplexity_result &result);
void report_bench_header(const run_facts &facts, const bandwidth &memory);
void report_bench_row(const bench_result &result);

// The measurements for machines. Throws std::system_error when the file cannot be written.
void write_bench_json(const std::string &path, const run_facts &facts, const bandwidth &memory,
                      const std::vector<bench_result> &results);

}  // namespace llm
