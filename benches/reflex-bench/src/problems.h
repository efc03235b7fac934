// Problems of `cases/` as calls of the library.
#pragma once

#include "case_file.h"
#include "cases.h"

namespace bench {

// A problem that only the Rust tests set up: it has special values, views of one buffer or the like.
class not_set_up : public case_error {
public:
    using case_error::case_error;
};

struct problem {
    bench_case call;
    // What its errors are measured by: the larger of `at_least` and (bound * sums + beside_int8) * scale, where `sums` is the size of its
    // sums, `scale` what they are multiplied with afterwards, and `beside_int8` what int8 kernels lose before they multiply.
    double sums = 1, beside_int8 = 0, scale = 1, at_least = 0;
    // What the relative bound is multiplied with.
    double relative = 1;
    // The type that results are rounded to.
    reflex_dtype rounded_to = REFLEX_DTYPE_F32;
    // What a kernel's bound depends on besides.
    std::string variant;
};

// Throws not_set_up, or case_error where the values make no sense.
problem problem_of(const descriptor &what);

}  // namespace bench
