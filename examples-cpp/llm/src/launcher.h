// What a pass through the decoder does with each call of an op. A launcher either launches the call, or measures: it asks the library
// whether the call is supported and how much scratch it needs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "device.h"

namespace llm {

class launcher {
public:
    // Launches on the device's stream. The scratch serves all calls.
    launcher(const device &owner, void *workspace, uint64_t workspace_bytes)
        : owner_(&owner), workspace_(workspace), workspace_bytes_(workspace_bytes) {}

    // Launches nothing, so that the operands need not exist.
    static launcher measuring(const device &owner) {
        launcher out(owner, nullptr, 0);
        out.measures_ = true;
        return out;
    }

    // The scratch that is given to each call, or in a measuring pass the most that one has asked for so far.
    uint64_t workspace_bytes() const { return workspace_bytes_; }

    // These take the functions of an op: without scratch, and with it. They throw reflex::error where the library refuses.
    template <typename Params, typename Run, typename Supported>
    void operator()(const Params &p, Run run, Supported supported) {
        reflex::check(measures_ ? supported(owner_->context(), &p) : run(owner_->context(), &p, owner_->stream()));
    }
    template <typename Params, typename Run, typename Supported, typename WorkspaceSize>
    void operator()(Params &p, Run run, Supported supported, WorkspaceSize workspace_size) {
        if (measures_) {
            size_t bytes = 0;
            reflex::check(workspace_size(owner_->context(), &p, &bytes));
            workspace_bytes_ = std::max<uint64_t>(workspace_bytes_, bytes);
        } else {
            p.workspace = workspace_;
            p.workspace_size = workspace_bytes_;
        }
        (*this)(p, run, supported);
    }

private:
    const device *owner_;
    void *workspace_;
    uint64_t workspace_bytes_;
    bool measures_ = false;
};

}  // namespace llm
