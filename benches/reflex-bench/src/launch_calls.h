// Params structs of the ABI as launch_call.
#pragma once

#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "cases.h"

namespace bench {

// Whether an op's params have room for scratch, needed or optional.
template <typename P, typename = void>
struct takes_workspace : std::false_type {};
template <typename P>
struct takes_workspace<P, std::void_t<decltype(std::declval<P &>().workspace)>> : std::true_type {};

// The functions of one op. `workspace_size` is null where the params have no workspace.
template <typename P>
struct op_functions {
    reflex_status (*run)(const reflex_context *, const P *, reflex_stream);
    reflex_status (*supported)(const reflex_context *, const P *);
    reflex_status (*selected_kernel)(const reflex_context *, const P *, const char **);
    reflex_status (*workspace_size)(const reflex_context *, const P *, size_t *);
};

template <typename P>
void set_workspace([[maybe_unused]] P &p, [[maybe_unused]] void *data, [[maybe_unused]] size_t bytes) {
    if constexpr (takes_workspace<P>::value) {
        p.workspace = data;
        p.workspace_size = bytes;
    }
}

template <typename P>
class op_call : public launch_call {
public:
    // An op measured without the scratch that an engine gives it would be another one.
    op_call(const P &params, const op_functions<P> &api) : params_(params), api_(api) {
        if (takes_workspace<P>::value != (api.workspace_size != nullptr)) {
            throw std::logic_error("an op's params have a workspace and its functions no size, or the other way round");
        }
    }

    void launch(const reflex_context *context, reflex_stream stream) const override {
        reflex::check(api_.run(context, &params_, stream));
    }
    reflex_status supported(const reflex_context *context) const override { return api_.supported(context, &params_); }
    std::string kernel(const reflex_context *context) const override {
        const char *name = "";
        reflex::check(api_.selected_kernel(context, &params_, &name));
        return name;
    }
    size_t workspace_bytes(const reflex_context *context) const override {
        size_t bytes = 0;
        if (api_.workspace_size != nullptr) reflex::check(api_.workspace_size(context, &params_, &bytes));
        return bytes;
    }
    void use_workspace(void *data, size_t bytes) override { set_workspace(params_, data, bytes); }
    const P &params() const { return params_; }

protected:
    P params_;

private:
    op_functions<P> api_;
};

// A matmul, whose params point to its products.
class matmul_call : public op_call<reflex_matmul_params> {
public:
    matmul_call(const reflex_matmul_params &params, std::vector<reflex_matmul_product> products,
                const op_functions<reflex_matmul_params> &api)
        : op_call(params, api), products_(std::move(products)) {
        reflex::set_products(params_, products_.data(), static_cast<uint32_t>(products_.size()));
    }

private:
    std::vector<reflex_matmul_product> products_;
};

// An op whose params point to a cache.
template <typename P>
class cached_call : public op_call<P> {
public:
    cached_call(const P &params, const reflex_kv_cache &cache, const op_functions<P> &api)
        : op_call<P>(params, api), cache_(cache) {
        this->params_.cache = &cache_;
    }

private:
    reflex_kv_cache cache_;
};

template <typename P>
std::unique_ptr<launch_call> make_call(const P &params, const op_functions<P> &api) {
    return std::make_unique<op_call<P>>(params, api);
}

template <typename P>
std::unique_ptr<launch_call> make_call(const P &params, const reflex_kv_cache &cache, const op_functions<P> &api) {
    return std::make_unique<cached_call<P>>(params, cache, api);
}

#define REFLEX_BENCH_OP(op, workspace)                                                 \
    op_functions<reflex_##op##_params> {                                               \
        reflex_##op, reflex_##op##_supported, reflex_##op##_selected_kernel, workspace \
    }

// Weights into the packed order, or back.
inline std::unique_ptr<launch_call> make_conversion(const reflex_tensor &source, const reflex_tensor &destination,
                                                    bool unpack) {
    const auto between = [&](auto params) {
        params.source = source;
        params.destination = destination;
        return params;
    };
    if (unpack)
        return make_call<reflex_weights_unpack_params>(
            between(reflex::weights_unpack_params()),
            REFLEX_BENCH_OP(weights_unpack, reflex_weights_unpack_workspace_size));
    return make_call<reflex_weights_pack_params>(between(reflex::weights_pack_params()),
                                                 REFLEX_BENCH_OP(weights_pack, reflex_weights_pack_workspace_size));
}

}  // namespace bench
