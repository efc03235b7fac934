// How fast the weights can be read at best, to compare the decode speed with.
#pragma once

#include <string>

#include "device.h"
#include "model_file.h"

namespace llm {

struct bandwidth {
    double bytes_per_second;  // 0 when unknown
    std::string origin;       // "nominal", or how it was measured
};

// CPU backend: measured, by reading the weights with one thread per core. CUDA: the nominal one of the device's hardware profile,
// or measured by copying within the device where that is unknown.
bandwidth find_bandwidth(const device &owner, const model_tensors &tensors);

}  // namespace llm
