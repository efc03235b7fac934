// A problem on one backend: its operands in memory of their own, and what a launch makes of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cases.h"

namespace bench {

class case_runner {
public:
    explicit case_runner(reflex_backend backend, int32_t device = 0);

    // The bytes of each operand after a launch, those between its rows as well.
    std::vector<std::vector<uint8_t>> run(const bench_case &what);
    // The kernel of the last launch.
    const std::string &kernel() const { return kernel_; }

private:
    void copy(void *to, const void *from, size_t bytes) const;
    void *place(const operand &what, size_t at);

    std::unique_ptr<reflex::context> context_;
    std::unique_ptr<reflex::stream> stream_;
    std::vector<reflex::device_buffer> memory_;
    std::string kernel_;
};

}  // namespace bench
