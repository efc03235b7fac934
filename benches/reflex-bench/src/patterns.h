// Contents of operands. Speed hardly depends on them, but a NaN or a denormal in every block would measure something else, and so
// would zeros: power and with it clocks depend on the bits that toggle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <reflex/infer.h>

namespace bench {

// At least half a megabyte of valid elements or blocks.
std::vector<uint8_t> make_pattern(reflex_dtype dtype);

}  // namespace bench
