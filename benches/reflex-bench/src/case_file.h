// Problems of the library's ops from `cases/`, which the Rust tests read as well; cases/README.md describes the form. The files are
// compiled into the program.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <reflex/infer.h>

namespace bench {

// A list, or a descriptor that somebody typed, is not as it should be.
class case_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

enum class tier { smoke, full };

// One problem: a value for every key of its op.
class descriptor {
public:
    // Keys in the order in which they are shown, with their defaults; a key without one has to be given.
    struct known_key {
        std::string name, value;
        bool has_default;
    };

    descriptor(const std::string &op, tier in, const std::vector<known_key> &keys,
               const std::map<std::string, std::string> &given);

    const std::string &op() const { return op_; }
    tier in() const { return tier_; }
    // The words that differ from the defaults: the problem's name everywhere, and what repeats it alone.
    const std::string &text() const { return text_; }

    // Values of keys that the op has.
    const std::string &get(const std::string &key) const;
    bool is(const std::string &key, const char *value) const { return get(key) == value; }
    int64_t whole(const std::string &key) const;
    float number(const std::string &key) const;
    bool flag(const std::string &key) const;
    reflex_dtype dtype(const std::string &key) const;
    // "7/8/20x130/0..4": the third number 130 times, then those from 0 to 3. "none": no number.
    std::vector<int64_t> list(const std::string &key) const;
    // "512+3b": 512 and three blocks of the format; types without blocks count 32.
    int64_t elements(const std::string &key, reflex_dtype format) const;
    // The keys that differ from their defaults.
    const std::vector<std::string> &changed() const { return changed_; }

private:
    [[noreturn]] void fail(const std::string &key, const std::string &expected) const;
    int64_t parsed(const std::string &key, const std::string &text) const;

    std::string op_, text_;
    tier tier_;
    std::map<std::string, std::string> values_;
    std::vector<std::string> changed_;
};

class problem_list {
public:
    problem_list(std::string op, const std::string &text);

    const std::vector<descriptor> &all() const { return all_; }
    // What words such as "rows=3 dim=77" describe, in the list or not.
    std::vector<descriptor> read(const std::string &words) const;

private:
    // Keys, and the values that they take together.
    using word = std::pair<std::vector<std::string>, std::vector<std::vector<std::string>>>;

    void line(const std::string &code);
    void heading(const std::string &code);
    word read_word(const std::string &text) const;
    std::vector<descriptor> expand(tier in, const std::vector<word> &shared, const std::string &line) const;
    void add(descriptor problem);

    std::string op_;
    std::vector<descriptor::known_key> keys_;
    std::map<std::string, std::string> sets_;
    bool in_section_ = false;
    tier section_ = tier::full;
    std::vector<word> shared_;
    std::vector<descriptor> all_;
};

// What the lists call a type, and the type that they call so; REFLEX_DTYPE_NONE where there is none.
std::string name_in_lists(reflex_dtype dtype);
reflex_dtype dtype_in_lists(const std::string &name);

// Ops that have a list, and the list of one of them.
std::vector<std::string> case_ops();
const problem_list &cases_of(const std::string &op);
// The problems that a text such as "norm rows=3 dim=77" describes.
std::vector<descriptor> read_case(const std::string &text);

// How far a kernel's results may be from the CPU backend's, as the end of a list says it. The kernel's name may go on with `@` and what the
// bound depends on besides.
struct bound {
    double absolute, relative;
    bool exact;
};
bound bound_of(const std::string &kernel);

}  // namespace bench
