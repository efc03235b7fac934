#include "options.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <sstream>

#include "model_shapes.h"
#include "op_names.h"
#include "tune.h"

namespace bench {
namespace {

std::vector<std::string> split(const std::string &text) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, ',');) out.push_back(part);
    return out;
}

int64_t whole_number(const std::string &option, const std::string &text, int64_t least, int64_t most) {
    char *end = nullptr;
    errno = 0;
    const long long value = std::strtoll(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || errno != 0 || value < least || value > most)
        throw usage_error(option + " " + text + ": expected a whole number from " + std::to_string(least) + " to " +
                          std::to_string(most));
    return value;
}

std::vector<int64_t> whole_numbers(const std::string &option, const std::string &text, int64_t most) {
    std::vector<int64_t> out;
    for (const std::string &part : split(text)) out.push_back(whole_number(option, part, 1, most));
    if (out.empty()) throw usage_error(option + ": expected a list of whole numbers");
    return out;
}

std::string listed(const std::vector<std::string> &names) {
    std::string out;
    for (const std::string &name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
}

reflex_dtype dtype_named(const std::string &option, const std::string &text, const std::vector<reflex_dtype> &allowed) {
    std::vector<std::string> names;
    for (const reflex_dtype dtype : allowed) {
        const std::string name = reflex_dtype_name(dtype);
        names.push_back(name);
        if (name.size() == text.size() && std::equal(name.begin(), name.end(), text.begin(), [](char a, char b) {
                return std::toupper(static_cast<unsigned char>(a)) == std::toupper(static_cast<unsigned char>(b));
            }))
            return dtype;
    }
    throw usage_error(option + " " + text + ": expected one of " + listed(names));
}

// The place of `text` in the list.
size_t choice(const std::string &option, const std::string &text, const std::vector<std::string> &allowed) {
    const auto found = std::find(allowed.begin(), allowed.end(), text);
    if (found == allowed.end()) throw usage_error(option + " " + text + ": expected one of " + listed(allowed));
    return static_cast<size_t>(found - allowed.begin());
}

bool is_shape(const std::string &text) { return !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])); }

void add_shapes(options &out, const std::string &text) {
    if (is_shape(text)) {
        const std::vector<int64_t> sizes = whole_numbers("--shapes", text, int64_t{1} << 24);
        if (sizes.size() != 2 && sizes.size() != 3) throw usage_error("--shapes " + text + ": expected M,N,K or N,K");
        const bool rows = sizes.size() == 3;
        out.shapes.push_back({rows ? sizes[0] : 0, sizes[sizes.size() - 2], sizes.back()});
        return;
    }
    for (const std::string &name : split(text)) {
        if (find_model_shapes(name) == nullptr)
            throw usage_error("--shapes " + name + ": expected M,N,K, N,K or one of " + listed(shape_names()));
        out.models.push_back(name);
    }
}

command command_named(const std::string &name) {
    if (name == "ops") return command::ops;
    if (name == "ceiling") return command::ceiling;
    if (name == "tune") return command::tune;
    if (name == "model") return command::model;
    if (name == "check") return command::check;
    if (name == "help" || name == "--help" || name == "-h") return command::help;
    throw usage_error("no command " + name + "; expected ops, ceiling, tune, model or check (--help tells more)");
}

class argument_reader {
public:
    argument_reader(int argc, const char *const *argv) : argc_(argc), argv_(argv) {}
    bool done() const { return at_ >= argc_; }
    std::string next() { return argv_[at_++]; }
    std::string value_of(const std::string &option) {
        if (done()) throw usage_error(option + " needs a value");
        return next();
    }

private:
    int argc_, at_ = 1;
    const char *const *argv_;
};

// Problems that the user describes.
void add_cases(options &out, const std::string &option, const std::string &text) {
    try {
        for (descriptor &d : read_case(text)) out.cases.push_back(std::move(d));
    } catch (const case_error &error) {
        throw usage_error(option + " `" + text + "`: " + error.what());
    }
}

// Options of every command. False where `name` is none of them.
bool common_option(options &out, const std::string &name, argument_reader &in) {
    if (name == "--json") {
        out.json = in.value_of(name);
    } else if (name == "--device") {
        out.device = static_cast<int32_t>(whole_number(name, in.value_of(name), 0, 1023));
    } else if (name == "--commit") {
        out.commit = in.value_of(name);
    } else if (name == "--backend") {
        const std::string value = in.value_of(name);
        if (value != "cuda" && value != "cpu") throw usage_error("--backend " + value + ": expected cuda or cpu");
        out.cpu = value == "cpu";
    } else {
        return false;
    }
    return true;
}

// Commands whose results tell what the library was asked for.
bool measures_library(command what) {
    return what == command::ops || what == command::ceiling || what == command::tune;
}

struct board {
    const char *name;
    uint32_t sm_count;
};
// As in src/cuda/board.rs.
constexpr board boards[] = {{"orin-nano", 8}, {"orin-nx", 8}, {"agx-orin", 16}};

// The library plans as for this board, on as many SMs unless --sm-count says otherwise.
void set_board(options &out, const std::string &option, const std::string &name) {
    std::vector<std::string> names;
    for (const board &b : boards) names.push_back(b.name);
    (void)choice(option, name, names);
    out.as = name;
}

// Of what the library is asked for.
bool library_option(options &out, const std::string &name, argument_reader &in) {
    if (name == "--as") {
        set_board(out, name, in.value_of(name));
    } else if (name == "--impl") {
        out.impl = in.value_of(name);
    } else if (name == "--tuning" && out.what != command::tune) {
        out.tuning = in.value_of(name);
    } else {
        return false;
    }
    return true;
}

void check_board(options &out) {
    if (out.as.empty()) return;
    if (out.cpu) throw usage_error("--as needs --backend cuda");
    for (const board &b : boards) {
        if (out.as == b.name && out.sm_count == 0) out.sm_count = b.sm_count;
    }
}

bool tune_option(options &out, const std::string &name, argument_reader &in) {
    if (name == "--table") {
        out.table = in.value_of(name);
    } else if (name == "--out") {
        out.out = in.value_of(name);
    } else if (name == "--parameter") {
        for (const std::string &wanted : split(in.value_of(name))) {
            const auto fits = [&](const tuning_parameter &p) {
                return p.name == wanted || p.name.compare(0, wanted.size() + 1, wanted + ".") == 0;
            };
            const auto &all = tuning_parameters();
            if (std::none_of(all.begin(), all.end(), fits)) {
                std::vector<std::string> names;
                for (const tuning_parameter &p : all) names.push_back(p.name);
                throw usage_error(name + " " + wanted + ": expected an op or one of " + listed(names));
            }
            out.parameters.push_back(wanted);
        }
    } else {
        return false;
    }
    return true;
}

bool check_option(options &out, const std::string &name, argument_reader &in) {
    if (name == "--op") {
        for (const std::string &op : split(in.value_of(name))) {
            choice(name, op, case_ops());
            out.ops.push_back(op);
        }
    } else if (name == "--tier") {
        out.full = choice(name, in.value_of(name), {"smoke", "full"}) == 1;
    } else if (name == "--case") {
        add_cases(out, name, in.value_of(name));
    } else {
        return false;
    }
    return true;
}

bool ops_option(options &out, const std::string &name, argument_reader &in) {
    if (name == "--case") {
        add_cases(out, name, in.value_of(name));
    } else if (name == "--op") {
        for (const std::string &op : split(in.value_of(name))) {
            const auto &known = op_names();
            if (std::find(known.begin(), known.end(), op) == known.end())
                throw usage_error("--op " + op + ": expected one of " + listed(known));
            out.ops.push_back(op);
        }
    } else if (name == "--shapes") {
        add_shapes(out, in.value_of(name));
    } else if (name == "--dtype") {
        for (const std::string &dtype : split(in.value_of(name)))
            out.dtypes.push_back(dtype_named(name, dtype, weight_dtypes()));
    } else if (name == "--layout") {
        out.packed.clear();
        for (const std::string &layout : split(in.value_of(name)))
            out.packed.push_back(choice(name, layout, {"native", "packed"}) == 1);
    } else if (name == "--compute") {
        out.computes.clear();
        for (const std::string &how : split(in.value_of(name)))
            out.computes.push_back(static_cast<compute>(choice(name, how, {"exact", "int8", "int8_quantize"})));
    } else if (name == "--activations") {
        out.activations = dtype_named(name, in.value_of(name), {REFLEX_DTYPE_F32, REFLEX_DTYPE_F16, REFLEX_DTYPE_BF16});
    } else if (name == "--rows") {
        out.rows = whole_numbers(name, in.value_of(name), 1 << 20);
    } else if (name == "--context") {
        out.contexts = whole_numbers(name, in.value_of(name), 1 << 24);
    } else if (name == "--cold" || name == "--warm") {
        out.cold = name == "--cold";
    } else if (name == "--seconds") {
        const std::string value = in.value_of(name);
        char *end = nullptr;
        out.seconds = std::strtod(value.c_str(), &end);
        if (end == value.c_str() || *end != '\0' || !(out.seconds > 0 && out.seconds <= 3600))
            throw usage_error("--seconds " + value + ": expected a number above 0");
    } else if (name == "--md") {
        out.markdown = in.value_of(name);
    } else if (name == "--compare") {
        out.compare = in.value_of(name);
    } else if (name == "--resources") {
        out.resources = in.value_of(name);
    } else {
        return false;
    }
    return true;
}

}  // namespace

const std::vector<std::string> &op_names() {
    static const std::vector<std::string> names(std::begin(ops_of_api), std::end(ops_of_api));
    return names;
}

const char *compute_name(compute how) {
    return how == compute::exact ? "exact" : how == compute::int8 ? "int8" : "int8_quantize";
}

std::vector<std::string> shape_names() {
    std::vector<std::string> out;
    for (const model_shapes &shapes : all_model_shapes()) out.push_back(shapes.name);
    return out;
}

options parse_options(int argc, const char *const *argv) {
    argument_reader in(argc, argv);
    options out;
    if (in.done()) throw usage_error("no command; expected ops, ceiling, tune, model or check (--help tells more)");
    out.what = command_named(in.next());
    // Each of hundreds of cases is measured with several numbers.
    if (out.what == command::tune) out.seconds = 0.05;
    while (!in.done()) {
        const std::string name = in.next();
        if (name == "--help" || name == "-h") {
            out.what = command::help;
            return out;
        }
        if (out.what == command::help) throw usage_error("unexpected argument " + name);
        if (common_option(out, name, in)) continue;
        if (measures_library(out.what) && name == "--sm-count") {
            out.sm_count = static_cast<uint32_t>(whole_number(name, in.value_of(name), 1, 4096));
            continue;
        }
        if (measures_library(out.what) && library_option(out, name, in)) continue;
        if (out.what == command::tune) {
            const bool of_ops = name == "--shapes" || name == "--dtype" || name == "--seconds" || name == "--cold" ||
                                name == "--warm" || name == "--activations";
            if (tune_option(out, name, in) || (of_ops && ops_option(out, name, in))) continue;
        }
        if (out.what == command::ops && ops_option(out, name, in)) continue;
        if (out.what == command::check && check_option(out, name, in)) continue;
        if (out.what == command::model && name == "--llm") {
            out.llm = in.value_of(name);
        } else if (out.what == command::model && name == "--sequences") {
            out.sequences = whole_numbers(name, in.value_of(name), 64);
        } else if (out.what == command::model && name == "--") {
            while (!in.done()) out.llm_arguments.push_back(in.next());
        } else if (out.what == command::model && name[0] != '-' && out.model.empty()) {
            out.model = name;
        } else {
            throw usage_error((name[0] == '-' ? "unknown option " : "unexpected argument ") + name);
        }
    }
    if (out.what == command::model && out.model.empty()) throw usage_error("model needs a GGUF file");
    if (out.what == command::ceiling && out.cpu) throw usage_error("ceiling measures a GPU; --backend cpu has none");
    if (out.what == command::tune && out.table.empty())
        throw usage_error("tune needs --table, a file of the library's src/tuning");
    if (!out.out.empty() && out.json.empty()) throw usage_error("--out needs --json: the table names its source");
    check_board(out);
    if (out.cpu && out.sm_count != 0) throw usage_error("--sm-count needs --backend cuda");
    if (out.models.empty() && out.shapes.empty()) out.models.push_back("qwen3-4b");
    return out;
}

void adopt_environment(options &out) {
    const auto value = [](const char *name) {
        const char *found = std::getenv(name);
        return std::string(found != nullptr ? found : "");
    };
    if (!measures_library(out.what)) return;
    if (out.as.empty() && !value("REFLEX_AS").empty()) set_board(out, "REFLEX_AS", value("REFLEX_AS"));
    check_board(out);
    if (out.impl.empty()) out.impl = value("REFLEX_IMPL");
    if (out.tuning.empty()) out.tuning = value("REFLEX_TUNING");
    if (out.what == command::tune && !out.tuning.empty())
        throw usage_error("REFLEX_TUNING is set: tune starts from the numbers of --table");
}

namespace {

// "F32, F16" in lines that begin below the first name.
std::string in_lines(const std::vector<std::string> &names) {
    const std::string indent(23, ' ');
    std::string out;
    size_t length = 0;  // of the line
    for (const std::string &name : names) {
        if (!out.empty()) {
            out += length > 56 ? ",\n" + indent : ", ";
            length = length > 56 ? 0 : length + 2;
        }
        out += name;
        length += name.size();
    }
    return out;
}

std::string in_lines(const std::vector<reflex_dtype> &dtypes) {
    std::vector<std::string> names;
    for (const reflex_dtype dtype : dtypes) names.push_back(reflex_dtype_name(dtype));
    return in_lines(names);
}

}  // namespace

std::string usage_text() {
    return std::string(
               "usage: reflex-bench ops [OPTION...]         speed of the library's ops\n"
               "       reflex-bench ceiling [OPTION...]     what this device can read, copy and launch at most\n"
               "       reflex-bench tune --table FILE [OPTION...]\n"
               "                                            which numbers of a table of src/tuning are fastest\n"
               "       reflex-bench model FILE.gguf [OPTION...] [-- REFLEX-LLM OPTION...]\n"
               "                                            prefill and decode of a model, by running reflex-llm\n"
               "       reflex-bench check [OPTION...]       results of the device against those of the CPU backend\n"
               "\n"
               "  --json FILE          write the results, with all that makes them comparable\n"
               "  --device N           CUDA device ordinal\n"
               "  --commit TEXT        commit of the library, where this program cannot know it\n"
               "  --backend cuda|cpu   cpu checks the set-up of every case; its times are not a measurement\n"
               "\n"
               "ops, ceiling and tune:\n"
               "  --sm-count N         use only N SMs, by a green context (CUDA 12.4); the driver may round N up\n"
               "  --as BOARD           plan and launch as orin-nano, orin-nx or agx-orin does, on as many SMs "
               "(REFLEX_AS)\n"
               "  --impl OP:NAME[,..]  candidates that compute these ops (REFLEX_IMPL)\n"
               "  --tuning NAME=N[,..] numbers in place of the library's, not with tune (REFLEX_TUNING)\n"
               "\n"
               "check:\n"
               "  --tier smoke|full    problems of cases/: a part (used without this option), or all\n"
               "  --op NAME[,NAME]     of these ops alone\n"
               "  --case DESCRIPTOR    this problem alone, as 'norm rows=3 dim=77'; may be given more than once\n"
               "\n"
               "ops:\n"
               "  --case DESCRIPTOR    a problem in the form of cases/, in place of a model's; may be given more than "
               "once\n"
               "  --op NAME[,NAME]     all without this option, of\n"
               "                       ") +
           in_lines(op_names()) +
           std::string(
               "\n"
               "  --shapes NAME[,NAME] the shapes of qwen3-4b (used without this option), llama3-8b, gemma3-4b, or "
               "tiny\n"
               "  --shapes [M,]N,K     a matmul of N outputs and K inputs, of M rows or those of --rows; may be given "
               "more\n"
               "                       than once\n"
               "  --dtype NAME[,NAME]  weight types, of\n"
               "                       ") +
           in_lines(weight_dtypes()) +
           "\n"
           "                       without this option\n"
           "                       " +
           in_lines(usual_weight_dtypes()) +
           "\n"
           "  --layout LIST        of weights in block formats: native (used without this option), packed\n"
           "  --compute LIST       of a matmul of block formats: exact (used without this option), int8 (of an x of "
           "ACT_I8,\n"
           "                       with a model's shapes fused q, k and v and the gated pair as well), int8_quantize "
           "(of a\n"
           "                       float x; of weights that are not packed at most 64 rows)\n"
           "  --activations NAME   F32 (used without this option), F16 or BF16\n"
           "  --rows LIST          tokens at once; 1,512 without this option\n"
           "  --context LIST       keys of attention_decode; 1024,4096,16384 without this option\n"
           "  --cold | --warm      operands from memory (used without this option) or from L2 where they fit\n"
           "  --seconds S          how long each case is sampled; 0.15 without this option\n"
           "  --md FILE            write the table as Markdown\n"
           "  --compare FILE       compare with an earlier --json file\n"
           "  --resources FILE     kernel-resources.tsv of the library's build: registers and spills; in a bundle "
           "found\n"
           "\n"
           "tune (and --shapes, --dtype, --activations, --cold, --warm and --seconds as ops; 0.05 s without it):\n"
           "  --table FILE         the table to start from, of the library's src/tuning\n"
           "  --out FILE           write it with the numbers that won; needs --json, which it names as their source\n"
           "  --parameter LIST     entries or ops; all without this option\n"
           "\n"
           "model:\n"
           "  --llm PATH           the reflex-llm to run; without this option the one beside this program\n"
           "  --sequences LIST     sequences decoded at once, 1 to 64, a run for each; 1 without this option\n"
           "\n"
           "Exit status: 0 done, 1 something failed, 2 wrong usage or no usable GPU.\n";
}

}  // namespace bench
