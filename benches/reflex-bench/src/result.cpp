#include "result.h"

#include <algorithm>
#include <cctype>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace bench {
namespace {

constexpr const char *schema = "reflex-bench/1";

struct column {
    const char *title;
    bool left;
    std::string (*value)(const result &);
};

std::string when(bool known, const char *pattern, double value) {
    // The pattern is one of this file's.
    char out[48];
    if (!known) return "-";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    std::snprintf(out, sizeof out, pattern, value);
#pragma GCC diagnostic pop
    return out;
}

const column columns[] = {
    {"op", true, [](const result &r) { return r.op; }},
    {"of", true, [](const result &r) { return r.name; }},
    {"shape", true, [](const result &r) { return r.shape_text; }},
    {"dtype", true, [](const result &r) { return r.dtype; }},
    {"x", true, [](const result &r) { return r.activations; }},
    {"compute", true, [](const result &r) { return r.computed.empty() ? "-" : r.computed; }},
    {"us", false, [](const result &r) { return when(true, "%.2f", r.measured.us.median); }},
    {"p10", false, [](const result &r) { return when(true, "%.2f", r.measured.us.p10); }},
    {"p90", false, [](const result &r) { return when(true, "%.2f", r.measured.us.p90); }},
    {"GB/s", false, [](const result &r) { return when(true, "%.0f", r.measured.bytes_per_second() / 1e9); }},
    {"of read", false,
     [](const result &r) { return when(r.ceiling_fraction > 0, "%.1f%%", 100 * r.ceiling_fraction); }},
    {"TFLOP/s", false,
     [](const result &r) { return when(r.measured.flops > 0, "%.2f", r.measured.flops_per_second() / 1e12); }},
    {"B/clk/SM", false,
     [](const result &r) { return when(r.measured.sm_mhz > 0, "%.2f", r.measured.bytes_per_clock_sm(r.sm_count)); }},
    {"kernel", true, [](const result &r) { return r.measured.kernel; }},
    {"regs", false, [](const result &r) { return r.resources ? std::to_string(r.resources->registers) : "-"; }},
    {"spills", false, [](const result &r) { return r.resources ? std::to_string(r.resources->spills) : "-"; }},
    {"vs before", false,
     [](const result &r) {
         return when(r.before_us && r.measured.us.median > 0, "%.2fx",
                     r.before_us ? *r.before_us / r.measured.us.median : 0);
     }},
};

// The columns that say anything.
std::vector<const column *> used_columns(const std::vector<result> &results) {
    std::vector<const column *> out;
    for (const column &c : columns) {
        const bool optional = c.title == std::string("compute") || c.title == std::string("regs") ||
                              c.title == std::string("spills") || c.title == std::string("vs before");
        const bool any = std::any_of(results.begin(), results.end(),
                                     [&](const result &r) { return r.error.empty() && c.value(r) != "-"; });
        if (any || !optional) out.push_back(&c);
    }
    return out;
}

std::vector<std::string> cells_of(const result &r, const std::vector<const column *> &used) {
    std::vector<std::string> out;
    for (const column *c : used) out.push_back(c->value(r));
    return out;
}

std::string padded(const std::string &text, size_t width, bool left) {
    const std::string space(width > text.size() ? width - text.size() : 0, ' ');
    return left ? text + space : space + text;
}

double number(const std::string &text) { return std::strtod(text.c_str(), nullptr); }

}  // namespace

std::string format(const char *pattern, ...) {
    char out[1024];
    va_list arguments;
    va_start(arguments, pattern);
    std::vsnprintf(out, sizeof out, pattern, arguments);
    va_end(arguments);
    return out;
}

std::map<std::string, kernel_resources> read_resources(const std::string &path, uint32_t sm) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot read " + path);
    std::string line, title;
    std::getline(file, line);
    std::vector<std::string> titles;
    for (std::istringstream in(line); std::getline(in, title, '\t');) titles.push_back(title);
    std::map<std::string, kernel_resources> out;
    std::map<std::string, unsigned> chosen;
    while (std::getline(file, line)) {
        std::map<std::string, std::string> row;
        std::istringstream in(line);
        for (const std::string &t : titles) {
            std::string cell;
            std::getline(in, cell, '\t');
            row[t] = cell;
        }
        // "sm_90a": the letter means that nothing but 90 runs it.
        const std::string &arch = row["arch"];
        if (arch.compare(0, 3, "sm_") != 0) continue;
        const auto number_of = static_cast<unsigned>(number(arch.substr(3)));
        const bool exact_only = std::isalpha(static_cast<unsigned char>(arch.back())) != 0;
        const bool runs = number_of == sm || (!exact_only && number_of < sm && number_of / 10 == sm / 10);
        const std::string &kernel = row["kernel"];
        if (!runs || (chosen.count(kernel) != 0 && chosen[kernel] >= number_of)) continue;
        chosen[kernel] = number_of;
        out[kernel] = {static_cast<int>(number(row["registers"])), static_cast<int>(number(row["static_shared"])),
                       static_cast<int>(number(row["spill_stores"]) + number(row["spill_loads"]))};
    }
    return out;
}

json result::to_json() const {
    const measurement &m = measured;
    json sizes = json::object();
    for (const auto &[key_name, size] : shape) sizes.set(key_name, static_cast<long long>(size));
    json out = json::object();
    out.set("op", op).set("name", name).set("model", model).set("shape", std::move(sizes)).set("dtype", dtype);
    out.set("activations", activations).set("batch", static_cast<long long>(batch));
    out.set("context", static_cast<long long>(context)).set("sm_count", sm_count);
    if (!as.empty()) out.set("as", as);
    if (!computed.empty()) out.set("compute", computed);
    if (!error.empty()) return out.set("error", error);
    out.set("cache", m.cache).set("kernel", m.kernel);
    out.set("us", m.us.median).set("us_min", m.us.min).set("us_p10", m.us.p10).set("us_p90", m.us.p90);
    out.set("us_max", m.us.max).set("samples", m.us.samples).set("launches", m.launches).set("sets", m.sets);
    out.set("bytes", m.bytes).set("gb_s", m.bytes_per_second() / 1e9);
    out.set("read_ceiling_fraction", ceiling_fraction > 0 ? json(ceiling_fraction) : json());
    out.set("flops", m.flops).set("tflop_s", m.flops_per_second() / 1e12);
    out.set("bytes_per_clock_sm", m.sm_mhz > 0 ? json(m.bytes_per_clock_sm(sm_count)) : json());
    out.set("sm_mhz", m.sm_mhz > 0 ? json(m.sm_mhz) : json()).set("clock_source", m.clock_source);
    if (resources) {
        out.set("registers", resources->registers).set("static_shared", resources->static_shared);
        out.set("spill_bytes", resources->spills);
    }
    if (before_us) out.set("before_us", *before_us).set("speedup", *before_us / m.us.median);
    return out;
}

std::string result::key() const { return key_of(to_json()); }

std::string key_of(const json &row) {
    std::string out = row["op"].text() + "/" + row["name"].text() + "/" + row["dtype"].text() + "/" +
                      row["activations"].text() + "/" + row["cache"].text().substr(0, 4);
    for (const auto &[name, size] : row["shape"].members()) out += format("/%s=%.0f", name.c_str(), size.number());
    if (!row["compute"].is_null()) out += "/" + row["compute"].text();
    if (!row["as"].is_null()) out += "/as " + row["as"].text();
    return out + format("/%.0f SMs", row["sm_count"].number());
}

std::map<std::string, double> read_baseline(const std::string &path) {
    const json file = read_json_file(path);
    if (file["schema"].text() != schema || file["kind"].text() != "ops")
        throw json_error(path + ": no result file of reflex-bench ops");
    std::map<std::string, double> out;
    for (const json &row : file["results"].items()) {
        if (row["us"].number() > 0) out[key_of(row)] = row["us"].number();
    }
    return out;
}

std::string text_table(const std::vector<result> &results) {
    const auto used = used_columns(results);
    std::vector<size_t> widths;
    for (const column *c : used) widths.push_back(std::string(c->title).size());
    for (const result &r : results) {
        if (!r.error.empty()) continue;
        const auto cells = cells_of(r, used);
        for (size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], cells[i].size());
    }
    std::string out;
    const auto line = [&](const std::vector<std::string> &cells) {
        std::string text;
        for (size_t i = 0; i < cells.size(); ++i)
            text += (i > 0 ? "  " : "") + padded(cells[i], widths[i], used[i]->left);
        while (!text.empty() && text.back() == ' ') text.pop_back();
        out += text + "\n";
    };
    std::vector<std::string> titles;
    for (const column *c : used) titles.push_back(c->title);
    line(titles);
    for (const result &r : results) {
        if (r.error.empty()) {
            line(cells_of(r, used));
        } else {
            out += r.op + "  " + r.name + "  " + r.shape_text + "  " + r.dtype + ": " + r.error + "\n";
        }
    }
    return out;
}

std::string markdown_table(const std::vector<result> &results) {
    const auto used = used_columns(results);
    std::string head = "|", rule = "|", out;
    for (const column *c : used) {
        head += std::string(" ") + c->title + " |";
        rule += c->left ? " --- |" : " ---: |";
    }
    out = head + "\n" + rule + "\n";
    for (const result &r : results) {
        if (!r.error.empty()) continue;
        out += "|";
        for (const std::string &cell : cells_of(r, used)) out += " " + cell + " |";
        out += "\n";
    }
    return out;
}

std::string ceiling_text(const ceilings &c, uint32_t sm_count) {
    std::string out =
        format("read ceiling    %.0f GB/s, %.1f bytes/clock/SM at %.0f MHz (%s), %u SMs; %s\n", c.read / 1e9,
               c.read_bytes_per_clock_sm(sm_count), c.sm_mhz, c.clock_source.c_str(), sm_count, c.read_kernel.c_str());
    out += format("                %.0f MB in %.1f us (p10 %.1f, p90 %.1f, %zu samples); without a graph %.0f GB/s\n",
                  c.read_bytes / 1e6, c.read_us.median, c.read_us.p10, c.read_us.p90, c.read_us.samples,
                  c.read_without_graph / 1e9);
    if (c.copy <= 0) return out;
    out += format("copy ceiling    %.0f GB/s read plus written, by the device's copy; --sm-count does not limit it\n",
                  c.copy / 1e9);
    out += format("launch ceiling  %.2f us an empty kernel in a graph, %.2f us reflex_add of one element there\n",
                  c.graph_launch_us.median, c.add_one_us.median);
    out += format("host            %.2f us a launch of reflex_add\n", c.host_launch_us.median);
    return out;
}

}  // namespace bench
