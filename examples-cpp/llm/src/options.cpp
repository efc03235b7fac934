#include "options.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "architectures.h"

namespace llm {
namespace {

// More than any context holds; a pipe may never end.
constexpr size_t most_text_bytes = size_t{1} << 30;

[[noreturn]] void refuse(const std::string &message) { throw usage_error(message); }

uint64_t parse_count(const std::string &name, const std::string &text, uint64_t least, uint64_t most) {
    const std::string range = name + " takes a whole number from " + std::to_string(least) + " to " +
                              std::to_string(most) + ", not \"" + text + "\"";
    // strtoull would take a sign, white space and nothing at all.
    if (text.empty() || !std::isdigit(static_cast<unsigned char>(text[0]))) refuse(range);
    errno = 0;
    char *end = nullptr;
    const unsigned long long value = std::strtoull(text.c_str(), &end, 10);
    if (errno != 0 || *end != '\0' || end != text.c_str() + text.size() || value < least || value > most) refuse(range);
    return value;
}

float parse_real(const std::string &name, const std::string &text, float least, bool least_allowed, float most) {
    char *end = nullptr;
    const float value = std::strtof(text.c_str(), &end);
    const bool plain = !text.empty() && text.find_first_not_of("0123456789.eE+-") == std::string::npos &&
                       end == text.c_str() + text.size();
    if (!plain || !std::isfinite(value) || value > most || value < least || (value == least && !least_allowed)) {
        char range[96];
        std::snprintf(range, sizeof range, " takes a number %s %g and at most %g, not \"",
                      least_allowed ? "of at least" : "above", static_cast<double>(least), static_cast<double>(most));
        refuse(name + range + text + "\"");
    }
    return value;
}

backend_choice parse_backend(const std::string &text) {
    if (text == "auto") return backend_choice::automatic;
    if (text == "cuda") return backend_choice::cuda;
    if (text == "cpu") return backend_choice::cpu;
    refuse("--backend takes auto, cuda or cpu, not \"" + text + "\"");
}

compute_mode parse_compute(const std::string &text) {
    if (text == "int8") return compute_mode::int8;
    if (text == "exact") return compute_mode::exact;
    refuse("--compute takes int8 or exact, not \"" + text + "\"");
}

weight_placement parse_weights(const std::string &text) {
    if (text == "auto") return weight_placement::automatic;
    if (text == "packed") return weight_placement::packed;
    if (text == "copied") return weight_placement::copied;
    if (text == "mapped") return weight_placement::mapped;
    refuse("--weights takes auto, packed, copied or mapped, not \"" + text + "\"");
}

class parser {
public:
    parser(int argc, const char *const *argv) : argc_(argc), argv_(argv) {}

    options run() {
        while (at_ < argc_) take_argument(argv_[at_++]);
        if (out_.mode == run_mode::help || out_.mode == run_mode::version) return out_;
        if (out_.model.empty()) refuse("--model FILE is needed");
        const bool chat = out_.mode == run_mode::chat;
        if (out_.mode != run_mode::generate && !chat && !prompt_from_.empty())
            refuse("--prompt and --file go with neither --perplexity nor --bench");
        if (out_.mode == run_mode::generate && prompt_from_.empty())
            refuse("one of --prompt, --file, --chat, --perplexity and --bench is needed");
        if (out_.parallel > 1 && chat) refuse("--parallel does not go with --chat");
        if (out_.parse_control && chat)
            refuse("--special does not go with --chat, whose template writes control tokens");
        if (!out_.system.empty() && !chat) refuse("--system goes with --chat");
        if (chat && prompt_file_ == "-")
            refuse("--file - does not go with --chat, which reads turns from standard input");
        if (chat && !predict_given_) out_.predict = -1;
        if (out_.parallel > 1 && out_.mode == run_mode::perplexity) refuse("--parallel does not go with --perplexity");
        if (!out_.bench_json.empty() && out_.mode != run_mode::bench) refuse("--bench-json goes with --bench");
        // Last, since a terminal is asked for it.
        if (prompt_from_ == "--file") out_.prompt = read_text_file(prompt_file_);
        return out_;
    }

private:
    // "--name=value" is "--name value".
    void take_argument(const std::string &argument) {
        const size_t equals = argument.find('=');
        const bool joined = argument.compare(0, 2, "--") == 0 && equals != std::string::npos;
        const std::string name = joined ? argument.substr(0, equals) : argument;
        if (joined) joined_value_ = argument.substr(equals + 1);
        take(name);
        if (joined_value_) refuse(name + " takes no value");
    }

    void take(const std::string &name) {
        if (name == "-m" || name == "--model") {
            out_.model = value(name);
            if (out_.model.empty()) refuse(name + " takes the name of a file");
        } else if (name == "-p" || name == "--prompt") {
            out_.prompt = value(name);
            set_prompt("--prompt");
        } else if (name == "-f" || name == "--file") {
            prompt_file_ = value(name);
            set_prompt("--file");
        } else if (name == "-n" || name == "--n-predict") {
            const std::string text = value(name);
            predict_given_ = true;
            out_.predict = text == "-1" ? -1 : static_cast<int32_t>(parse_count(name, text, 0, 1u << 30));
        } else if (name == "-c" || name == "--ctx") {
            out_.context = static_cast<uint32_t>(parse_count(name, value(name), 1, 1u << 26));
        } else if (name == "--batch") {
            out_.batch = static_cast<uint32_t>(parse_count(name, value(name), 1, 4096));
        } else if (name == "--parallel") {
            out_.parallel = static_cast<uint32_t>(parse_count(name, value(name), 1, 64));
        } else if (name == "--temp") {
            out_.temperature = parse_real(name, value(name), 0.0f, true, 100.0f);
        } else if (name == "--top-k") {
            out_.top_k = static_cast<uint32_t>(parse_count(name, value(name), 0, std::numeric_limits<int32_t>::max()));
        } else if (name == "--top-p") {
            out_.top_p = parse_real(name, value(name), 0.0f, false, 1.0f);
        } else if (name == "--min-p") {
            out_.min_p = parse_real(name, value(name), 0.0f, true, 1.0f);
        } else if (name == "-s" || name == "--seed") {
            out_.seed = parse_count(name, value(name), 0, std::numeric_limits<uint64_t>::max());
        } else if (name == "--backend") {
            out_.backend = parse_backend(value(name));
        } else if (name == "--device") {
            out_.device = static_cast<uint32_t>(parse_count(name, value(name), 0, 1023));
        } else if (name == "-t" || name == "--threads") {
            out_.threads = static_cast<uint32_t>(parse_count(name, value(name), 0, 1024));
        } else if (name == "--compute") {
            out_.compute = parse_compute(value(name));
        } else if (name == "--weights") {
            out_.weights = parse_weights(value(name));
        } else if (name == "--no-graph") {
            out_.graph = false;
        } else if (name == "--special") {
            out_.parse_control = true;
        } else if (name == "--chat") {
            set_mode(run_mode::chat);
        } else if (name == "--system") {
            out_.system = value(name);
        } else if (name == "--perplexity") {
            out_.text_file = value(name);
            set_mode(run_mode::perplexity);
        } else if (name == "--bench") {
            set_mode(run_mode::bench);
        } else if (name == "--bench-json") {
            out_.bench_json = value(name);
            if (out_.bench_json.empty()) refuse(name + " takes the name of a file");
        } else if (name == "-h" || name == "--help") {
            out_.mode = run_mode::help;
        } else if (name == "--version") {
            if (out_.mode != run_mode::help) out_.mode = run_mode::version;
        } else {
            refuse("unknown option \"" + name + "\"; --help lists them");
        }
    }

    std::string value(const std::string &name) {
        if (joined_value_) return *std::exchange(joined_value_, std::nullopt);
        if (at_ >= argc_) refuse(name + " needs a value");
        return argv_[at_++];
    }

    void set_prompt(const char *from) {
        if (prompt_from_ == from) refuse(prompt_from_ + " is given more than once");
        if (!prompt_from_.empty()) refuse("--prompt and --file both give the prompt, only one of them may be there");
        prompt_from_ = from;
    }

    void set_mode(run_mode mode) {
        if (out_.mode == run_mode::help || out_.mode == run_mode::version) return;
        const auto name = [](run_mode of) {
            return std::string(of == run_mode::chat ? "--chat" : of == run_mode::bench ? "--bench" : "--perplexity");
        };
        if (out_.mode == mode) refuse(name(mode) + " is given more than once");
        if (out_.mode != run_mode::generate)
            refuse(name(std::min(out_.mode, mode)) + " does not go with " + name(std::max(out_.mode, mode)));
        out_.mode = mode;
    }

    int argc_;
    const char *const *argv_;
    int at_ = 1;
    std::optional<std::string> joined_value_;
    std::string prompt_from_, prompt_file_;
    bool predict_given_ = false;
    options out_;
};

}  // namespace

options parse_options(int argc, const char *const *argv) { return parser(argc, argv).run(); }

std::string usage_text() {
    return "usage: reflex-llm -m FILE (-p TEXT | -f FILE | --chat | --perplexity FILE | --bench) [options]\n"
           "\n"
           "  -m, --model FILE       GGUF v3 model: " +
           architecture_names("or") +
           "\n"
           "  -p, --prompt TEXT      text to continue\n"
           "  -f, --file FILE        the same, from a file or a pipe; -: from standard input\n"
           "      --chat             a conversation by the model's chat template: each line of standard input is a "
           "turn, a\n"
           "                         backslash at its end continues it; -p or -f gives a turn in front of them\n"
           "      --system TEXT      with --chat: the system message\n"
           "  -n, --n-predict N      tokens to generate at most; -1: until the model ends or the context is full "
           "(128;\n"
           "                         with --chat -1)\n"
           "  -c, --ctx N            context in tokens (what the model was made for, at most 4096)\n"
           "      --batch N          rows per prefill step, 1 to 4096 (512)\n"
           "      --parallel N       sequences decoded at once, 1 to 64: as many continuations of the prompt (1)\n"
           "      --special          read control tokens such as <|im_start|> in the prompt\n"
           "      --temp T           0: always the likeliest token; above: sample at this temperature (0)\n"
           "      --top-k K          sample among the K likeliest; 0: off (40)\n"
           "      --top-p P          sample within this probability mass; 1: off (0.95)\n"
           "      --min-p P          drop tokens below P times the likeliest; 0: off (0.05)\n"
           "  -s, --seed N           seed of the sampler (0)\n"
           "      --backend NAME     auto, cuda or cpu (auto)\n"
           "      --device N         CUDA device (0)\n"
           "  -t, --threads N        threads of the CPU backend; 0: one per core (0)\n"
           "      --compute MODE     int8: 8-bit activations for quantised weights; exact: f32 (int8)\n"
           "      --weights WHERE    auto, packed (a copy arranged for speed), copied (as in the file) or mapped (no "
           "copy): "
           "auto is\n"
           "                         mapped where the device shares the host's memory, else packed for int8 and copied "
           "for "
           "exact\n"
           "      --no-graph         launch every kernel of a decode step instead of replaying a CUDA graph\n"
           "      --perplexity FILE  score a text in chunks of the context, at most 512 tokens; -: standard input\n"
           "      --bench            measure prefill and decode speed\n"
           "      --bench-json FILE  also write the measurements as JSON\n"
           "      --version          versions of program and library\n"
           "  -h, --help             this text\n"
           "\n"
           "--name=value is the same as --name value. Ctrl-C ends a text where it is; a second one ends the program at "
           "once.\n"
           "Standard output receives the text alone; progress and figures go to standard error.\n"
           "Exit status: 0 done, 1 failed, 2 wrong command line, 130 ended by Ctrl-C.\n";
}

std::string read_text_file(const std::string &path) {
    const bool standard_input = path == "-";
    const std::string name = standard_input ? "standard input" : path;
    const auto fail = [&name](int error, const char *what) {
        throw std::system_error(error, std::generic_category(), what + name);
    };
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> opened(
        standard_input ? nullptr : std::fopen(path.c_str(), "rb"), [](std::FILE *file) { return std::fclose(file); });
    std::FILE *file = standard_input ? stdin : opened.get();
    if (file == nullptr) fail(errno, "cannot open ");
    std::string out;
    char buffer[1 << 16];
    for (size_t got; (got = std::fread(buffer, 1, sizeof buffer, file)) > 0;) {
        out.append(buffer, got);
        if (out.size() > most_text_bytes) fail(EFBIG, "too long a text: ");
    }
    if (std::ferror(file) != 0) fail(errno, "cannot read ");
    return out;
}

}  // namespace llm
