// Clocks, power and temperature of a discrete GPU by NVML, which is opened at run time; on a machine without it every value is unknown.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace bench {

struct gpu_state {
    std::optional<double> sm_mhz, memory_mhz;
    std::optional<double> power_w, temperature_c;
    // Joules since the driver was loaded.
    std::optional<double> energy_j;
    // Bits of nvmlClocksThrottleReasons, 0 where the clocks are not held down.
    std::optional<uint64_t> throttle;
};

class nvml {
public:
    // `pci_bus_id` as CUDA prints it.
    explicit nvml(const std::string &pci_bus_id);
    ~nvml();
    nvml(const nvml &) = delete;
    nvml &operator=(const nvml &) = delete;

    gpu_state read() const;
    // The SM clock alone: the cheap call for a sampler.
    std::optional<double> sm_mhz() const;
    std::optional<std::string> driver_version() const;
    std::optional<double> power_limit_w() const;
    std::optional<double> top_sm_mhz() const;

private:
    struct functions;
    std::unique_ptr<functions> api_;
    void *device_ = nullptr;
};

// The power mode that the results belong to: the power limit of a discrete GPU, nvpmodel's mode on Jetson; "unknown" otherwise.
std::string power_mode(const nvml *gpu);

}  // namespace bench
