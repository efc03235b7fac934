/* reflex-infer for C++17: a thin layer over reflex/infer.h. Header only; nothing here adds a cost or a feature.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef REFLEX_INFER_HPP
#define REFLEX_INFER_HPP

#include <reflex/infer.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>

namespace reflex {

/// A status other than REFLEX_SUCCESS, with the library's message.
class error : public std::runtime_error {
public:
    explicit error(reflex_status status)
        : std::runtime_error(std::string(reflex_status_string(status)) + ": " + reflex_last_error_message()),
          status_(status) {}
    reflex_status status() const noexcept { return status_; }

private:
    reflex_status status_;
};

/// Throws `error` on anything but success.
inline void check(reflex_status status) {
    if (status != REFLEX_SUCCESS) throw error(status);
}

/// A params struct, zeroed, with its `struct_size` set: `reflex::params<reflex_norm_params> p;`.
template <typename P> struct params : P {
    params() : P{} { this->struct_size = static_cast<uint32_t>(sizeof(P)); }
};

using context_params = params<reflex_context_params>;
using device_info = params<reflex_device_info>;
using hardware_profile = params<reflex_hardware_profile>;
using telemetry = params<reflex_telemetry>;
using energy = params<reflex_energy>;
using activation_params = params<reflex_activation_params>;
using add_params = params<reflex_add_params>;
using argmax_params = params<reflex_argmax_params>;
using attention_params = params<reflex_attention_params>;
using attention_decode_params = params<reflex_attention_decode_params>;
using embedding_params = params<reflex_embedding_params>;
using matmul_params = params<reflex_matmul_params>;
using norm_params = params<reflex_norm_params>;
using quantize_params = params<reflex_quantize_params>;
using rope_params = params<reflex_rope_params>;
using sample_params = params<reflex_sample_params>;
using weights_pack_params = params<reflex_weights_pack_params>;
using weights_unpack_params = params<reflex_weights_unpack_params>;

/// A contiguous view; at most four dimensions, outermost first.
inline reflex_tensor tensor(const void *data, reflex_dtype dtype, std::initializer_list<int64_t> shape) {
    if (shape.size() < 1 || shape.size() > 4) throw std::invalid_argument("reflex::tensor: rank must be 1 to 4");
    reflex_tensor t{};
    t.data = const_cast<void *>(data);
    t.dtype = dtype;
    for (int64_t n : shape) t.shape[t.rank++] = n;
    return t;
}

/// The same with byte strides, one for each dimension.
inline reflex_tensor tensor(const void *data, reflex_dtype dtype, std::initializer_list<int64_t> shape,
                            std::initializer_list<int64_t> strides) {
    if (strides.size() != shape.size()) throw std::invalid_argument("reflex::tensor: as many strides as dimensions");
    reflex_tensor t = tensor(data, dtype, shape);
    uint32_t i = 0;
    for (int64_t s : strides) t.stride[i++] = s;
    return t;
}

/// What the handles below share: sole ownership, moved and never copied.
template <typename T, typename Destroy> class handle {
public:
    handle() = default;
    handle(handle &&other) noexcept : value_(std::exchange(other.value_, nullptr)), destroy_(other.destroy_) {}
    handle &operator=(handle &&other) noexcept {
        std::swap(value_, other.value_);
        std::swap(destroy_, other.destroy_);
        return *this;
    }
    handle(const handle &) = delete;
    handle &operator=(const handle &) = delete;
    ~handle() {
        if (value_) destroy_(value_);
    }
    T get() const noexcept { return value_; }
    explicit operator bool() const noexcept { return value_ != nullptr; }

protected:
    T value_ = nullptr;
    Destroy destroy_{};
};

namespace detail {
struct destroy_context {
    void operator()(reflex_context *c) const noexcept { reflex_context_destroy(c); }
};
struct destroy_event {
    void operator()(reflex_event *e) const noexcept { reflex_event_destroy(e); }
};
struct destroy_graph {
    void operator()(reflex_graph *g) const noexcept { reflex_graph_destroy(g); }
};
struct destroy_sampler {
    void operator()(reflex_telemetry_sampler *s) const noexcept { reflex_telemetry_sampler_destroy(s); }
};
struct destroy_stream {
    const reflex_context *context = nullptr;
    void operator()(reflex_stream s) const noexcept { reflex_stream_destroy(context, s); }
};
struct free_device {
    const reflex_context *context = nullptr;
    void operator()(void *p) const noexcept { reflex_device_free(context, p); }
};
struct free_host {
    const reflex_context *context = nullptr;
    void operator()(void *p) const noexcept { reflex_host_free(context, p); }
};
}  // namespace detail

/// Owns a context. Everything made from it must go first.
class context : public handle<reflex_context *, detail::destroy_context> {
public:
    context() { check(reflex_context_create(nullptr, &value_)); }
    explicit context(const reflex_context_params &p) { check(reflex_context_create(&p, &value_)); }

    device_info info() const {
        device_info i;
        check(reflex_get_device_info(value_, &i));
        return i;
    }
    hardware_profile profile() const {
        hardware_profile p;
        check(reflex_get_hardware_profile(value_, &p));
        return p;
    }
    reflex::telemetry telemetry() const {
        reflex::telemetry t;
        check(reflex_telemetry_read(value_, &t));
        return t;
    }
    bool is_cuda() const {
        reflex_backend backend = REFLEX_BACKEND_CPU;
        check(reflex_context_backend(value_, &backend));
        return backend == REFLEX_BACKEND_CUDA;
    }
    /// Why it has this backend, as `"CPU: "` and what kept AUTO from CUDA. Lives as long as the context.
    const char *backend_reason() const {
        const char *reason = nullptr;
        check(reflex_context_backend_reason(value_, &reason));
        return reason;
    }
};

class stream : public handle<reflex_stream, detail::destroy_stream> {
public:
    explicit stream(const context &c) : context_(c.get()) {
        destroy_.context = context_;
        check(reflex_stream_create(context_, &value_));
    }
    void synchronize() const { check(reflex_stream_synchronize(context_, value_)); }

private:
    const reflex_context *context_;
};

class event : public handle<reflex_event *, detail::destroy_event> {
public:
    explicit event(const context &c) : context_(c.get()) { check(reflex_event_create(context_, &value_)); }
    void record(reflex_stream s) { check(reflex_event_record(context_, value_, s)); }
    void synchronize() const { check(reflex_event_synchronize(value_)); }
    /// Milliseconds from `start` to this event.
    float since(const event &start) const {
        float ms = 0;
        check(reflex_event_elapsed(start.value_, value_, &ms));
        return ms;
    }

private:
    const reflex_context *context_;
};

/// Energy of an interval: `start`, the work, wait for the work, `stop`.
class telemetry_sampler : public handle<reflex_telemetry_sampler *, detail::destroy_sampler> {
public:
    explicit telemetry_sampler(const context &c, uint32_t period_ms = 50) {
        check(reflex_telemetry_sampler_create(c.get(), period_ms, &value_));
    }
    void start() { check(reflex_telemetry_sampler_start(value_)); }
    energy stop() {
        energy e;
        check(reflex_telemetry_sampler_stop(value_, &e));
        return e;
    }
};

/// A captured sequence of launches: `reflex::graph g = reflex::capture(ctx, stream, [&] { ... });`.
class graph : public handle<reflex_graph *, detail::destroy_graph> {
public:
    graph() = default;
    graph(const context &c, reflex_graph *g) : context_(c.get()) { value_ = g; }
    void launch(reflex_stream s) const { check(reflex_graph_launch(context_, value_, s)); }
    size_t nodes() const {
        size_t n = 0;
        check(reflex_graph_node_count(value_, &n));
        return n;
    }

private:
    const reflex_context *context_ = nullptr;
};

/// Records what `body` launches on `s`. When it throws, the capture is ended and dropped.
template <typename Body> graph capture(const context &c, reflex_stream s, Body &&body) {
    check(reflex_graph_capture_begin(c.get(), s));
    reflex_graph *g = nullptr;
    try {
        body();
    } catch (...) {
        if (reflex_graph_capture_end(c.get(), s, &g) == REFLEX_SUCCESS) reflex_graph_destroy(g);
        throw;
    }
    check(reflex_graph_capture_end(c.get(), s, &g));
    return graph(c, g);
}

/// Device memory of a context.
class device_buffer : public handle<void *, detail::free_device> {
public:
    device_buffer() = default;
    device_buffer(const context &c, size_t bytes) : bytes_(bytes) {
        destroy_.context = c.get();
        check(reflex_device_malloc(c.get(), bytes, &value_));
    }
    size_t size() const noexcept { return bytes_; }

private:
    size_t bytes_ = 0;
};

/// Page-locked host memory of a context.
class host_buffer : public handle<void *, detail::free_host> {
public:
    host_buffer() = default;
    host_buffer(const context &c, size_t bytes) : bytes_(bytes) {
        destroy_.context = c.get();
        check(reflex_host_malloc(c.get(), bytes, &value_));
    }
    size_t size() const noexcept { return bytes_; }

private:
    size_t bytes_ = 0;
};

}  // namespace reflex

#endif /* REFLEX_INFER_HPP */
