#include "tune.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>

#include "commands.h"
#include "measure.h"
#include "progress.h"
#include "result.h"

namespace bench {
namespace {

std::string read_text_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    if (!(text << file.rdbuf())) throw std::runtime_error("cannot read " + path);
    return text.str();
}

// "1, 2" or "[1, 2]".
std::vector<int64_t> numbers_in(const std::string &text) {
    std::vector<int64_t> out;
    std::string digits;
    for (const char c : text + " ") {
        if (std::isdigit(static_cast<unsigned char>(c)) != 0) {
            digits += c;
        } else if (!digits.empty()) {
            out.push_back(std::stoll(digits));
            digits.clear();
        }
    }
    return out;
}

std::string written(const std::vector<int64_t> &numbers) {
    std::string out;
    for (const int64_t number : numbers) out += (out.empty() ? "" : ", ") + std::to_string(number);
    return numbers.size() == 1 ? out : "[" + out + "]";
}

// What stands between numbers and their source.
const std::string before_source = ", // ";

std::string full_name(const tuning_parameter &parameter, size_t place) {
    return parameter.count == 1 ? parameter.name : parameter.name + "." + std::to_string(place);
}

// The options for the cases of a parameter: its own, and what the command line says of shapes, types and the device.
options case_options(const tuning_parameter &parameter, const options &wanted) {
    std::vector<std::string> words = {"reflex-bench", "ops"};
    std::istringstream in(parameter.cases);
    for (std::string word; in >> word;) words.push_back(word);
    std::vector<const char *> arguments;
    for (const std::string &word : words) arguments.push_back(word.c_str());
    options out = parse_options(static_cast<int>(arguments.size()), arguments.data());
    if (out.dtypes.empty()) out.dtypes = wanted.dtypes;
    if (out.dtypes.empty()) out.dtypes = {REFLEX_DTYPE_Q4_K, REFLEX_DTYPE_Q6_K, REFLEX_DTYPE_Q8_0};
    // Hundreds of rows take a CPU minutes, and tell nothing. Attention of many queries has at least two.
    if (wanted.cpu) out.rows = {1, 2};
    out.models = wanted.models;
    out.shapes = wanted.shapes;
    out.activations = wanted.activations;
    out.cold = wanted.cold;
    out.seconds = wanted.seconds;
    out.cpu = wanted.cpu;
    out.device = wanted.device;
    out.sm_count = wanted.sm_count;
    out.as = wanted.as;
    out.impl = wanted.impl;
    return out;
}

std::string key_of_case(const bench_case &what) {
    return what.name + " " + what.shape_text() + " " + what.dtype + (what.computed.empty() ? "" : " " + what.computed);
}

bool asked_for(const tuning_parameter &parameter, const options &wanted) {
    if (parameter.cases.empty()) return false;
    if (wanted.parameters.empty()) return true;
    const std::string op = parameter.name.substr(0, parameter.name.find('.'));
    return std::any_of(wanted.parameters.begin(), wanted.parameters.end(),
                       [&](const std::string &name) { return name == parameter.name || name == op; });
}

json spread_json(const summary &s) {
    json out = json::object();
    return out.set("median", s.median).set("p10", s.p10).set("p90", s.p90).set("samples", s.samples);
}

class search {
public:
    search(const options &wanted, tuning_table table) : wanted_(wanted), table_(std::move(table)) {}

    // Every number of the parameter, one after the other.
    void tune(const tuning_parameter &parameter) {
        const options how = case_options(parameter, wanted_);
        const std::vector<bench_case> cases = list_cases(how);
        for (size_t place = 0; place < static_cast<size_t>(parameter.count); ++place)
            tune_number(parameter, place, how, cases);
    }

    // What was found, with the source that the table names.
    tuning_table written_table(const std::string &source) const {
        tuning_table out = table_;
        for (const change &c : changes_) out.set(c.name, c.place, c.number, source);
        return out;
    }
    size_t changes() const { return changes_.size(); }
    const json &results() const { return results_; }

private:
    struct change {
        std::string name;
        size_t place;
        int64_t number;
    };

    // All numbers of the table as they are now, with this one in the place of its own.
    std::string numbers_with(const std::string &name, int64_t number) const {
        std::string out;
        for (const tuning_parameter &p : tuning_parameters()) {
            const auto &numbers = table_.numbers(p.name);
            for (size_t i = 0; i < numbers.size(); ++i) {
                const std::string full = full_name(p, i);
                out += (out.empty() ? "" : ",") + full + "=" + std::to_string(full == name ? number : numbers[i]);
            }
        }
        return out;
    }

    case_times measure_all(const options &how, const std::vector<bench_case> &cases, const std::string &name,
                           int64_t number) {
        options with = how;
        with.tuning = numbers_with(name, number);
        target on(with);
        case_times out;
        for (const bench_case &what : cases) {
            status_.say(name + "=" + std::to_string(number) + " " + key_of_case(what));
            try {
                out[key_of_case(what)] = measure(on, what, with.cold, with.seconds).us;
            } catch (const reflex::error &error) {
                // No kernel for it: a gap, which keeps the number from being chosen.
                if (error.status() != REFLEX_UNSUPPORTED) throw;
            }
        }
        status_.clear();
        return out;
    }

    void tune_number(const tuning_parameter &parameter, size_t place, const options &how,
                     const std::vector<bench_case> &cases) {
        const std::string name = full_name(parameter, place);
        const int64_t old = table_.numbers(parameter.name)[place];
        const case_times base = measure_all(how, cases, name, old);
        json tried = json::array();
        int64_t best = old;
        double least = 1;
        std::map<int64_t, case_times> times;
        for (const int64_t number : parameter.tries) {
            if (number != old) times[number] = measure_all(how, cases, name, number);
        }
        const case_times again = measure_all(how, cases, name, old);
        const double spread = spread_of(base, again);
        for (const auto &[number, of_number] : times) {
            const double ratio = slowdown(base, of_number);
            json row = json::object();
            row.set("number", static_cast<long long>(number)).set("times_as_long", ratio);
            tried.push(std::move(row));
            if (ratio < least) {
                least = ratio;
                best = number;
            }
        }
        // Times of a CPU are no measurement.
        const bool wins = !wanted_.cpu && 1 - least > spread;
        if (!wins) best = old;
        std::printf("%-36s %8lld -> %-8lld  best %+.1f%%, spread %.1f%%, %zu cases\n", name.c_str(),
                    static_cast<long long>(old), static_cast<long long>(best), (1 - least) * 100, spread * 100,
                    cases.size());
        std::fflush(stdout);
        json row = json::object(), of_cases = json::array();
        row.set("parameter", name)
            .set("before", static_cast<long long>(old))
            .set("after", static_cast<long long>(best));
        row.set("spread", spread).set("tried", std::move(tried));
        for (const auto &[key, us] : base) {
            json one = json::object();
            one.set("case", key).set(std::to_string(old), spread_json(us));
            for (const auto &[number, of_number] : times) {
                if (const auto found = of_number.find(key); found != of_number.end())
                    one.set(std::to_string(number), spread_json(found->second));
            }
            of_cases.push(std::move(one));
        }
        results_.push(row.set("cases", std::move(of_cases)));
        if (best == old) return;
        changes_.push_back({parameter.name, place, best});
        // The next ones are tried beside it.
        table_.set(parameter.name, place, best, "found in this run");
    }

    const options &wanted_;
    tuning_table table_;
    std::vector<change> changes_;
    json results_ = json::array();
    progress status_;
};

// "benches/results/h200/tune.json (NVIDIA H200 as orin-nano, commit 0123abc, 2026-12-01)".
std::string source_of(const options &wanted, const json &environment) {
    const std::string as = wanted.as.empty() ? "" : " as " + wanted.as;
    return wanted.json + " (" + environment["gpu"].text() + as + ", " +
           format("%.0f SMs", environment["sm_count"].number()) + ", commit " + environment["commit"].text() + ", " +
           environment["time"].text().substr(0, 10) + ")";
}

}  // namespace

const std::vector<tuning_parameter> &tuning_parameters() {
    static const std::vector<tuning_parameter> all = {
#include "tuning.inc"
    };
    return all;
}

tuning_table::tuning_table(const std::string &text) {
    std::istringstream in(text);
    std::string group;
    for (std::string line; std::getline(in, line);) {
        lines_.push_back(line);
        const size_t name_at = line.find_first_not_of(' '), colon = line.find(": ");
        if (colon == std::string::npos || name_at > colon) continue;
        const std::string name = line.substr(name_at, colon - name_at);
        const size_t source = line.find(before_source);
        if (name_at == 4 && line.back() == '{') {
            group = name;
        } else if (name_at == 8 && source != std::string::npos) {
            const bool added = entries_
                                   .emplace(group + "." + name,
                                            entry{lines_.size() - 1, numbers_in(line.substr(colon, source - colon))})
                                   .second;
            if (!added) throw std::runtime_error("the table has " + group + "." + name + " twice");
        }
    }
    for (const tuning_parameter &parameter : tuning_parameters()) {
        const auto found = entries_.find(parameter.name);
        if (found == entries_.end()) throw std::runtime_error("the table has no " + parameter.name);
        if (found->second.numbers.size() != static_cast<size_t>(parameter.count))
            throw std::runtime_error(parameter.name + " of the table has " +
                                     std::to_string(found->second.numbers.size()) + " numbers, expected " +
                                     std::to_string(parameter.count));
    }
}

void tuning_table::set(const std::string &name, size_t place, int64_t number, const std::string &source) {
    entry &found = entries_.at(name);
    found.numbers.at(place) = number;
    lines_[found.line] =
        "        " + name.substr(name.find('.') + 1) + ": " + written(found.numbers) + before_source + source;
}

std::string tuning_table::text() const {
    std::string out;
    for (const std::string &line : lines_) out += line + "\n";
    return out;
}

double slowdown(const case_times &base, const case_times &times) {
    double sum = 0;
    for (const auto &[key, us] : base) {
        const auto found = times.find(key);
        if (found == times.end()) return std::numeric_limits<double>::infinity();
        sum += std::log(found->second.median / us.median);
    }
    return base.empty() ? 1 : std::exp(sum / static_cast<double>(base.size()));
}

double spread_of(const case_times &first, const case_times &again) {
    std::vector<double> within;
    for (const auto &[key, us] : first) within.push_back((us.p90 - us.p10) / 2 / us.median);
    return std::max(std::fabs(slowdown(first, again) - 1), median(std::move(within)));
}

int run_tune(const options &wanted) {
    search found(wanted, tuning_table(read_text_file(wanted.table)));
    json environment;
    {
        const target on(wanted);
        environment = on.environment(wanted);
        std::printf("%s, %u SMs%s%s\n", on.info().name, on.sm_count(), wanted.as.empty() ? "" : " as ",
                    wanted.as.c_str());
        if (wanted.cpu) std::puts("CPU BACKEND: every case is set up and run, NO MEASUREMENT, no number is replaced");
    }
    for (const tuning_parameter &parameter : tuning_parameters()) {
        if (asked_for(parameter, wanted)) found.tune(parameter);
    }
    std::printf("%zu numbers changed\n", found.changes());
    if (!wanted.json.empty()) {
        json out = json::object();
        out.set("schema", "reflex-bench/1").set("kind", "tune").set("environment", environment);
        write_text_file(wanted.json, out.set("parameters", found.results()).dump());
    }
    if (!wanted.out.empty()) write_text_file(wanted.out, found.written_table(source_of(wanted, environment)).text());
    return 0;
}

}  // namespace bench
