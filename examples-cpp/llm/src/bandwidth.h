// How fast the weights can be read at best, to compare the decode speed with.
#pragma once

#include <string>

#include "device.h"

namespace llm {

struct bandwidth {
    double bytes_per_second = 0;  // 0 when unknown
    std::string origin;           // "nominal", or how it was measured
};

// The nominal one of the device's hardware profile, or measured by copying within the device where that is unknown. Unknown on the CPU
// backend, which is not made to come near it.
bandwidth find_bandwidth(const device &owner);

}  // namespace llm
