// Problems of `cases/` as calls of the library.
#pragma once

#include "case_file.h"
#include "cases.h"

namespace bench {

// A problem that only the Rust tests set up: it has operands in place of others, special values or the like.
class not_set_up : public case_error {
public:
    using case_error::case_error;
};

struct problem {
    bench_case call;
    // What its errors are measured by: the size of its sums, and the type that results are rounded to.
    double sums = 1;
    reflex_dtype rounded_to = REFLEX_DTYPE_F32;
};

// Throws not_set_up, or case_error where the values make no sense.
problem problem_of(const descriptor &what);

// Where an operand's elements lie, with its gaps, and the bytes that it needs.
reflex_tensor placed(const operand &what, void *data);
size_t placed_bytes(const operand &what);

}  // namespace bench
