// Results as rows: for the table, for JSON, and to be compared with earlier ones.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cases.h"
#include "ceiling.h"
#include "measure.h"

namespace bench {

struct kernel_resources {
    int registers = 0, static_shared = 0, spills = 0;
};

// Rows of kernel-resources.tsv for the architecture that a device of `sm` runs: its own, or the greatest below it.
std::map<std::string, kernel_resources> read_resources(const std::string &path, uint32_t sm);

struct result {
    std::string op, name, model, shape_text, dtype;
    std::vector<std::pair<std::string, int64_t>> shape;
    int64_t batch = 1, context = 0;
    std::string activations;
    std::string computed;  // empty: exact
    uint32_t sm_count = 0;
    std::string as;  // a board in the device's place
    measurement measured;
    double ceiling_fraction = 0;  // of the read ceiling of the same run, 0 where there is none
    std::optional<kernel_resources> resources;
    std::optional<double> before_us;  // in the file given to --compare
    std::string error;                // not measured

    json to_json() const;
    // Equal for the same work on as many SMs, as the same board, with the same caches.
    std::string key() const;
};

std::string key_of(const json &row);
// Medians by key. Throws json_error where the file is no result file of ops.
std::map<std::string, double> read_baseline(const std::string &path);

std::string text_table(const std::vector<result> &results);
std::string markdown_table(const std::vector<result> &results);
std::string ceiling_text(const ceilings &c, uint32_t sm_count);

__attribute__((format(printf, 1, 2))) std::string format(const char *pattern, ...);

}  // namespace bench
