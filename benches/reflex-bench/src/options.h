// The command line.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <reflex/infer.h>

#include "case_file.h"

namespace bench {

// Wrong usage: one line and exit status 2.
class usage_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

enum class command { help, ops, ceiling, tune, model, check };

struct matmul_shape {
    int64_t rows;  // 0: those of --rows
    int64_t n, k;
};

// How a matmul of block formats is computed.
enum class compute {
    exact,
    // In 8-bit integers, of an x of ACT_I8, as the op before it leaves it.
    int8,
    // The same of a float x, which the matmul quantises first.
    int8_quantize
};

struct options {
    command what = command::help;
    std::vector<std::string> ops;     // empty: all
    std::vector<descriptor> cases;    // empty: those of the shapes (ops), of the tier (check)
    bool full = false;                // check: the full tier
    std::vector<std::string> models;  // whose shapes
    std::vector<matmul_shape> shapes;
    std::vector<reflex_dtype> dtypes;    // of weights; empty: the usual ones
    std::vector<bool> packed = {false};  // layouts of block formats
    std::vector<compute> computes = {compute::exact};
    std::vector<int64_t> rows;             // empty: 1 and 512
    std::vector<int64_t> sequences = {1};  // that a model decodes at once, one run after the other
    std::vector<int64_t> contexts;         // empty: 1024, 4096, 16384
    reflex_dtype activations = REFLEX_DTYPE_F32;
    uint32_t sm_count = 0;  // 0: all
    bool cold = true;
    bool cpu = false;
    int32_t device = 0;
    double seconds = 0.15;  // of samples for each case
    std::string json, markdown, compare, resources, commit;
    // REFLEX_AS, REFLEX_IMPL and REFLEX_TUNING of the library, which are for tests and benches.
    std::string as, impl, tuning;
    // Of `tune`: entries or ops, empty for all; the table that it starts from, and where the one that it found goes.
    std::vector<std::string> parameters;
    std::string table, out;
    std::string model, llm;
    std::vector<std::string> llm_arguments;
};

// The ops of the library, as include/reflex/api.json names them.
const std::vector<std::string> &op_names();
const char *compute_name(compute how);
// The models whose shapes --shapes knows.
std::vector<std::string> shape_names();

options parse_options(int argc, const char *const *argv);
// Takes what the environment asks the library for, where no option asks for something else: a result file tells of it.
void adopt_environment(options &out);
std::string usage_text();

}  // namespace bench
