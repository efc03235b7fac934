// The device a run works on: a context, one stream on it, and what the library says about it.
#pragma once

#include <cstddef>
#include <cstdint>

#include <reflex/infer.hpp>

namespace llm {

// Stands for memory that is not allocated yet where the library is only asked about a launch: no real allocation lies at it or at
// small multiples of it.
constexpr uintptr_t placeholder_base = uintptr_t{1} << 44;

struct memory_state {
    uint64_t free, total;
};

class device {
public:
    device(reflex_backend backend, int32_t ordinal, uint32_t cpu_threads)
        : context_(make_params(backend, ordinal, cpu_threads)), stream_(context_), info_(context_.info()) {}
    // Work may still be in flight when an exception brings us here.
    ~device() { reflex_stream_synchronize(context_.get(), stream_.get()); }
    device(const device &) = delete;
    device &operator=(const device &) = delete;

    const reflex::context &owner() const { return context_; }
    const reflex_context *context() const { return context_.get(); }
    reflex_stream stream() const { return stream_.get(); }
    const reflex_device_info &info() const { return info_; }
    bool is_cpu() const { return info_.backend == REFLEX_BACKEND_CPU; }
    const char *backend_name() const { return is_cpu() ? "cpu" : "cuda"; }

    memory_state memory() const {
        memory_state state{};
        reflex::check(reflex_memory_info(context(), &state.free, &state.total));
        return state;
    }
    void copy(void *destination, const void *source, size_t bytes) const {
        reflex::check(reflex_memcpy(context(), destination, source, bytes, stream()));
    }
    void synchronize() const { stream_.synchronize(); }

private:
    static reflex::context_params make_params(reflex_backend backend, int32_t ordinal, uint32_t cpu_threads) {
        reflex::context_params params;
        params.backend = backend;
        params.device = ordinal;
        params.cpu_threads = cpu_threads;
        return params;
    }

    reflex::context context_;
    reflex::stream stream_;
    reflex::device_info info_;
};

}  // namespace llm
