// The least that a test needs: checks that name what failed and go on, and an exit status.
#pragma once

#include <cstdio>
#include <exception>
#include <string>

namespace test {

inline int failures = 0;
inline int checks = 0;

inline void report(bool passed, const char *file, int line, const std::string &what) {
    ++checks;
    if (passed) return;
    ++failures;
    std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what.c_str());
}

// Runs `body`, which has to throw Error with `part` in its message.
template <typename Error, typename Body>
void expect_error(const Body &body, const std::string &part, const char *file, int line) {
    try {
        body();
        report(false, file, line, "no error, expected one with: " + part);
    } catch (const Error &error) {
        report(std::string(error.what()).find(part) != std::string::npos, file, line,
               std::string("error \"") + error.what() + "\" lacks: " + part);
    } catch (const std::exception &error) {
        report(false, file, line, std::string("error of another type: ") + error.what());
    }
}

inline int summary() {
    std::fprintf(stderr, "%d checks, %d failed\n", checks, failures);
    return failures == 0 && checks > 0 ? 0 : 1;
}

}  // namespace test

#define CHECK(condition) ::test::report(static_cast<bool>(condition), __FILE__, __LINE__, #condition)
#define CHECK_MESSAGE(condition, message) ::test::report(static_cast<bool>(condition), __FILE__, __LINE__, message)
#define CHECK_ERROR(Error, body, part) ::test::expect_error<Error>([&] { body; }, part, __FILE__, __LINE__)
