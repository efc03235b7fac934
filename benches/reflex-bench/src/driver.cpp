#include "driver.h"

#include <dlfcn.h>

namespace bench {

namespace {

constexpr int attribute_multiprocessors = 16;
constexpr int resource_sm = 1;
constexpr unsigned green_default_stream = 1;
constexpr unsigned stream_non_blocking = 1;
constexpr int capture_thread_local = 1;
constexpr unsigned no_split_flags = 0;

// CUdevResource of CUDA 12.4 and later: the driver writes all of it and reads it back.
struct dev_resource {
    int type;
    unsigned char internal[92];
    union {
        struct {
            unsigned sm_count;
        } sm;
        unsigned char oversize[48];
    };
};
static_assert(sizeof(dev_resource) == 144, "CUdevResource has 144 bytes");

const char *const probe_ptx =
#include "probe_kernels.ptx.inc"
    ;

}  // namespace

// By their names in the library: the newest version of each that CUDA 12.0 already had, green contexts aside.
struct driver_functions {
    void *library = nullptr;
    int (*init)(unsigned);
    int (*get_error_name)(int, const char **);
    int (*driver_version)(int *);
    int (*device_get)(int *, int);
    int (*device_attribute)(int *, int, int);
    int (*primary_retain)(void **, int);
    int (*primary_release)(int);
    int (*set_current)(void *);
    int (*stream_create)(reflex_stream *, unsigned);
    int (*stream_destroy)(reflex_stream);
    int (*stream_synchronize)(reflex_stream);
    int (*begin_capture)(reflex_stream, int);
    int (*end_capture)(reflex_stream, void **);
    int (*graph_instantiate)(void **, void *, unsigned long long);
    int (*graph_launch)(void *, reflex_stream);
    int (*graph_destroy)(void *);
    int (*graph_exec_destroy)(void *);
    int (*event_create)(void **, unsigned);
    int (*event_destroy)(void *);
    int (*event_record)(void *, reflex_stream);
    int (*event_elapsed)(float *, void *, void *);
    int (*library_load)(void **, const void *, void *, void **, unsigned, void *, void **, unsigned);
    int (*library_unload)(void *);
    int (*library_kernel)(void **, void *, const char *);
    int (*launch_kernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, reflex_stream,
                         void **, void **);
    // Null before CUDA 12.4.
    int (*get_dev_resource)(int, dev_resource *, int);
    int (*split_sms)(dev_resource *, unsigned *, const dev_resource *, dev_resource *, unsigned, unsigned);
    int (*resource_desc)(void **, dev_resource *, unsigned);
    int (*green_create)(void **, void *, int, unsigned);
    int (*green_destroy)(void *);
    int (*green_stream)(reflex_stream *, void *, unsigned, int);
    int (*green_context)(void **, void *);

    driver_functions() {
        library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) throw driver_error("no NVIDIA driver: libcuda.so.1 cannot be opened");
        need(init, "cuInit");
        need(get_error_name, "cuGetErrorName");
        need(driver_version, "cuDriverGetVersion");
        need(device_get, "cuDeviceGet");
        need(device_attribute, "cuDeviceGetAttribute");
        need(primary_retain, "cuDevicePrimaryCtxRetain");
        need(primary_release, "cuDevicePrimaryCtxRelease_v2");
        need(set_current, "cuCtxSetCurrent");
        need(stream_create, "cuStreamCreate");
        need(stream_destroy, "cuStreamDestroy_v2");
        need(stream_synchronize, "cuStreamSynchronize");
        need(begin_capture, "cuStreamBeginCapture_v2");
        need(end_capture, "cuStreamEndCapture");
        need(graph_instantiate, "cuGraphInstantiateWithFlags");
        need(graph_launch, "cuGraphLaunch");
        need(graph_destroy, "cuGraphDestroy");
        need(graph_exec_destroy, "cuGraphExecDestroy");
        need(event_create, "cuEventCreate");
        need(event_destroy, "cuEventDestroy_v2");
        need(event_record, "cuEventRecord");
        need(event_elapsed, "cuEventElapsedTime");
        need(library_load, "cuLibraryLoadData");
        need(library_unload, "cuLibraryUnload");
        need(library_kernel, "cuLibraryGetKernel");
        need(launch_kernel, "cuLaunchKernel");
        find(get_dev_resource, "cuDeviceGetDevResource");
        find(split_sms, "cuDevSmResourceSplitByCount");
        find(resource_desc, "cuDevResourceGenerateDesc");
        find(green_create, "cuGreenCtxCreate");
        find(green_destroy, "cuGreenCtxDestroy");
        find(green_stream, "cuGreenCtxStreamCreate");
        find(green_context, "cuCtxFromGreenCtx");
        check("cuInit", init(0));
    }
    ~driver_functions() {
        if (library != nullptr) dlclose(library);
    }
    driver_functions(const driver_functions &) = delete;
    driver_functions &operator=(const driver_functions &) = delete;

    void check(const char *call, int code) const {
        if (code == 0) return;
        const char *name = nullptr;
        get_error_name(code, &name);
        throw driver_error(std::string(call) + " failed with " +
                           (name != nullptr ? name : "CUDA error " + std::to_string(code)));
    }

private:
    template <typename F>
    void find(F &function, const char *name) {
        function = reinterpret_cast<F>(dlsym(library, name));
    }
    template <typename F>
    void need(F &function, const char *name) {
        find(function, name);
        if (function == nullptr)
            throw driver_error(std::string("the NVIDIA driver is too old: it has no ") + name +
                               " (CUDA 12.0 or later is needed)");
    }
};

cuda_graph::~cuda_graph() { api_.graph_exec_destroy(exec_); }

void cuda_graph::launch(reflex_stream stream) const { api_.check("cuGraphLaunch", api_.graph_launch(exec_, stream)); }

cuda_event::cuda_event(const driver_functions &api) : api_(api) {
    api_.check("cuEventCreate", api_.event_create(&event_, 0));
}

cuda_event::~cuda_event() { api_.event_destroy(event_); }

void cuda_event::record(reflex_stream stream) const { api_.check("cuEventRecord", api_.event_record(event_, stream)); }

double cuda_event::since(const cuda_event &start) const {
    float milliseconds = 0;
    api_.check("cuEventElapsedTime", api_.event_elapsed(&milliseconds, start.event_, event_));
    return 1e3 * static_cast<double>(milliseconds);
}

cuda_device::cuda_device(int ordinal, uint32_t sm_count) : api_(std::make_unique<driver_functions>()) {
    api_->check("cuDeviceGet", api_->device_get(&device_, ordinal));
    api_->check("cuDevicePrimaryCtxRetain", api_->primary_retain(&primary_, device_));
    try {
        api_->check("cuCtxSetCurrent", api_->set_current(primary_));
        int all = 0;
        api_->check("cuDeviceGetAttribute", api_->device_attribute(&all, attribute_multiprocessors, device_));
        sm_count_ = static_cast<uint32_t>(all);
        if (sm_count != 0 && sm_count != sm_count_) {
            limit_sms(sm_count);
        } else {
            api_->check("cuStreamCreate", api_->stream_create(&stream_, stream_non_blocking));
        }
        load_probes();
    } catch (...) {
        if (green_ != nullptr) api_->green_destroy(green_);
        api_->primary_release(device_);
        throw;
    }
}

cuda_device::~cuda_device() {
    api_->stream_synchronize(stream_);
    api_->library_unload(library_);
    api_->stream_destroy(stream_);
    api_->set_current(nullptr);
    if (green_ != nullptr) api_->green_destroy(green_);
    api_->primary_release(device_);
}

void cuda_device::limit_sms(uint32_t wanted) {
    if (api_->green_stream == nullptr || api_->split_sms == nullptr || api_->green_context == nullptr)
        throw driver_error(
            "--sm-count needs green contexts (a driver of CUDA 12.4 or later); MPS with "
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE limits SMs too");
    dev_resource all{}, part{}, rest{};
    api_->check("cuDeviceGetDevResource", api_->get_dev_resource(device_, &all, resource_sm));
    unsigned groups = 1;
    api_->check("cuDevSmResourceSplitByCount", api_->split_sms(&part, &groups, &all, &rest, no_split_flags, wanted));
    void *description = nullptr, *context = nullptr;
    api_->check("cuDevResourceGenerateDesc", api_->resource_desc(&description, &part, 1));
    api_->check("cuGreenCtxCreate", api_->green_create(&green_, description, device_, green_default_stream));
    api_->check("cuGreenCtxStreamCreate", api_->green_stream(&stream_, green_, stream_non_blocking, 0));
    api_->check("cuCtxFromGreenCtx", api_->green_context(&context, green_));
    // Events and graphs belong to the context they are made in, and have to match the stream's.
    api_->check("cuCtxSetCurrent", api_->set_current(context));
    sm_count_ = part.sm.sm_count;
}

void cuda_device::load_probes() {
    api_->check("cuLibraryLoadData",
                api_->library_load(&library_, probe_ptx, nullptr, nullptr, 0, nullptr, nullptr, 0));
    api_->check("cuLibraryGetKernel", api_->library_kernel(&read4_, library_, "reflex_bench_read4"));
    api_->check("cuLibraryGetKernel", api_->library_kernel(&read8_, library_, "reflex_bench_read8"));
    api_->check("cuLibraryGetKernel", api_->library_kernel(&empty_, library_, "reflex_bench_empty"));
}

std::string cuda_device::cuda_version() const {
    int version = 0;
    api_->check("cuDriverGetVersion", api_->driver_version(&version));
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

void cuda_device::synchronize() const { api_->check("cuStreamSynchronize", api_->stream_synchronize(stream_)); }

std::unique_ptr<cuda_graph> cuda_device::capture(const std::function<void()> &body) const {
    api_->check("cuStreamBeginCapture", api_->begin_capture(stream_, capture_thread_local));
    void *graph = nullptr;
    try {
        body();
    } catch (...) {
        if (api_->end_capture(stream_, &graph) == 0 && graph != nullptr) api_->graph_destroy(graph);
        throw;
    }
    api_->check("cuStreamEndCapture", api_->end_capture(stream_, &graph));
    void *exec = nullptr;
    const int code = api_->graph_instantiate(&exec, graph, 0);
    api_->graph_destroy(graph);
    api_->check("cuGraphInstantiate", code);
    return std::make_unique<cuda_graph>(*api_, exec);
}

std::unique_ptr<cuda_event> cuda_device::event() const { return std::make_unique<cuda_event>(*api_); }

void cuda_device::launch(void *kernel, uint32_t blocks, uint32_t threads, void **parameters) const {
    api_->check("cuLaunchKernel",
                api_->launch_kernel(kernel, blocks, 1, 1, threads, 1, 1, 0, stream_, parameters, nullptr));
}

void cuda_device::read(const void *data, size_t bytes, void *sink, int in_flight, uint32_t blocks,
                       uint32_t threads) const {
    unsigned long long count = bytes / 16;
    void *parameters[] = {&data, &count, &sink};
    launch(in_flight == 8 ? read8_ : read4_, blocks, threads, parameters);
}

void cuda_device::empty_kernel() const { launch(empty_, 1, 32, nullptr); }

}  // namespace bench
