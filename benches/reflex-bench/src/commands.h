// What the program does. Each returns its exit status.
#pragma once

#include "options.h"

namespace bench {

int run_ops(const options &wanted);
int run_ceiling(const options &wanted);
int run_tune(const options &wanted);
int run_model(const options &wanted);
int run_check(const options &wanted);

}  // namespace bench
