// reflex-llm: a small language-model engine on reflex::infer.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <unistd.h>

#include "bandwidth.h"
#include "bench.h"
#include "chat.h"
#include "device.h"
#include "engine.h"
#include "generate.h"
#include "gguf.h"
#include "interrupt.h"
#include "model_file.h"
#include "model_files.h"
#include "options.h"
#include "perplexity.h"
#include "report.h"
#include "tokenizer.h"
#include "unicode.h"

namespace {

using namespace llm;

constexpr uint32_t default_context = 4096;
constexpr uint32_t perplexity_chunk = 512;

reflex_backend backend_of(backend_choice choice) {
    switch (choice) {
        case backend_choice::cuda:
            return REFLEX_BACKEND_CUDA;
        case backend_choice::cpu:
            return REFLEX_BACKEND_CPU;
        case backend_choice::automatic:
            break;
    }
    return REFLEX_BACKEND_AUTO;
}

void print(const std::string &text) {
    if (text.empty()) return;
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
        throw std::system_error(errno, std::generic_category(), "cannot write to standard output");
}

// A line of progress that the next one replaces; nothing when nobody watches.
void progress(const std::string &text) {
    if (::isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\033[K%s", text.c_str());
}

uint32_t choose_context(const options &wanted, const model_config &config) {
    if (wanted.context > config.context_length) {
        throw std::invalid_argument("--ctx " + std::to_string(wanted.context) +
                                    " is more than the model's context of " + std::to_string(config.context_length) +
                                    " tokens");
    }
    const uint32_t context = wanted.context != 0 ? wanted.context : std::min(config.context_length, default_context);
    return wanted.mode == run_mode::perplexity ? std::min(context, perplexity_chunk) : context;
}

// A file and all that is read from it.
struct model {
    explicit model(const std::string &path)
        : files(path),
          config(read_config(files.contents())),
          tensors(find_tensors(files.contents(), config)),
          words(files.contents()) {}

    const model_files files;
    const model_config config;
    const model_tensors tensors;
    const tokenizer words;
};

class run {
public:
    explicit run(const options &wanted)
        : options_(wanted),
          model_(naming(wanted.model, [&] { return std::make_unique<const model>(wanted.model); })),
          config_(model_->config),
          tensors_(model_->tensors),
          words_(model_->words) {}

    // The exit status.
    int operator()() {
        switch (options_.mode) {
            case run_mode::generate:
                return generate_text();
            case run_mode::chat:
                return chat();
            case run_mode::perplexity:
                return score_text();
            case run_mode::bench:
                return bench();
            case run_mode::help:
            case run_mode::version:
                break;
        }
        return 0;
    }

private:
    run_shape shape() const {
        const uint32_t context = choose_context(options_, config_);
        if (uint64_t{context} * options_.parallel > std::numeric_limits<int32_t>::max())
            throw std::invalid_argument("--parallel " + std::to_string(options_.parallel) + " times a context of " +
                                        std::to_string(context) + " is more than 2^31 - 1 tokens");
        const uint32_t batch = std::min(options_.batch, context);
        const uint32_t logit_rows = options_.mode == run_mode::perplexity ? std::min(batch, perplexity_logit_rows) : 1;
        return {context, batch, logit_rows, options_.parallel};
    }

    // Calls `body` with the device and the engine made for the options.
    template <typename Body>
    void with_engine(const Body &body) {
        for (const std::string &note : words_.notes()) std::fprintf(stderr, "reflex-llm: %s\n", note.c_str());
        progress("loading " + options_.model);
        const auto start = std::chrono::steady_clock::now();
        const device owner(backend_of(options_.backend), static_cast<int32_t>(options_.device), options_.threads);
        const sampling how{options_.temperature, options_.top_k, options_.top_p, options_.min_p, options_.seed};
        const engine_options options{options_.compute, options_.weights,
                                     options_.graph && options_.mode != run_mode::perplexity};
        const std::unique_ptr<engine> model = naming(options_.model, [&] {
            return std::make_unique<engine>(owner, model_->files.maps(), config_, tensors_, shape(), how, options);
        });
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        progress("");
        body(run_facts{owner, config_, tensors_, *model, seconds}, *model);
    }

    int generate_text() {
        const std::vector<token_id> prompt = words_.encode_prompt(options_.prompt, options_.parse_control);
        if (prompt.empty()) throw std::invalid_argument("the prompt has no tokens");
        const uint32_t context = choose_context(options_, config_);
        if (prompt.size() > context)
            throw std::invalid_argument("the prompt has " + std::to_string(prompt.size()) + " tokens, the context " +
                                        std::to_string(context));
        int status = 0;
        with_engine([&](const run_facts &facts, engine &model) {
            catch_interrupts();
            const generation result =
                options_.parallel > 1 ? continue_many(model, prompt) : continue_one(model, prompt);
            report_generation(facts, result, find_bandwidth(facts.owner));
            if (result.reason == stop_reason::interrupted) status = interrupted_status;
        });
        return status;
    }

    generation continue_one(engine &model, const std::vector<token_id> &prompt) {
        print(options_.prompt);
        const generation result = llm::generate(
            model, words_, prompt, options_.predict, [](size_t, const std::string &text) { print(text); }, interrupted);
        if (::isatty(STDOUT_FILENO) != 0) print("\n");
        return result;
    }

    // They come at the same time: each is kept until all are there.
    generation continue_many(engine &model, const std::vector<token_id> &prompt) {
        std::vector<std::string> texts(model.sequences());
        const generation result = llm::generate(
            model, words_, prompt, options_.predict, [&](size_t i, const std::string &text) { texts[i] += text; },
            interrupted);
        for (size_t i = 0; i < texts.size(); ++i)
            print("=== " + std::to_string(i + 1) + " of " + std::to_string(texts.size()) + " ===\n" + options_.prompt +
                  texts[i] + "\n");
        return result;
    }

    int chat() {
        const chat_template form = naming(options_.model, [this] { return read_chat_template(); });
        int status = 0;
        with_engine([&](const run_facts &facts, engine &model) {
            catch_interrupts();
            size_t failures = 0;
            const generation result = converse(model, form, failures);
            report_generation(facts, result, find_bandwidth(facts.owner));
            if (failures > 0) status = 1;
            if (result.reason == stop_reason::interrupted) status = interrupted_status;
        });
        return status;
    }

    chat_template read_chat_template() const {
        const gguf_value *source = model_->files.contents().find("tokenizer.chat_template");
        if (source == nullptr)
            throw gguf_error(
                "the file has no chat template (tokenizer.chat_template): it may not be a model for conversations; "
                "--prompt continues a text");
        return {std::string(source->as_string()), well_formed_utf8(words_.decode(words_.bos(), true)),
                well_formed_utf8(words_.decode(words_.eos(), true))};
    }

    static void fail_turn(const std::exception &error, size_t &failures) {
        ++failures;
        std::fprintf(stderr, "reflex-llm: the turn is left out: %s\n", error.what());
    }

    // Until the input ends, an answer fills the context or an interrupt comes. The sums of all turns; one that the template refuses, or
    // that does not fit, is left out and counted.
    generation converse(engine &model, const chat_template &form, size_t &failures) {
        conversation talk(model, words_, form, options_.system);
        line_reader input(STDIN_FILENO);
        const bool watched = ::isatty(STDIN_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0;
        generation sum;
        sum.texts = 0;
        std::string said = options_.prompt;
        for (bool given = !said.empty();; given = false) {
            if (!given) {
                if (watched) std::fputs("> ", stderr);
                if (!input.next(said, interrupted)) {
                    sum.reason = interrupted() ? stop_reason::interrupted : stop_reason::end_of_input;
                    return sum;
                }
                if (said.empty()) continue;
            }
            generation turn;
            try {
                turn = naming(options_.model, [&] { return talk.say(said, options_.predict, print, interrupted); });
            } catch (const gguf_error &error) {
                fail_turn(error, failures);
                continue;
            } catch (const conversation_full &error) {
                fail_turn(error, failures);
                continue;
            }
            print("\n");
            ++sum.texts;
            sum.prompt_tokens += turn.prompt_tokens;
            sum.new_tokens += turn.new_tokens;
            sum.prefill_seconds += turn.prefill_seconds;
            sum.decode_seconds += turn.decode_seconds;
            sum.reason = turn.reason;
            if (turn.reason == stop_reason::interrupted || turn.reason == stop_reason::context_full) return sum;
        }
    }

    // Interrupted, it gives the figure of the chunks that there are, if there are any.
    int score_text() {
        const std::string text = read_text_file(options_.text_file);
        const uint32_t chunk = choose_context(options_, config_);
        if (chunk < 3)
            throw std::invalid_argument("--ctx " + std::to_string(chunk) +
                                        " is too small a chunk to score, at least 3 are needed");
        with_engine([&](const run_facts &facts, engine &model) {
            catch_interrupts();
            const perplexity_result result = measure_perplexity(
                model, words_, text, chunk,
                [](size_t done, size_t all) {
                    progress("chunk " + std::to_string(done) + " of " + std::to_string(all));
                },
                interrupted);
            progress("");
            report_perplexity(facts, result);
            if (result.scored == 0) return;
            char line[32];
            std::snprintf(line, sizeof line, "%.4f\n", result.perplexity);
            print(line);
        });
        return interrupted() ? interrupted_status : 0;
    }

    // Interrupted, it gives the tests that were done.
    int bench() {
        with_engine([&](const run_facts &facts, engine &model) {
            const bandwidth memory = find_bandwidth(facts.owner);
            report_bench_header(facts, memory);
            catch_interrupts();
            const std::vector<bench_result> results =
                run_bench(model, config_, tensors_.bytes_per_token(), memory, report_bench_row, interrupted);
            if (!options_.bench_json.empty()) write_bench_json(options_.bench_json, facts, memory, results);
        });
        return interrupted() ? interrupted_status : 0;
    }

    const options options_;
    const std::unique_ptr<const model> model_;
    const model_config &config_;
    const model_tensors &tensors_;
    const tokenizer &words_;
};

std::string version_text() {
    const reflex_build_info build = reflex_get_build_info();
    std::string out =
        std::string("reflex-llm ") + REFLEX_LLM_VERSION + "\nreflex-infer " + build.version + ", " + build.target;
    if (build.cuda_archs[0] == '\0') return out + ", CPU backend only\n";
    return out + ", kernels for " + build.cuda_archs + " by NVRTC " + build.nvrtc_version + "\n";
}

}  // namespace

int main(int argc, char **argv) {
    try {
        const options wanted = parse_options(argc, argv);
        if (wanted.mode == run_mode::help) {
            print(usage_text());
            return 0;
        }
        if (wanted.mode == run_mode::version) {
            print(version_text());
            return 0;
        }
        return run{wanted}();
    } catch (const usage_error &error) {
        std::fprintf(stderr, "reflex-llm: %s\n", error.what());
        return 2;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "reflex-llm: %s\n", error.what());
        return 1;
    }
}
