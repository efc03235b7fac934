// Contents of operands. Speed hardly depends on them, but a NaN or a denormal in every block would measure something else, and so
// would zeros: power and with it clocks depend on the bits that toggle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <reflex/infer.h>

namespace bench {

// Elements or native blocks at random, the same on every machine: floats from `least` to `most`, and blocks of weights whose root mean
// square is near 1.
std::vector<uint8_t> make_values(reflex_dtype dtype, size_t count, uint64_t seed, float least = -1, float most = 1);

// At least half a megabyte of them.
std::vector<uint8_t> make_pattern(reflex_dtype dtype);

}  // namespace bench
