// reflex-bench ops and reflex-bench ceiling.
#include <cstdio>
#include <optional>

#include <unistd.h>

#include "ceiling.h"
#include "commands.h"
#include "measure.h"
#include "program.h"
#include "progress.h"
#include "result.h"

namespace bench {
namespace {

json document(const char *kind, const target &on, const options &wanted) {
    json out = json::object();
    out.set("schema", "reflex-bench/1").set("kind", kind).set("environment", on.environment(wanted));
    return out;
}

result describe(const bench_case &what, const target &on, const options &wanted) {
    result out;
    out.op = what.op;
    out.name = what.name;
    out.model = what.model;
    out.shape = what.shape;
    out.shape_text = what.shape_text();
    out.dtype = what.dtype;
    out.activations = what.activations.empty() ? reflex_dtype_name(wanted.activations) : what.activations;
    out.computed = what.computed;
    out.batch = what.batch;
    out.context = what.context;
    out.sm_count = on.sm_count();
    out.as = wanted.as;
    return out;
}

std::string device_line(const target &on, const options &wanted) {
    const reflex_build_info build = reflex_get_build_info();
    std::string out = format("%s, sm_%u, %u of %u SMs; reflex-infer %s for %s, NVRTC %s", on.info().name, on.info().sm,
                             on.sm_count(), on.info().sm_count, build.version, build.cuda_archs, build.nvrtc_version);
    if (!wanted.as.empty()) out += "; AS " + wanted.as + ", a projection";
    if (!wanted.impl.empty()) out += "; " + wanted.impl;
    if (!wanted.tuning.empty()) out += "; " + wanted.tuning;
    if (!on.is_cuda())
        out = format("CPU BACKEND (%s, %u threads): every case is set up and run, the times are NO MEASUREMENT",
                     on.info().name, on.info().sm_count);
    return out;
}

// The table that lies beside the library in a bundle for GPU machines; empty where there is none.
std::string bundled_resources() {
    const std::string path = program_folder() + "/../lib/kernel-resources.tsv";
    return ::access(path.c_str(), R_OK) == 0 ? path : std::string();
}

// Some errors of a launch leave nothing to go on with.
bool still_usable(const target &on) {
    try {
        on.synchronize();
        return true;
    } catch (const driver_error &) {
        return false;
    }
}

void warn_of_escape(const ceilings &found) {
    if (!found.graph_escapes()) return;
    std::fprintf(stderr,
                 "reflex-bench: WARNING: graphs do not keep to the SMs of --sm-count here (%.0f GB/s, without a graph "
                 "%.0f): the times are those of more SMs; limit them by MPS instead\n",
                 found.read / 1e9, found.read_without_graph / 1e9);
}

}  // namespace

int run_ceiling(const options &wanted) {
    target on(wanted);
    progress status;
    status.say("measuring the ceilings of " + std::string(on.info().name));
    const ceilings found = measure_ceilings(on);
    status.clear();
    warn_of_escape(found);
    std::printf("%s\n%s", device_line(on, wanted).c_str(), ceiling_text(found, on.sm_count()).c_str());
    if (!wanted.json.empty()) {
        json out = document("ceiling", on, wanted);
        out.set("ceiling", found.to_json(on.sm_count()));
        write_text_file(wanted.json, out.dump());
    }
    return 0;
}

int run_ops(const options &wanted) {
    const std::vector<bench_case> cases = list_cases(wanted);
    if (cases.empty()) throw usage_error("no case is left: none of the shapes fits these ops and types");
    // Before anything long: a wrong file name is a matter of a second.
    std::map<std::string, double> baseline;
    if (!wanted.compare.empty()) baseline = read_baseline(wanted.compare);
    target on(wanted);
    std::map<std::string, kernel_resources> resources;
    const std::string table = wanted.resources.empty() ? bundled_resources() : wanted.resources;
    if (!table.empty()) resources = read_resources(table, on.info().sm);

    progress status;
    std::optional<ceilings> ceiling;
    if (on.is_cuda()) {
        status.say("measuring the read ceiling");
        ceiling = measure_read_ceiling(on);
        status.clear();
        warn_of_escape(*ceiling);
    }
    std::vector<result> results;
    bool failed = false;
    for (const bench_case &what : cases) {
        result r = describe(what, on, wanted);
        status.say(format("[%zu/%zu] %s %s %s %s", results.size() + 1, cases.size(), r.op.c_str(), r.name.c_str(),
                          r.shape_text.c_str(), r.dtype.c_str()));
        bool usable = true;
        try {
            r.measured = measure(on, what, wanted.cold, wanted.seconds);
            if (ceiling) r.ceiling_fraction = r.measured.bytes_per_second() / ceiling->read;
            if (const auto found = resources.find(r.measured.kernel); found != resources.end())
                r.resources = found->second;
            if (const auto found = baseline.find(r.key()); found != baseline.end()) r.before_us = found->second;
        } catch (const reflex::error &error) {
            r.error = error.what();
            // The library has no kernel for it here: a gap, and no failure.
            failed = failed || error.status() != REFLEX_UNSUPPORTED;
            usable = still_usable(on);
        } catch (const std::runtime_error &error) {
            r.error = error.what();
            failed = true;
            usable = still_usable(on);
        }
        results.push_back(std::move(r));
        if (!usable) {
            status.clear();
            std::fprintf(stderr, "reflex-bench: the device is unusable after this error: %s\n",
                         results.back().error.c_str());
            break;
        }
    }
    status.clear();

    const std::string head =
        device_line(on, wanted) + "\n" + (ceiling ? ceiling_text(*ceiling, on.sm_count()) : std::string()) +
        (on.is_cuda() ? std::string(wanted.cold ? "L2-cold" : "L2-warm") + ", us per launch: medians\n\n" : "\n");
    std::printf("%s%s", head.c_str(), text_table(results).c_str());
    if (!wanted.markdown.empty()) {
        std::string quoted = "```\n" + head;
        while (quoted.back() == '\n') quoted.pop_back();
        write_text_file(wanted.markdown, quoted + "\n```\n\n" + markdown_table(results));
    }
    if (!wanted.json.empty()) {
        json out = document("ops", on, wanted);
        out.set("ceiling", ceiling ? ceiling->to_json(on.sm_count()) : json());
        json rows = json::array();
        for (const result &r : results) rows.push(r.to_json());
        out.set("results", std::move(rows));
        write_text_file(wanted.json, out.dump());
    }
    return failed ? 1 : 0;
}

}  // namespace bench
