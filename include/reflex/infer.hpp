/* reflex-infer for C++17: a thin layer over reflex/infer.h. Header only; nothing here adds a cost or a feature.
 *
 * Compiles with -fno-exceptions and -fno-rtti, too. What reports a failure by throwing is then not declared: `error`,
 * `check`, the constructors of handles and the members that call the library. What stays: `params`, `tensor`, ownership by
 * the handles, their `create`, which returns a status in either case, and the C functions, which take `get()`.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef REFLEX_INFER_HPP
#define REFLEX_INFER_HPP

#include <reflex/infer.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <utility>

/* 1 where exceptions are enabled, else 0. */
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS) || defined(_CPPUNWIND)
#define REFLEX_HAS_EXCEPTIONS 1
#include <stdexcept>
#include <string>
#else
#define REFLEX_HAS_EXCEPTIONS 0
#endif

namespace reflex {

#if REFLEX_HAS_EXCEPTIONS
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

/// Bytes of a contiguous row: `reflex_dtype_row_bytes`.
inline uint64_t row_bytes(reflex_dtype dtype, int64_t elements) {
    uint64_t bytes = 0;
    check(reflex_dtype_row_bytes(dtype, elements, &bytes));
    return bytes;
}

/// Bytes that a view reaches over: `reflex_tensor_bytes`.
inline uint64_t tensor_bytes(const reflex_tensor &t) {
    uint64_t bytes = 0;
    check(reflex_tensor_bytes(&t, &bytes));
    return bytes;
}
#endif

/// A params struct, zeroed, with its `struct_size` set: `reflex::params<reflex_norm_params> p;`.
template <typename P> struct params : P {
    params() : P{} { this->struct_size = static_cast<uint32_t>(sizeof(P)); }
};

/* Written by ./dev header: */
using kv_cache = params<reflex_kv_cache>;
using context_params = params<reflex_context_params>;
using device_info = params<reflex_device_info>;
using hardware_profile = params<reflex_hardware_profile>;
using telemetry = params<reflex_telemetry>;
using kv_budget_params = params<reflex_kv_budget_params>;
using kv_sizes = params<reflex_kv_sizes>;
using memory_budget_params = params<reflex_memory_budget_params>;
using memory_fit = params<reflex_memory_fit>;
using energy = params<reflex_energy>;
using activation_params = params<reflex_activation_params>;
using add_params = params<reflex_add_params>;
using argmax_params = params<reflex_argmax_params>;
using attention_params = params<reflex_attention_params>;
using rope_params = params<reflex_rope_params>;
using attention_decode_params = params<reflex_attention_decode_params>;
using attention_merge_params = params<reflex_attention_merge_params>;
using embedding_params = params<reflex_embedding_params>;
using matmul_params = params<reflex_matmul_params>;
using norm_params = params<reflex_norm_params>;
using quantize_params = params<reflex_quantize_params>;
using sample_params = params<reflex_sample_params>;
using softcap_params = params<reflex_softcap_params>;
using softmax_params = params<reflex_softmax_params>;
using weights_pack_params = params<reflex_weights_pack_params>;
using weights_unpack_params = params<reflex_weights_unpack_params>;
/* Up to here. */

/// A struct without a `struct_size`, zeroed: `reflex::matmul_product products[2];`.
template <typename T> struct zeroed : T {
    zeroed() : T{} {}
};

using matmul_product = zeroed<reflex_matmul_product>;

/// A weight of a format that has everything in `data`.
inline reflex_weight weight(const reflex_tensor &data) noexcept {
    reflex_weight w{};
    w.data = data;
    return w;
}

/// Points `p` to `count` products, which have to be there until the call that takes `p` has returned.
template <typename Product>
void set_products(reflex_matmul_params &p, const Product *products, uint32_t count) noexcept {
    static_assert(std::is_base_of<reflex_matmul_product, Product>::value, "an array of products");
    static_assert(sizeof(Product) == sizeof(reflex_matmul_product), "products with nothing behind them");
    p.products = products;
    p.product_count = count;
    p.product_size = static_cast<uint32_t>(sizeof(reflex_matmul_product));
}

/// The same with all products of an array, which is no temporary: that would be gone before the call.
template <typename Product, size_t N> void set_products(reflex_matmul_params &p, Product (&products)[N]) noexcept {
    set_products(p, products, static_cast<uint32_t>(N));
}

namespace detail {
/// False when it is no tensor: a rank that is not 1 to 4, or another number of strides than 0 and the rank.
inline bool make_tensor(reflex_tensor &t, const void *data, reflex_dtype dtype, std::initializer_list<int64_t> shape,
                        std::initializer_list<int64_t> strides) {
    t = reflex_tensor{};
    t.data = const_cast<void *>(data);
    t.dtype = dtype;
    if (shape.size() < 1 || shape.size() > 4 || (strides.size() != 0 && strides.size() != shape.size())) return false;
    for (int64_t n : shape) t.shape[t.rank++] = n;
    uint32_t i = 0;
    for (int64_t s : strides) t.stride[i++] = s;
    return true;
}
}  // namespace detail

#if REFLEX_HAS_EXCEPTIONS
/// A contiguous view; at most four dimensions, outermost first. Throws std::invalid_argument for any other number of them.
inline reflex_tensor tensor(const void *data, reflex_dtype dtype, std::initializer_list<int64_t> shape) {
    reflex_tensor t;
    if (!detail::make_tensor(t, data, dtype, shape, {}))
        throw std::invalid_argument("reflex::tensor: rank must be 1 to 4");
    return t;
}

/// The same with byte strides, one for each dimension.
inline reflex_tensor tensor(const void *data, reflex_dtype dtype, std::initializer_list<int64_t> shape,
                            std::initializer_list<int64_t> strides) {
    reflex_tensor t;
    if (strides.size() != shape.size() || !detail::make_tensor(t, data, dtype, shape, strides))
        throw std::invalid_argument("reflex::tensor: rank must be 1 to 4, with as many strides as dimensions");
    return t;
}
#else
/* Other functions than those that throw, for programs in which both are compiled. */
inline namespace without_exceptions {
/// A contiguous view; at most four dimensions, outermost first. For any other number of them a tensor of rank 0, which
/// every op refuses.
inline reflex_tensor tensor(const void *data, reflex_dtype dtype, std::initializer_list<int64_t> shape) noexcept {
    reflex_tensor t;
    detail::make_tensor(t, data, dtype, shape, {});
    return t;
}

/// The same with byte strides, one for each dimension.
inline reflex_tensor tensor(const void *data, reflex_dtype dtype, std::initializer_list<int64_t> shape,
                            std::initializer_list<int64_t> strides) noexcept {
    reflex_tensor t;
    if (!detail::make_tensor(t, data, dtype, shape, strides) || strides.size() != shape.size()) t.rank = 0;
    return t;
}
}  // namespace without_exceptions
#endif

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
    /// Sets `out`, which the program has made with `reflex::context c(nullptr);`, only on success.
    static reflex_status create(const reflex_context_params *p, context &out) {
        context made(nullptr);
        const reflex_status status = reflex_context_create(p, &made.value_);
        if (status == REFLEX_SUCCESS) out = std::move(made);
        return status;
    }
    /// Of nothing.
    explicit context(std::nullptr_t) noexcept {}

#if REFLEX_HAS_EXCEPTIONS
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
#endif
};

class stream : public handle<reflex_stream, detail::destroy_stream> {
public:
    static reflex_status create(const context &c, stream &out) {
        stream made(nullptr);
        made.context_ = made.destroy_.context = c.get();
        const reflex_status status = reflex_stream_create(c.get(), &made.value_);
        if (status == REFLEX_SUCCESS) out = std::move(made);
        return status;
    }
    explicit stream(std::nullptr_t) noexcept {}

#if REFLEX_HAS_EXCEPTIONS
    explicit stream(const context &c) : stream(nullptr) { check(create(c, *this)); }
    void synchronize() const { check(reflex_stream_synchronize(context_, value_)); }
#endif

private:
    const reflex_context *context_ = nullptr;
};

class event : public handle<reflex_event *, detail::destroy_event> {
public:
    static reflex_status create(const context &c, event &out) {
        event made(nullptr);
        made.context_ = c.get();
        const reflex_status status = reflex_event_create(c.get(), &made.value_);
        if (status == REFLEX_SUCCESS) out = std::move(made);
        return status;
    }
    explicit event(std::nullptr_t) noexcept {}

#if REFLEX_HAS_EXCEPTIONS
    explicit event(const context &c) : event(nullptr) { check(create(c, *this)); }
    void record(reflex_stream s) { check(reflex_event_record(context_, value_, s)); }
    void synchronize() const { check(reflex_event_synchronize(value_)); }
    /// Milliseconds from `start` to this event.
    float since(const event &start) const {
        float ms = 0;
        check(reflex_event_elapsed(start.value_, value_, &ms));
        return ms;
    }
#endif

private:
    const reflex_context *context_ = nullptr;
};

/// Energy of an interval: `start`, the work, wait for the work, `stop`.
class telemetry_sampler : public handle<reflex_telemetry_sampler *, detail::destroy_sampler> {
public:
    static reflex_status create(const context &c, uint32_t period_ms, telemetry_sampler &out) {
        telemetry_sampler made(nullptr);
        const reflex_status status = reflex_telemetry_sampler_create(c.get(), period_ms, &made.value_);
        if (status == REFLEX_SUCCESS) out = std::move(made);
        return status;
    }
    explicit telemetry_sampler(std::nullptr_t) noexcept {}

#if REFLEX_HAS_EXCEPTIONS
    explicit telemetry_sampler(const context &c, uint32_t period_ms = 50) : telemetry_sampler(nullptr) {
        check(create(c, period_ms, *this));
    }
    void start() { check(reflex_telemetry_sampler_start(value_)); }
    energy stop() {
        energy e;
        check(reflex_telemetry_sampler_stop(value_, &e));
        return e;
    }
#endif
};

/// A captured sequence of launches: `reflex::graph g = reflex::capture(ctx, stream, [&] { ... });`.
class graph : public handle<reflex_graph *, detail::destroy_graph> {
public:
    graph() = default;
    graph(const context &c, reflex_graph *g) : context_(c.get()) { value_ = g; }
#if REFLEX_HAS_EXCEPTIONS
    void launch(reflex_stream s) const { check(reflex_graph_launch(context_, value_, s)); }
    size_t nodes() const {
        size_t n = 0;
        check(reflex_graph_node_count(value_, &n));
        return n;
    }
#endif

private:
    const reflex_context *context_ = nullptr;
};

/// Records what `body` launches on `s` into `out`. The first status other than success that `body`, the beginning or the
/// end of the capture returns is given back; then the capture is over and `out` as it was. `body` must not throw.
template <typename Body> reflex_status capture(const context &c, reflex_stream s, graph &out, Body &&body) {
    const reflex_status begun = reflex_graph_capture_begin(c.get(), s);
    if (begun != REFLEX_SUCCESS) return begun;
    const reflex_status launched = body();
    reflex_graph *g = nullptr;
    const reflex_status ended = reflex_graph_capture_end(c.get(), s, &g);
    graph made(c, g);
    if (launched != REFLEX_SUCCESS) return launched;
    if (ended == REFLEX_SUCCESS) out = std::move(made);
    return ended;
}

#if REFLEX_HAS_EXCEPTIONS
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
#endif

/// Device memory of a context.
class device_buffer : public handle<void *, detail::free_device> {
public:
    static reflex_status create(const context &c, size_t bytes, device_buffer &out) {
        device_buffer made;
        made.bytes_ = bytes;
        made.destroy_.context = c.get();
        const reflex_status status = reflex_device_malloc(c.get(), bytes, &made.value_);
        if (status == REFLEX_SUCCESS) out = std::move(made);
        return status;
    }
    device_buffer() = default;
#if REFLEX_HAS_EXCEPTIONS
    device_buffer(const context &c, size_t bytes) { check(create(c, bytes, *this)); }
#endif
    size_t size() const noexcept { return bytes_; }

private:
    size_t bytes_ = 0;
};

/// Page-locked host memory of a context.
class host_buffer : public handle<void *, detail::free_host> {
public:
    static reflex_status create(const context &c, size_t bytes, host_buffer &out) {
        host_buffer made;
        made.bytes_ = bytes;
        made.destroy_.context = c.get();
        const reflex_status status = reflex_host_malloc(c.get(), bytes, &made.value_);
        if (status == REFLEX_SUCCESS) out = std::move(made);
        return status;
    }
    host_buffer() = default;
#if REFLEX_HAS_EXCEPTIONS
    host_buffer(const context &c, size_t bytes) { check(create(c, bytes, *this)); }
#endif
    size_t size() const noexcept { return bytes_; }

private:
    size_t bytes_ = 0;
};

}  // namespace reflex

#endif /* REFLEX_INFER_HPP */
