// The command line: what is accepted, and the message for everything that is not. Usage: options_test EXISTING_FILE
#include <system_error>
#include <vector>
#include "check.h"

#include "options.h"

using llm::options;
using llm::usage_error;

namespace {

options parse(const std::vector<const char *> &arguments) {
    std::vector<const char *> argv = {"reflex-llm"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return llm::parse_options(static_cast<int>(argv.size()), argv.data());
}

void accepts(const char *file) {
    const options defaults = parse({"-m", "x", "-p", "hi"});
    CHECK(defaults.model == "x" && defaults.prompt == "hi" && defaults.predict == 128 && defaults.temperature == 0.0f &&
          defaults.graph && defaults.backend == llm::backend_choice::automatic && defaults.parallel == 1 &&
          defaults.compute == llm::compute_mode::int8 && defaults.weights == llm::weight_placement::automatic);
    const options run = parse({"-m", "x", "--bench", "--compute", "exact", "--weights", "packed", "--parallel", "64"});
    CHECK(run.compute == llm::compute_mode::exact && run.weights == llm::weight_placement::packed &&
          run.parallel == 64);
    CHECK(parse({"-m", "x", "--bench", "--weights", "mapped"}).weights == llm::weight_placement::mapped);
    CHECK(parse({"-m", "x", "--bench", "--weights", "copied"}).weights == llm::weight_placement::copied);
    const options all = parse({"--model",   "x",       "--prompt", "",        "--n-predict",
                               "-1",        "--ctx",   "2048",     "--batch", "64",
                               "--temp",    "0.8",     "--top-k",  "0",       "--top-p",
                               "1",         "--min-p", "0",        "--seed",  "18446744073709551615",
                               "--backend", "cpu",     "--device", "3",       "--no-graph",
                               "--special"});
    CHECK(all.predict == -1 && all.context == 2048 && all.batch == 64 && all.temperature == 0.8f && all.top_k == 0 &&
          all.top_p == 1.0f && all.min_p == 0.0f && all.seed == 18446744073709551615u);
    CHECK(all.backend == llm::backend_choice::cpu && all.device == 3 && !all.graph && all.parse_control &&
          all.prompt.empty());
    CHECK(parse({"-m", "x", "-f", file}).prompt.size() > 100);
    CHECK(parse({"-m", "x", "--perplexity", "t"}).mode == llm::run_mode::perplexity);
    CHECK(parse({"-m", "x", "--bench", "--bench-json", "o"}).mode == llm::run_mode::bench);
    const options joined =
        parse({"--model=x", "--prompt=a=b", "--n-predict=-1", "--seed=7", "--weights=mapped", "--threads=3"});
    CHECK(joined.model == "x" && joined.prompt == "a=b" && joined.predict == -1 && joined.seed == 7 &&
          joined.weights == llm::weight_placement::mapped && joined.threads == 3);
    CHECK(parse({"-m", "x", "--prompt="}).prompt.empty());
    CHECK(parse({"-m", "x", "-p", "--seed=7"}).prompt == "--seed=7");
    CHECK(parse({"-m", "x", "-m", "y", "-p", "z", "-n", "1", "-n", "2"}).predict == 2);
    const options chat = parse({"-m", "x", "--chat", "--system", "be brief"});
    CHECK(chat.mode == llm::run_mode::chat && chat.predict == -1 && chat.prompt.empty() && chat.system == "be brief");
    CHECK(parse({"-m", "x", "--chat", "-n", "7", "-p", "hello"}).predict == 7);
    CHECK(parse({"--version"}).mode == llm::run_mode::version);
    CHECK(parse({"--bench", "--version"}).mode == llm::run_mode::version);
    CHECK(parse({"--version", "-h"}).mode == llm::run_mode::help);
    CHECK(parse({"-m", "x", "-f", "/dev/null"}).prompt.empty());
    CHECK(parse({"--help"}).mode == llm::run_mode::help);
    CHECK(parse({"--bench", "-h"}).mode == llm::run_mode::help);
}

void refuses() {
    const auto with = [](std::vector<const char *> extra) {
        extra.insert(extra.begin(), {"-m", "x", "-p", "hi"});
        return parse(extra);
    };
    CHECK_ERROR(usage_error, parse({}), "--model FILE is needed");
    CHECK_ERROR(usage_error, parse({"-m", ""}), "takes the name of a file");
    CHECK_ERROR(usage_error, parse({"-m", "x"}), "one of --prompt, --file, --chat");
    CHECK_ERROR(usage_error, parse({"-m", "x", "--chat", "--chat"}), "--chat is given more than once");
    CHECK_ERROR(usage_error, parse({"-m", "x", "--bench", "--chat"}), "--chat does not go with --bench");
    CHECK_ERROR(usage_error, parse({"-m", "x", "--chat", "--parallel", "2"}), "--parallel does not go with --chat");
    CHECK_ERROR(usage_error, parse({"-m", "x", "--chat", "--special"}), "--special does not go with --chat");
    CHECK_ERROR(usage_error, parse({"-m", "x", "--chat", "-f", "-"}), "--file - does not go with --chat");
    CHECK_ERROR(usage_error, with({"--system", "x"}), "--system goes with --chat");
    CHECK_ERROR(usage_error, with({"--frobnicate"}), "unknown option \"--frobnicate\"");
    CHECK_ERROR(usage_error, with({"stray"}), "unknown option \"stray\"");
    CHECK_ERROR(usage_error, with({"-p", "again"}), "--prompt is given more than once");
    CHECK_ERROR(usage_error, with({"--prompt=again"}), "--prompt is given more than once");
    CHECK_ERROR(usage_error, parse({"-m", "x", "-f", "a", "--file=b"}), "--file is given more than once");
    CHECK_ERROR(usage_error, with({"-f", "a"}), "--prompt and --file both give the prompt");
    CHECK_ERROR(usage_error, with({"--bench"}), "go with neither");
    CHECK_ERROR(usage_error, with({"--perplexity", "t"}), "go with neither");
    CHECK_ERROR(usage_error, with({"--bench-json", "o"}), "goes with --bench");
    CHECK_ERROR(usage_error, parse({"-m", "x", "--bench", "--perplexity", "t"}),
                "--perplexity does not go with --bench");
    CHECK_ERROR(usage_error, parse({"-m", "x", "--perplexity", "t", "--bench"}),
                "--perplexity does not go with --bench");
    CHECK_ERROR(usage_error, parse({"-m", "x", "--bench", "--bench"}), "--bench is given more than once");
    CHECK_ERROR(usage_error, parse({"-m", "x", "--perplexity=t", "--perplexity=t"}),
                "--perplexity is given more than once");
    CHECK_ERROR(usage_error, with({"--no-graph=yes"}), "--no-graph takes no value");
    CHECK_ERROR(usage_error, with({"--bench="}), "--bench takes no value");
    CHECK_ERROR(usage_error, with({"--frobnicate=3"}), "unknown option \"--frobnicate\"");
    CHECK_ERROR(usage_error, with({"-n=3"}), "unknown option \"-n=3\"");
    CHECK_ERROR(usage_error, with({"--threads", "1025"}), "from 0 to 1024");
    CHECK_ERROR(usage_error, with({"--backend", "gpu"}), "auto, cuda or cpu");
    CHECK_ERROR(usage_error, with({"--compute", "fp8"}), "int8 or exact");
    CHECK_ERROR(usage_error, with({"--weights", "native"}), "auto, packed, copied or mapped");
    CHECK_ERROR(usage_error, with({"--parallel", "65"}), "from 1 to 64");
    CHECK_ERROR(usage_error, parse({"-m", "x", "--perplexity", "t", "--parallel", "2"}), "does not go with");
    CHECK_ERROR(std::system_error, parse({"-m", "x", "-f", "/nonexistent/file"}), "/nonexistent/file");
    for (const char *name : {"-m", "-p", "-f", "-n", "-c", "--batch", "--temp", "--top-k", "--top-p", "--min-p", "-s",
                             "--backend", "--device", "--perplexity", "--bench-json"}) {
        CHECK_ERROR(usage_error, parse({name}), "needs a value");
    }
    for (const char *name : {"-n", "-c", "--batch", "--top-k", "-s", "--device", "--threads"}) {
        for (const char *text : {"", "x", "1x", " 1", "+1", "-2", "1.5", "99999999999999999999999", "0x10"})
            CHECK_ERROR(usage_error, with({name, text}), "takes a whole number");
    }
    for (const char *name : {"--temp", "--top-p", "--min-p"}) {
        for (const char *text : {"", "x", "1x", " 1", "-0.5", "nan", "inf", "1e99", "0x1p2", "1.5.5"})
            CHECK_ERROR(usage_error, with({name, text}), "takes a number");
    }
    CHECK_ERROR(usage_error, with({"-c", "0"}), "from 1");
    CHECK_ERROR(usage_error, with({"--batch", "4097"}), "to 4096");
    CHECK_ERROR(usage_error, with({"--top-p", "0"}), "above 0");
    CHECK_ERROR(usage_error, with({"--min-p", "1.01"}), "at most 1");
    CHECK_ERROR(usage_error, with({"--temp", "101"}), "at most 100");
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    accepts(argv[1]);
    refuses();
    return test::summary();
}
