// reflex-bench tune: which numbers of a table of the library's src/tuning are fastest on this device.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "statistics.h"

namespace bench {

// An entry of the tables, as the library lists it.
struct tuning_parameter {
    std::string name;  // "matmul.warps"
    int64_t count;     // numbers of it: those of an array are "matmul.in_clusters.0" and so on
    int64_t least, most, step;
    std::string cases;           // options of `ops`; empty where nothing is tried
    std::vector<int64_t> tries;  // instead of the number in the table
};

const std::vector<tuning_parameter> &tuning_parameters();

// A file of src/tuning: lines `name: number, // source` in groups.
class tuning_table {
public:
    // Throws std::runtime_error where an entry is missing, is there twice or has other numbers than the list says.
    explicit tuning_table(const std::string &text);

    const std::vector<int64_t> &numbers(const std::string &name) const { return entries_.at(name).numbers; }
    // Puts a number and where it comes from in the place of what was there.
    void set(const std::string &name, size_t place, int64_t number, const std::string &source);
    std::string text() const;

private:
    struct entry {
        size_t line;
        std::vector<int64_t> numbers;
    };
    std::vector<std::string> lines_;
    std::map<std::string, entry> entries_;
};

// The times of some cases, by their keys. A case that was not measured is missing.
using case_times = std::map<std::string, summary>;

// The geometric mean of how many times as long the cases take as in `base`; infinite where one of them was not measured.
double slowdown(const case_times &base, const case_times &times);

// How far the same work is apart: between two runs of all cases, or within the samples of the middle case, whichever is more.
double spread_of(const case_times &first, const case_times &again);

}  // namespace bench
