// What the device can do at most: the denominators of everything else.
#pragma once

#include <string>
#include <vector>

#include "statistics.h"
#include "target.h"

namespace bench {

struct ceilings {
    // Bytes per second of the best of the read kernels, from memory; from its median time.
    double read = 0;
    summary read_us;
    double read_bytes = 0;
    std::string read_kernel;  // "read8, 4 blocks of 512 threads per SM"
    double sm_mhz = 0;
    std::string clock_source;
    // Copy on the device, bytes read plus bytes written; not limited by --sm-count.
    double copy = 0;
    summary copy_us;
    // One kernel that does nothing, of many in a graph; the library's smallest launch there; and the host's time for a launch.
    summary graph_launch_us, add_one_us, host_launch_us;
    // The read kernel launched without a graph: other than `read` only where a graph does not keep to the SMs of its stream.
    double read_without_graph = 0;

    double read_bytes_per_clock_sm(uint32_t sm_count) const {
        const double clocks = read_us.median * sm_mhz * sm_count;
        return clocks > 0 ? read_bytes / clocks : 0;
    }
    json to_json(uint32_t sm_count) const;
    // A graph that runs on more SMs than its stream has makes every figure of a limited run worthless.
    bool graph_escapes() const { return read > 1.2 * read_without_graph; }
};

// The read ceiling alone, a second or less.
ceilings measure_read_ceiling(target &on);
ceilings measure_ceilings(target &on);

}  // namespace bench
