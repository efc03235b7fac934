// reflex-bench: how fast the library is on this machine, and how fast it could be.
#include <cstdio>
#include <exception>

#include "commands.h"
#include "target.h"

namespace {

// What cannot be done without a GPU.
const char *what_needs_one(bench::command what) {
    switch (what) {
        case bench::command::ops:
            return "measure ops";
        case bench::command::ceiling:
            return "measure ceiling";
        case bench::command::tune:
            return "measure tune";
        case bench::command::model:
            return "measure model";
        case bench::command::check:
            return "check";
        case bench::command::help:
            break;
    }
    return "help";
}

int run(const bench::options &wanted) {
    switch (wanted.what) {
        case bench::command::ops:
            return bench::run_ops(wanted);
        case bench::command::ceiling:
            return bench::run_ceiling(wanted);
        case bench::command::tune:
            return bench::run_tune(wanted);
        case bench::command::model:
            return bench::run_model(wanted);
        case bench::command::check:
            return bench::run_check(wanted);
        case bench::command::help:
            break;
    }
    std::fputs(bench::usage_text().c_str(), stdout);
    return 0;
}

}  // namespace

int main(int argc, char **argv) {
    bench::options wanted;
    try {
        wanted = bench::parse_options(argc, argv);
        bench::adopt_environment(wanted);
        return run(wanted);
    } catch (const bench::usage_error &error) {
        std::fprintf(stderr, "reflex-bench: %s\n", error.what());
        return 2;
    } catch (const bench::no_gpu_error &error) {
        std::fprintf(stderr, "reflex-bench: cannot %s without a usable GPU: %s\n", what_needs_one(wanted.what),
                     error.what());
        return 2;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "reflex-bench: %s\n", error.what());
        return 1;
    }
}
