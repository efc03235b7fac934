// What is measured on: the library's context, a stream of all SMs or of some, and what the device says of itself.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include <reflex/infer.hpp>

#include "driver.h"
#include "json.h"
#include "options.h"

namespace bench {

// There is no GPU that this library can use.
class no_gpu_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// A recorded sequence of launches.
class recording {
public:
    virtual ~recording() = default;
    virtual void replay() const = 0;
};

class target {
public:
    // Throws no_gpu_error.
    explicit target(const options &wanted);
    ~target();
    target(const target &) = delete;
    target &operator=(const target &) = delete;

    const reflex::context &owner() const { return *context_; }
    const reflex_context *context() const { return context_->get(); }
    bool is_cuda() const { return cuda_ != nullptr; }
    const cuda_device &cuda() const { return *cuda_; }
    reflex::telemetry telemetry() const { return context_->telemetry(); }
    const reflex_device_info &info() const { return info_; }

    reflex_stream stream() const { return cuda_ ? cuda_->stream() : setup_->get(); }
    uint32_t sm_count() const { return cuda_ ? cuda_->sm_count() : info_.sm_count; }
    uint64_t l2_bytes() const { return info_.l2_bytes != 0 ? info_.l2_bytes : 1 << 20; }
    uint64_t free_memory() const;
    // The top clock of the SMs, where the one under load is not known.
    double nominal_mhz() const { return nominal_mhz_; }
    // Where clocks come from: "nvml", or "sysfs" on Jetson.
    const char *clock_source() const { return info_.integrated != 0 ? "sysfs" : "nvml"; }

    void synchronize() const;
    std::unique_ptr<recording> record(const std::function<void()> &body) const;
    // Runs the steps one after another without waiting in between; microseconds of each that is timed.
    struct step {
        std::function<void()> body;
        bool timed;
    };
    std::vector<double> time(const std::vector<step> &steps) const;

    // Set-up, finished when the call returns: fills memory with numbers that are usual for the type, a contiguous tensor of
    // any layout with the same, or memory with these.
    void fill(void *to, size_t bytes, reflex_dtype dtype);
    void fill(const reflex_tensor &to, size_t bytes);
    void upload(void *to, const void *from, size_t bytes) const;
    // Pushes everything else out of L2. Nothing on the CPU.
    void flush_l2() const;

    // What a result file says of the machine: GPU, driver, toolkit, clocks, power mode, temperature, commit.
    json environment(const options &wanted) const;

private:
    void pack_in_place(const reflex_tensor &weights, size_t bytes);
    void fill_quantized(const reflex_tensor &to);
    const reflex::device_buffer &pattern(reflex_dtype dtype);
    void wait_for_setup() const { setup_->synchronize(); }

    std::unique_ptr<cuda_device> cuda_;
    std::unique_ptr<reflex::context> context_;
    std::unique_ptr<reflex::stream> setup_;
    reflex::device_info info_;
    double nominal_mhz_ = 0;
    std::map<reflex_dtype, reflex::device_buffer> patterns_;
    reflex::device_buffer flush_;
};

}  // namespace bench
