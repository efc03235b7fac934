// The few driver calls that the library's ABI has no need of: green contexts, timing on their streams, the probe kernels.
// libcuda is opened at run time and its functions are declared here: no CUDA toolkit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include <reflex/infer.h>

namespace bench {

class driver_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

struct driver_functions;

// Kernels recorded once and replayed as a whole.
class cuda_graph {
public:
    cuda_graph(const driver_functions &api, void *exec) : api_(api), exec_(exec) {}
    ~cuda_graph();
    cuda_graph(const cuda_graph &) = delete;
    cuda_graph &operator=(const cuda_graph &) = delete;
    void launch(reflex_stream stream) const;

private:
    const driver_functions &api_;
    void *exec_;
};

// Points in a stream's time.
class cuda_event {
public:
    explicit cuda_event(const driver_functions &api);
    ~cuda_event();
    cuda_event(const cuda_event &) = delete;
    cuda_event &operator=(const cuda_event &) = delete;
    void record(reflex_stream stream) const;
    // Microseconds since `start`, both reached.
    double since(const cuda_event &start) const;

private:
    const driver_functions &api_;
    void *event_ = nullptr;
};

// One device with all of its SMs, or with some of them as a green context, and a stream there. What makes it stays current on the
// calling thread: use it from that thread.
class cuda_device {
public:
    // `sm_count` 0: all of them. Throws driver_error.
    cuda_device(int ordinal, uint32_t sm_count);
    ~cuda_device();
    cuda_device(const cuda_device &) = delete;
    cuda_device &operator=(const cuda_device &) = delete;

    const driver_functions &api() const { return *api_; }
    reflex_stream stream() const { return stream_; }
    // SMs that the stream's kernels get; the driver rounds the wish up to what the hardware can split off.
    uint32_t sm_count() const { return sm_count_; }
    // CUDA version of the driver, "13.0".
    std::string cuda_version() const;

    void synchronize() const;
    std::unique_ptr<cuda_graph> capture(const std::function<void()> &body) const;
    std::unique_ptr<cuda_event> event() const;

    // The probe kernels. `bytes` is a multiple of 16; `in_flight` is 4 or 8 loads of 16 bytes.
    void read(const void *data, size_t bytes, void *sink, int in_flight, uint32_t blocks, uint32_t threads) const;
    void empty_kernel() const;

private:
    void limit_sms(uint32_t wanted);
    void load_probes();
    void launch(void *kernel, uint32_t blocks, uint32_t threads, void **parameters) const;

    std::unique_ptr<driver_functions> api_;
    int device_ = 0;
    void *primary_ = nullptr;
    void *green_ = nullptr;
    reflex_stream stream_ = nullptr;
    uint32_t sm_count_ = 0;
    void *library_ = nullptr;
    void *read4_ = nullptr, *read8_ = nullptr, *empty_ = nullptr;
};

}  // namespace bench
