// One line on standard error that says what is going on: it replaces itself on a terminal, elsewhere there is one now and then.
#pragma once

#include <chrono>
#include <cstdio>
#include <string>

#include <unistd.h>

namespace bench {

class progress {
public:
    ~progress() { clear(); }

    void say(const std::string &text) {
        const auto now = std::chrono::steady_clock::now();
        if (terminal_) {
            std::fprintf(stderr, "\r\033[K%s", text.c_str());
            std::fflush(stderr);
        } else if (first_ || now - last_ > std::chrono::seconds(5)) {
            std::fprintf(stderr, "%s\n", text.c_str());
            last_ = now;
            first_ = false;
        }
    }
    void clear() {
        if (terminal_) std::fputs("\r\033[K", stderr);
    }

private:
    const bool terminal_ = ::isatty(STDERR_FILENO) != 0;
    bool first_ = true;
    std::chrono::steady_clock::time_point last_;
};

}  // namespace bench
