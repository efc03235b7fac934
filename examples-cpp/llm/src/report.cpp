#include "report.h"

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <system_error>

#include <sys/resource.h>

namespace llm {
namespace {

__attribute__((format(printf, 1, 2))) std::string text(const char *format, ...) {
    char out[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(out, sizeof out, format, arguments);
    va_end(arguments);
    return out;
}

void row(const char *name, const std::string &value) { std::fprintf(stderr, "%-20s %s\n", name, value.c_str()); }

uint64_t peak_host_bytes() {
    struct rusage usage{};
    if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

std::string device_text(const device &owner) {
    const reflex_device_info &info = owner.info();
    if (owner.is_cpu()) return text("%s, %u threads", info.name, info.sm_count);
    return text("%s, sm_%u, %u SMs%s", info.name, info.sm, info.sm_count, info.integrated != 0 ? ", integrated" : "");
}

uint64_t parameters(const model_tensors &tensors) {
    uint64_t count = 0;
    for (const gguf_tensor *tensor : tensors.all) count += tensor->elements();
    return count;
}

// The types of the matrices by size, the largest first: "Q4_K, Q6_K".
std::string types_text(const model_tensors &tensors) {
    std::map<std::string, uint64_t> bytes;
    for (const gguf_tensor *tensor : tensors.all) {
        if (tensor->shape[1] > 1) bytes[tensor->type->name] += tensor->bytes;
    }
    std::multimap<uint64_t, std::string, std::greater<>> by_size;
    for (const auto &[name, size] : bytes) by_size.emplace(size, name);
    std::string out;
    for (const auto &[size, name] : by_size) out += (out.empty() ? "" : ", ") + name;
    return out;
}

std::string model_text(const run_facts &facts) {
    const std::string name = printable(facts.config.name.empty() ? facts.config.arch_name : facts.config.name);
    return text("%s (%s), %.4g M parameters, %s, %s", name.c_str(), facts.config.arch_name.c_str(),
                static_cast<double>(parameters(facts.tensors)) / 1e6, types_text(facts.tensors).c_str(),
                bytes_text(facts.tensors.bytes()).c_str());
}

std::string memory_text(const run_facts &facts) {
    const memory_plan &plan = facts.model.plan();
    const std::string process = bytes_text(peak_host_bytes());
    if (facts.owner.is_cpu())
        return text("%s for the whole process, of it the KV cache %s", process.c_str(),
                    bytes_text(plan.kv_cache()).c_str());
    return text("%s on the device (weights %s%s, KV cache %s), %s for the process on the host",
                bytes_text(facts.model.allocated()).c_str(), bytes_text(plan.weights.bytes).c_str(),
                facts.model.placement() == weight_placement::mapped ? " mapped, not counted" : "",
                bytes_text(plan.kv_cache()).c_str(), process.c_str());
}

// `rate` in tokens of all sequences together: a step reads the weights once for all of them.
std::string floor_text(const run_facts &facts, const bandwidth &memory, double rate) {
    if (memory.bytes_per_second <= 0 || rate <= 0) return "unknown";
    const auto bytes = static_cast<double>(facts.tensors.bytes_per_token());
    return text("%.1f%%: %s of weights per step at %.4g GB/s (%s) take %.3g ms",
                100 * bytes * rate / facts.model.sequences() / memory.bytes_per_second,
                bytes_text(facts.tensors.bytes_per_token()).c_str(), memory.bytes_per_second / 1e9,
                memory.origin.c_str(), 1e3 * bytes / memory.bytes_per_second);
}

const char *placement_text(weight_placement placement) {
    switch (placement) {
        case weight_placement::packed:
            return "copied to the device and packed for matmuls";
        case weight_placement::copied:
            return "copied to the device";
        case weight_placement::mapped:
        case weight_placement::automatic:
            break;
    }
    return "read where the file is mapped";
}

// As the command line names them.
const char *name_of(weight_placement placement) {
    constexpr const char *names[] = {"auto", "packed", "copied", "mapped"};
    return names[static_cast<size_t>(placement)];
}
const char *name_of(compute_mode mode) { return mode == compute_mode::int8 ? "int8" : "exact"; }

std::string sequences_text(size_t sequences) { return sequences > 1 ? text(", %zu sequences", sequences) : ""; }

void report_setup(const run_facts &facts) {
    std::fputc('\n', stderr);
    row("backend", facts.owner.backend_name());
    row("device", device_text(facts.owner));
    row("model", model_text(facts));
    row("load", text("%.3g s, weights %s", facts.load_seconds, placement_text(facts.model.placement())));
    row("compute", facts.model.compute() == compute_mode::int8
                       ? text("int8: 8-bit activations where weights are quantised%s",
                              facts.model.placement() == weight_placement::packed ? "" : ", of up to 64 rows")
                       : std::string("exact: activations in f32"));
    row("decode step", facts.model.graph_nodes() != 0
                           ? text("one graph of %zu nodes, %zu a layer%s", facts.model.graph_nodes(),
                                  facts.model.layer_nodes(), sequences_text(facts.model.sequences()).c_str())
                           : std::string("launched kernel by kernel"));
}

// A string as JSON; the model's name comes from a file and may hold anything.
std::string json_string(const std::string &value) {
    std::string out = "\"";
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += {'\\', c};
        } else if (byte < 0x20 || byte >= 0x7F) {
            out += text("\\u%04x", byte);
        } else {
            out += c;
        }
    }
    return out + "\"";
}

}  // namespace

void report_generation(const run_facts &facts, const generation &result, const bandwidth &memory) {
    constexpr const char *reasons[] = {"the model ended the text", "the limit of --n-predict", "the context is full",
                                       "an interrupt", "the end of the input"};
    report_setup(facts);
    row("prefill", text("%zu tokens, %.4g tok/s", result.prompt_tokens, result.prefill_rate()));
    const std::string sequences = sequences_text(result.sequences);
    row("decode", result.decode_rate() > 0
                      ? text("%zu tokens%s, %.4g tok/s", result.new_tokens, sequences.c_str(), result.decode_rate())
                      : text("%zu tokens%s", result.new_tokens, sequences.c_str()));
    row("stopped by", reasons[static_cast<size_t>(result.reason)]);
    row("time to first token", result.new_tokens > 0
                                   ? text("%.4g ms", 1e3 * result.prefill_seconds / static_cast<double>(result.texts))
                                   : std::string("-"));
    row("peak memory", memory_text(facts));
    if (!facts.owner.is_cpu()) row("of bandwidth floor", floor_text(facts, memory, result.decode_rate()));
}

void report_perplexity(const run_facts &facts, const perplexity_result &result) {
    report_setup(facts);
    row("perplexity",
        result.scored > 0 ? text("%.4f +/- %.4f", result.perplexity, result.standard_error) : std::string("-"));
    row("scored", text("%zu predictions in %zu chunks, %.3g s", result.scored, result.chunks, result.seconds));
    row("peak memory", memory_text(facts));
}

void report_bench_header(const run_facts &facts, const bandwidth &memory) {
    report_setup(facts);
    row("batch, context", text("%u, %u", facts.model.plan().shape.batch, facts.model.context()));
    row("peak memory", memory_text(facts));
    if (!facts.owner.is_cpu())
        row("bandwidth", memory.bytes_per_second > 0
                             ? text("%.4g GB/s (%s)", memory.bytes_per_second / 1e9, memory.origin.c_str())
                             : std::string("unknown"));
    std::fprintf(stderr, "\n%-8s %7s %7s %9s %12s %12s %12s %5s%s\n", "test", "tokens", "depth", "sequences",
                 "tok/s median", "slowest", "fastest", "runs", facts.owner.is_cpu() ? "" : "   of floor");
}

void report_bench_row(const bench_result &result) {
    const std::string share = result.floor_fraction > 0 ? text(" %9.1f%%", 100 * result.floor_fraction) : "";
    std::fprintf(stderr, "%-8s %7u %7u %9u %12.5g %12.5g %12.5g %5zu%s\n", result.test.c_str(), result.tokens,
                 result.depth, result.sequences, result.tokens_per_second, result.slowest, result.fastest,
                 result.repetitions, share.c_str());
}

void write_bench_json(const std::string &path, const run_facts &facts, const bandwidth &memory,
                      const std::vector<bench_result> &results) {
    std::string out = "{\n";
    const auto field = [&out](const char *name, const std::string &value) {
        out += text(" \"%s\": ", name) + value + ",\n";
    };
    const reflex_build_info build = reflex_get_build_info();
    field("library", json_string(build.version));
    field("nvrtc", json_string(build.nvrtc_version));
    field("cuda_archs", json_string(build.cuda_archs));
    field("backend", json_string(facts.owner.backend_name()));
    field("device", json_string(facts.owner.info().name));
    field("sm", std::to_string(facts.owner.info().sm));
    field("sm_count", std::to_string(facts.owner.info().sm_count));
    field("model", json_string(facts.config.name));
    field("architecture", json_string(facts.config.arch_name));
    field("tensor_types", json_string(types_text(facts.tensors)));
    field("weight_bytes", std::to_string(facts.tensors.bytes()));
    field("weight_bytes_per_token", std::to_string(facts.tensors.bytes_per_token()));
    field("batch", std::to_string(facts.model.plan().shape.batch));
    field("context", std::to_string(facts.model.context()));
    field("sequences", std::to_string(facts.model.sequences()));
    field("compute", json_string(name_of(facts.model.compute())));
    field("weights", json_string(name_of(facts.model.placement())));
    field("graph_nodes", std::to_string(facts.model.graph_nodes()));
    field("graph_nodes_per_layer", std::to_string(facts.model.layer_nodes()));
    field("bandwidth_bytes_per_second", text("%.6g", memory.bytes_per_second));
    field("bandwidth_origin", json_string(memory.origin));
    out += " \"results\": [";
    for (size_t i = 0; i < results.size(); ++i) {
        const bench_result &r = results[i];
        out += text(
            "%s\n  {\"test\": \"%s\", \"tokens\": %u, \"depth\": %u, \"sequences\": %u, \"tokens_per_second\": %.6g, "
            "\"slowest\": %.6g, "
            "\"fastest\": %.6g, \"repetitions\": %zu, \"floor_fraction\": %.6g}",
            i > 0 ? "," : "", r.test.c_str(), r.tokens, r.depth, r.sequences, r.tokens_per_second, r.slowest, r.fastest,
            r.repetitions, r.floor_fraction);
    }
    out += "\n ]\n}\n";

    std::FILE *file = std::fopen(path.c_str(), "w");
    if (file == nullptr) throw std::system_error(errno, std::generic_category(), "cannot write " + path);
    const bool written = std::fwrite(out.data(), 1, out.size(), file) == out.size();
    const bool closed = std::fclose(file) == 0;
    if (!written || !closed) throw std::system_error(errno, std::generic_category(), "cannot write " + path);
}

}  // namespace llm
