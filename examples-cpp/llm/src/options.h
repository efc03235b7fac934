// The command line of reflex-llm.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "modes.h"

namespace llm {

// A command line that cannot be obeyed; the message is one line. The program ends with status 2.
class usage_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

enum class run_mode { generate, chat, perplexity, bench, help, version };
enum class backend_choice { automatic, cuda, cpu };

struct options {
    run_mode mode = run_mode::generate;
    std::string model;
    std::string prompt;     // with --chat the first turn; empty: none
    std::string system;     // --system
    std::string text_file;  // --perplexity
    std::string bench_json;
    int32_t predict = 128;     // -1, and what --chat begins with: until the model ends or the context is full
    uint32_t context = 0;      // 0: what the model was made for, at most 4096
    uint32_t batch = 512;      // rows per prefill step
    uint32_t parallel = 1;     // sequences decoded at once
    float temperature = 0.0f;  // 0: greedy
    uint32_t top_k = 40;       // 0: off
    float top_p = 0.95f;       // 1: off
    float min_p = 0.05f;       // 0: off
    uint64_t seed = 0;
    backend_choice backend = backend_choice::automatic;
    uint32_t device = 0;
    uint32_t threads = 0;  // of the CPU backend; 0: one per core
    compute_mode compute = compute_mode::int8;
    weight_placement weights = weight_placement::automatic;
    bool graph = true;
    bool parse_control = false;
};

// Throws usage_error. Reads the file of --file, or standard input, into `prompt`.
options parse_options(int argc, const char *const *argv);

std::string usage_text();

// The whole of a file, a pipe or, for "-", standard input; throws std::system_error naming it.
std::string read_text_file(const std::string &path);

}  // namespace llm
