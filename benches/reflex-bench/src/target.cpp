#include "target.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>

#include "commit.h"
#include "patterns.h"
#include "program.h"

namespace bench {
namespace {

class cuda_recording : public recording {
public:
    cuda_recording(std::unique_ptr<cuda_graph> graph, reflex_stream stream)
        : graph_(std::move(graph)), stream_(stream) {}
    void replay() const override { graph_->launch(stream_); }

private:
    std::unique_ptr<cuda_graph> graph_;
    reflex_stream stream_;
};

class cpu_recording : public recording {
public:
    cpu_recording(reflex::graph graph, reflex_stream stream) : graph_(std::move(graph)), stream_(stream) {}
    void replay() const override { graph_.launch(stream_); }

private:
    reflex::graph graph_;
    reflex_stream stream_;
};

// What contexts are made with from now on.
void set_environment(const options &wanted) {
    const std::pair<const char *, const std::string *> variables[] = {
        {"REFLEX_AS", &wanted.as}, {"REFLEX_IMPL", &wanted.impl}, {"REFLEX_TUNING", &wanted.tuning}};
    for (const auto &[name, value] : variables) {
        if (!value->empty()) ::setenv(name, value->c_str(), 1);
    }
}

// Kernels planned for `sm_count` SMs, 0 for all.
std::unique_ptr<reflex::context> make_context(const options &wanted, uint32_t sm_count) {
    reflex::context_params params;
    params.backend = wanted.cpu ? REFLEX_BACKEND_CPU : REFLEX_BACKEND_CUDA;
    params.device = wanted.device;
    params.sm_count = sm_count;
    set_environment(wanted);
    try {
        return std::make_unique<reflex::context>(params);
    } catch (const reflex::error &error) {
        if (wanted.cpu || error.status() == REFLEX_INVALID_ARGUMENT) throw;
        throw no_gpu_error(error.what());
    }
}

// The value of KEY=value in the file that a bundle for GPU machines carries, in this program's folder or above.
std::string from_bundle(const std::string &key) {
    std::string folder = program_folder() + "/";
    for (int up = 0; up < 3; ++up) {
        const size_t slash = folder.rfind('/');
        if (slash == std::string::npos) break;
        folder.resize(slash);
        std::ifstream file(folder + "/bundle.txt");
        for (std::string line; std::getline(file, line);) {
            if (line.compare(0, key.size() + 1, key + "=") == 0) return line.substr(key.size() + 1);
        }
    }
    return {};
}

std::string find_commit(const options &wanted) {
    if (!wanted.commit.empty()) return wanted.commit;
    const std::string bundled = from_bundle("commit");
    return !bundled.empty() ? bundled : build_commit;
}

std::string utc_time() {
    const std::time_t now = std::time(nullptr);
    char out[32] = "";
    std::tm parts{};
    if (::gmtime_r(&now, &parts) != nullptr) std::strftime(out, sizeof out, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return out;
}

// Neither reason to distrust a measurement: the GPU is idle, or its clocks are held by a setting.
constexpr uint32_t harmless_throttle = REFLEX_THROTTLE_IDLE | REFLEX_THROTTLE_CLOCK_SETTING;

json known(float value) { return std::isnan(value) ? json("unknown") : json(static_cast<double>(value)); }

// The power mode that the results belong to: nvpmodel's on Jetson, the power limit of a discrete GPU.
std::string power_mode(const reflex_telemetry &now) {
    if (now.power_mode >= 0) return "nvpmodel " + std::to_string(now.power_mode) + " " + now.power_mode_name;
    if (std::isnan(now.power_limit_w)) return "unknown";
    char out[48];
    std::snprintf(out, sizeof out, "power limit %g W", static_cast<double>(now.power_limit_w));
    return out;
}

}  // namespace

target::target(const options &wanted) : context_(make_context(wanted, 0)), info_(context_->info()) {
    const float top = telemetry().gpu_clock_limit_mhz;
    nominal_mhz_ = std::isnan(top) ? info_.core_clock_khz / 1e3 : static_cast<double>(top);
    if (wanted.cpu) {
        setup_ = std::make_unique<reflex::stream>(*context_);
        return;
    }
    if (wanted.sm_count > info_.sm_count)
        throw usage_error("--sm-count " + std::to_string(wanted.sm_count) + ": the device has " +
                          std::to_string(info_.sm_count) + " SMs");
    cuda_ = std::make_unique<cuda_device>(wanted.device, wanted.sm_count);
    if (cuda_->sm_count() != info_.sm_count) context_ = make_context(wanted, cuda_->sm_count());
    setup_ = std::make_unique<reflex::stream>(*context_);
    // More than L2 holds, so that reading it once leaves nothing else there.
    flush_ = reflex::device_buffer(*context_, 2 * l2_bytes() / 16 * 16 + 4096);
    reflex::check(reflex_memset(context(), flush_.get(), 0, flush_.size(), setup_->get()));
    wait_for_setup();
}

target::~target() {
    // Memory before the contexts it lives in.
    patterns_.clear();
    flush_ = {};
    setup_.reset();
    context_.reset();
}

uint64_t target::free_memory() const {
    uint64_t free = 0;
    reflex::check(reflex_memory_info(context(), &free, nullptr));
    return free;
}

void target::synchronize() const {
    if (cuda_) cuda_->synchronize();
}

std::unique_ptr<recording> target::record(const std::function<void()> &body) const {
    if (cuda_) return std::make_unique<cuda_recording>(cuda_->capture(body), stream());
    return std::make_unique<cpu_recording>(reflex::capture(*context_, stream(), body), stream());
}

std::vector<double> target::time(const std::vector<step> &steps) const {
    std::vector<double> out;
    if (!cuda_) {
        for (const step &s : steps) {
            const auto start = std::chrono::steady_clock::now();
            s.body();
            const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - start;
            if (s.timed) out.push_back(spent.count());
        }
        return out;
    }
    std::vector<std::unique_ptr<cuda_event>> events;
    for (size_t i = 0; i <= steps.size(); ++i) events.push_back(cuda_->event());
    events[0]->record(stream());
    for (size_t i = 0; i < steps.size(); ++i) {
        steps[i].body();
        events[i + 1]->record(stream());
    }
    cuda_->synchronize();
    for (size_t i = 0; i < steps.size(); ++i) {
        if (steps[i].timed) out.push_back(events[i + 1]->since(*events[i]));
    }
    return out;
}

const reflex::device_buffer &target::pattern(reflex_dtype dtype) {
    auto found = patterns_.find(dtype);
    if (found == patterns_.end()) {
        const std::vector<uint8_t> bytes = make_pattern(dtype);
        reflex::device_buffer buffer(*context_, bytes.size());
        upload(buffer.get(), bytes.data(), bytes.size());
        found = patterns_.emplace(dtype, std::move(buffer)).first;
    }
    return found->second;
}

void target::fill(const reflex_tensor &to, size_t bytes) {
    if (to.dtype == REFLEX_DTYPE_ACT_I8) {
        fill_quantized(to);
    } else if ((to.dtype & REFLEX_DTYPE_PACKED) != 0) {
        pack_in_place(to, bytes);
    } else {
        fill(to.data, bytes, to.dtype);
    }
}

void target::fill_quantized(const reflex_tensor &to) {
    const size_t bytes = static_cast<size_t>(to.shape[0] * to.shape[1]) * sizeof(float);
    const reflex::device_buffer values(*context_, bytes);
    fill(values.get(), bytes, REFLEX_DTYPE_F32);
    reflex::quantize_params p;
    p.x = reflex::tensor(values.get(), REFLEX_DTYPE_F32, {to.shape[0], to.shape[1]});
    p.y = to;
    reflex::check(reflex_quantize(context(), &p, setup_->get()));
    wait_for_setup();
}

void target::pack_in_place(const reflex_tensor &weights, size_t bytes) {
    reflex::weights_pack_params p;
    p.source = p.destination = weights;
    p.source.dtype &= ~REFLEX_DTYPE_PACKED;
    fill(weights.data, bytes, p.source.dtype);
    reflex::check(reflex_weights_pack_workspace_size(context(), &p, &p.workspace_size));
    reflex::device_buffer workspace;
    if (p.workspace_size > 0) workspace = reflex::device_buffer(*context_, p.workspace_size);
    p.workspace = workspace.get();
    reflex::check(reflex_weights_pack(context(), &p, setup_->get()));
    wait_for_setup();
}

void target::fill(void *to, size_t bytes, reflex_dtype dtype) {
    const reflex::device_buffer &from = pattern(dtype);
    auto *out = static_cast<uint8_t *>(to);
    size_t done = std::min(bytes, from.size());
    reflex::check(reflex_memcpy(context(), out, from.get(), done, setup_->get()));
    // Doubling; what is done is always whole patterns.
    while (done < bytes) {
        const size_t more = std::min(done, bytes - done);
        reflex::check(reflex_memcpy(context(), out + done, out, more, setup_->get()));
        done += more;
    }
    wait_for_setup();
}

void target::upload(void *to, const void *from, size_t bytes) const {
    reflex::check(reflex_memcpy(context(), to, from, bytes, setup_->get()));
    wait_for_setup();
}

void target::flush_l2() const {
    if (!cuda_) return;
    const size_t sink_bytes = 256;
    cuda_->read(flush_.get(), flush_.size() - sink_bytes,
                static_cast<uint8_t *>(flush_.get()) + flush_.size() - sink_bytes, 8, 8 * cuda_->sm_count(), 512);
}

json target::environment(const options &wanted) const {
    const reflex_build_info build = reflex_get_build_info();
    json out = json::object();
    out.set("backend", is_cuda() ? "cuda" : "cpu")
        .set("gpu", is_cuda() ? info_.name : "none")
        .set("device", info_.name);
    const reflex::telemetry now = telemetry();
    const std::string driver = now.driver_version;
    out.set("driver", !is_cuda() ? "none" : !driver.empty() ? driver : "CUDA " + cuda_->cuda_version());
    out.set("cuda", is_cuda() ? cuda_->cuda_version() : "none");
    out.set("toolkit", std::string("NVRTC ") + build.nvrtc_version).set("archs", build.cuda_archs);
    out.set("arch", "sm_" + std::to_string(info_.sm)).set("library", build.version);
    if (!wanted.as.empty()) out.set("as", wanted.as);
    if (!wanted.impl.empty()) out.set("impl", wanted.impl);
    if (!wanted.tuning.empty()) out.set("tuning", wanted.tuning);
    out.set("device_sm_count", info_.sm_count).set("sm_count", sm_count()).set("l2_bytes", info_.l2_bytes);
    json clocks = json::object();
    const bool clocked = now.gpu_clock_mhz > 0;
    clocks.set("sm_mhz", clocked ? known(now.gpu_clock_mhz) : json(nominal_mhz()));
    clocks.set("memory_mhz",
               now.memory_clock_mhz > 0 ? known(now.memory_clock_mhz) : json(info_.memory_clock_khz / 1e3));
    clocks.set("top_sm_mhz", nominal_mhz()).set("source", clocked ? clock_source() : "nominal");
    out.set("clocks", std::move(clocks));
    out.set("power_mode", power_mode(now)).set("power_w", known(now.power_w));
    out.set("temperature_c", known(now.gpu_temperature_c));
    out.set("throttle_reasons",
            now.throttle == REFLEX_THROTTLE_UNKNOWN ? json("unknown") : json(now.throttle & ~harmless_throttle));
    out.set("commit", find_commit(wanted)).set("time", utc_time());
    return out;
}

}  // namespace bench
