// reflex-bench model: runs reflex-llm --bench, measures its energy, and writes a result file that says where and how.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "energy.h"
#include "program.h"
#include "result.h"

namespace bench {
namespace {

std::string find_llm(const options &wanted) {
    const std::string path = wanted.llm.empty() ? program_folder() + "/reflex-llm" : wanted.llm;
    if (::access(path.c_str(), X_OK) != 0)
        throw usage_error("model runs reflex-llm, and " + path + " is no program; give it with --llm PATH");
    return path;
}

// A file that goes away with this.
class temporary_file {
public:
    temporary_file() {
        const char *folder = std::getenv("TMPDIR");
        path_ = std::string(folder != nullptr ? folder : "/tmp") + "/reflex-bench-XXXXXX";
        const int fd = ::mkstemp(path_.data());
        if (fd < 0) throw std::system_error(errno, std::generic_category(), "cannot make a file " + path_);
        ::close(fd);
    }
    ~temporary_file() { ::unlink(path_.c_str()); }
    temporary_file(const temporary_file &) = delete;
    temporary_file &operator=(const temporary_file &) = delete;
    const std::string &path() const { return path_; }

private:
    std::string path_;
};

// Runs a program and gives each line of its standard error to `line`, as it comes. Its exit status.
template <typename Line>
int run_program(const std::vector<std::string> &words, const Line &line) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    std::vector<char *> arguments;
    for (const std::string &word : words) arguments.push_back(const_cast<char *>(word.c_str()));
    arguments.push_back(nullptr);
    const pid_t child = ::fork();
    if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[0]);
        ::close(ends[1]);
        ::execv(arguments[0], arguments.data());
        std::fprintf(stderr, "%s: %s\n", arguments[0], std::strerror(errno));
        ::_exit(127);
    }
    ::close(ends[1]);
    std::FILE *in = ::fdopen(ends[0], "r");
    char *text = nullptr;
    size_t room = 0;
    while (in != nullptr && ::getline(&text, &room, in) > 0) line(std::string(text));
    std::free(text);
    if (in != nullptr) std::fclose(in);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool is_row(const std::string &line) {
    return (line.rfind("prefill ", 0) == 0 || line.rfind("decode ", 0) == 0) &&
           std::strpbrk(line.c_str(), "0123456789") != nullptr && line.find("one graph") == std::string::npos &&
           line.find("step") == std::string::npos;
}

// The rows of one run of reflex-llm, with the energy that each took.
void add_rows(const json &found, const std::vector<energy_meter::clock::time_point> &finished,
              const energy_meter &meter, json &rows) {
    for (size_t i = 0; i < found["results"].items().size(); ++i) {
        const json &row = found["results"].items()[i];
        const double rate = row["tokens_per_second"].number(), tokens = row["tokens"].number();
        // The repetitions come last before the row is printed.
        const bool decode = row["test"].text() != "prefill";
        const double at_once = decode ? found["sequences"].number() : 1;
        const double seconds = rate > 0 ? row["repetitions"].number() * tokens * at_once / rate : 0;
        std::optional<double> joules;
        if (i < finished.size()) joules = meter.joules(finished[i], seconds);
        const double per_token = joules.value_or(0) / std::max(seconds * rate, 1e-9);
        json out = json::object(), shape = json::object();
        shape.set("tokens", tokens).set("depth", row["depth"].number());
        out.set("op", "model").set("name", row["test"].text()).set("model", found["model"].text());
        out.set("shape", std::move(shape)).set("dtype", found["tensor_types"].text());
        out.set("batch", decode ? at_once : found["batch"].number());
        out.set("context", row["depth"].number() + tokens).set("tokens_per_second", rate);
        out.set("slowest", row["slowest"].number()).set("fastest", row["fastest"].number());
        out.set("repetitions", row["repetitions"].number()).set("floor_fraction", row["floor_fraction"].number());
        out.set("joules_per_token", joules ? json(per_token) : json());
        out.set("tokens_per_joule", joules ? json(1 / per_token) : json());
        out.set("power_w", joules ? json(joules.value_or(0) / seconds) : json());
        out.set("energy_source", joules ? json(meter.source()) : json());
        rows.push(std::move(out));
        std::printf("%-8s %7.0f %7.0f %9.0f %12.5g %12.5g %12.5g ", row["test"].text().c_str(), tokens,
                    row["depth"].number(), at_once, rate, row["slowest"].number(), row["fastest"].number());
        if (joules) {
            std::printf("%10.4g %10.4g %8.4g\n", per_token, 1 / per_token, joules.value_or(0) / seconds);
        } else {
            std::printf("%10s %10s %8s\n", "-", "-", "-");
        }
    }
}

}  // namespace

int run_model(const options &wanted) {
    const std::string llm = find_llm(wanted);
    const target on(wanted);
    const energy_meter meter(on);
    const std::vector<int64_t> &sequences = wanted.sequences;
    json rows = json::array(), about = json::object(), environment;
    for (const int64_t count : sequences) {
        const temporary_file report;
        std::vector<std::string> words = {llm,
                                          "--model",
                                          wanted.model,
                                          "--bench",
                                          "--bench-json",
                                          report.path(),
                                          "--parallel",
                                          std::to_string(count),
                                          "--backend",
                                          wanted.cpu ? "cpu" : "cuda",
                                          "--device",
                                          std::to_string(wanted.device)};
        words.insert(words.end(), wanted.llm_arguments.begin(), wanted.llm_arguments.end());
        std::vector<energy_meter::clock::time_point> finished;
        const int status = run_program(words, [&](const std::string &line) {
            if (is_row(line)) finished.push_back(energy_meter::clock::now());
            std::fputs(line.c_str(), stderr);
        });
        if (status != 0) {
            std::fprintf(stderr, "reflex-bench: reflex-llm ended with status %d\n", status);
            return 1;
        }
        const json found = read_json_file(report.path());
        if (count == sequences.front()) {
            environment = on.environment(wanted);
            std::printf("%s\n%-8s %7s %7s %9s %12s %12s %12s %10s %10s %8s\n", found["model"].text("?").c_str(), "test",
                        "tokens", "depth", "sequences", "tok/s", "slowest", "fastest", "J/token", "tokens/J", "W");
            for (const auto &[name, value] : found.members()) {
                if (name != "results" && name != "sequences") about.set(name, value);
            }
        }
        add_rows(found, finished, meter, rows);
    }
    if (!wanted.json.empty()) {
        json out = json::object();
        out.set("schema", "reflex-bench/1").set("kind", "model").set("environment", std::move(environment));
        out.set("llm", std::move(about)).set("results", std::move(rows));
        write_text_file(wanted.json, out.dump());
    }
    return 0;
}

}  // namespace bench
