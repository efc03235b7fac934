#include "nvml.h"

#include <cstdio>
#include <fstream>

#include <dlfcn.h>

namespace bench {

namespace {

constexpr int clock_sm = 1, clock_memory = 2;
constexpr int sensor_gpu = 0;
// The GPU is idle or an application clock is set: not reasons to distrust a measurement.
constexpr unsigned long long harmless_throttle = 0x1 | 0x2;

std::string shortened(double value) {
    char out[32];
    std::snprintf(out, sizeof out, "%g", value);
    return out;
}

}  // namespace

struct nvml::functions {
    void *library = nullptr;
    int (*init)() = nullptr;
    int (*shutdown)() = nullptr;
    int (*by_bus_id)(const char *, void **) = nullptr;
    int (*clock)(void *, int, unsigned *) = nullptr;
    int (*top_clock)(void *, int, unsigned *) = nullptr;
    int (*power)(void *, unsigned *) = nullptr;
    int (*power_limit)(void *, unsigned *) = nullptr;
    int (*energy)(void *, unsigned long long *) = nullptr;
    int (*temperature)(void *, int, unsigned *) = nullptr;
    int (*throttle)(void *, unsigned long long *) = nullptr;
    int (*driver)(char *, unsigned) = nullptr;

    functions() {
        library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) return;
        find(init, "nvmlInit_v2");
        find(shutdown, "nvmlShutdown");
        find(by_bus_id, "nvmlDeviceGetHandleByPciBusId_v2");
        find(clock, "nvmlDeviceGetClockInfo");
        find(top_clock, "nvmlDeviceGetMaxClockInfo");
        find(power, "nvmlDeviceGetPowerUsage");
        find(power_limit, "nvmlDeviceGetEnforcedPowerLimit");
        find(energy, "nvmlDeviceGetTotalEnergyConsumption");
        find(temperature, "nvmlDeviceGetTemperature");
        find(throttle, "nvmlDeviceGetCurrentClocksThrottleReasons");
        find(driver, "nvmlSystemGetDriverVersion");
        if (init != nullptr && init() != 0) init = nullptr;
    }
    ~functions() {
        if (usable() && shutdown != nullptr) shutdown();
        if (library != nullptr) dlclose(library);
    }
    functions(const functions &) = delete;
    functions &operator=(const functions &) = delete;
    bool usable() const { return init != nullptr; }

    // NVML's calls give an unsigned value and a status.
    template <typename Value, typename Call, typename... Arguments>
    static std::optional<double> ask(Call call, void *device, Arguments... arguments) {
        Value value = 0;
        if (device == nullptr || call == nullptr || call(device, arguments..., &value) != 0) return std::nullopt;
        return static_cast<double>(value);
    }

private:
    template <typename F>
    void find(F &function, const char *name) {
        function = reinterpret_cast<F>(dlsym(library, name));
    }
};

nvml::nvml(const std::string &pci_bus_id) : api_(std::make_unique<functions>()) {
    if (api_->usable() && api_->by_bus_id != nullptr && api_->by_bus_id(pci_bus_id.c_str(), &device_) != 0)
        device_ = nullptr;
}

nvml::~nvml() = default;

std::optional<double> nvml::sm_mhz() const { return functions::ask<unsigned>(api_->clock, device_, clock_sm); }

std::optional<double> nvml::top_sm_mhz() const { return functions::ask<unsigned>(api_->top_clock, device_, clock_sm); }

std::optional<double> nvml::power_limit_w() const {
    auto milliwatts = functions::ask<unsigned>(api_->power_limit, device_);
    if (milliwatts) *milliwatts /= 1e3;
    return milliwatts;
}

gpu_state nvml::read() const {
    gpu_state out;
    out.sm_mhz = sm_mhz();
    out.memory_mhz = functions::ask<unsigned>(api_->clock, device_, clock_memory);
    out.power_w = functions::ask<unsigned>(api_->power, device_);
    if (out.power_w) *out.power_w /= 1e3;
    out.energy_j = functions::ask<unsigned long long>(api_->energy, device_);
    if (out.energy_j) *out.energy_j /= 1e3;
    out.temperature_c = functions::ask<unsigned>(api_->temperature, device_, sensor_gpu);
    unsigned long long reasons = 0;
    if (device_ != nullptr && api_->throttle != nullptr && api_->throttle(device_, &reasons) == 0)
        out.throttle = reasons & ~harmless_throttle;
    return out;
}

std::optional<std::string> nvml::driver_version() const {
    char out[96] = "";
    if (!api_->usable() || api_->driver == nullptr || api_->driver(out, sizeof out) != 0) return std::nullopt;
    return out;
}

std::string power_mode(const nvml *gpu) {
    // nvpmodel keeps the mode of Jetson here: "pmode:0002".
    std::ifstream status("/var/lib/nvpmodel/status");
    if (std::string mode; std::getline(status, mode) && !mode.empty()) return "nvpmodel " + mode;
    const std::optional<double> limit = gpu != nullptr ? gpu->power_limit_w() : std::nullopt;
    return limit ? "power limit " + shortened(*limit) + " W" : "unknown";
}

}  // namespace bench
