#include "case_run.h"

namespace bench {

case_runner::case_runner(reflex_backend backend, int32_t device) {
    reflex::context_params params;
    params.backend = backend;
    params.device = device;
    context_ = std::make_unique<reflex::context>(params);
    stream_ = std::make_unique<reflex::stream>(*context_);
}

std::vector<std::vector<uint8_t>> case_runner::run(const bench_case &what) {
    memory_.clear();
    std::vector<reflex_tensor> tensors;
    for (const operand &o : what.operands) tensors.push_back(placed(o, place(o, tensors.size())));
    const std::unique_ptr<launch_call> call = what.make(tensors);
    reflex::check(call->supported(context_->get()));
    kernel_ = call->kernel(context_->get());
    if (const size_t bytes = call->workspace_bytes(context_->get()); bytes > 0)
        call->use_workspace(memory_.emplace_back(*context_, bytes).get(), bytes);
    call->launch(context_->get(), stream_->get());
    std::vector<std::vector<uint8_t>> out;
    for (size_t i = 0; i < what.operands.size(); ++i) {
        out.emplace_back(placed_bytes(what.operands[i]));
        copy(out.back().data(), memory_[i].get(), out.back().size());
    }
    return out;
}

void case_runner::copy(void *to, const void *from, size_t bytes) const {
    reflex::check(reflex_memcpy(context_->get(), to, from, bytes, stream_->get()));
    stream_->synchronize();
}

void *case_runner::place(const operand &what, size_t at) {
    const std::vector<uint8_t> bytes = contents_of(what, at);
    void *data = memory_.emplace_back(*context_, bytes.size()).get();
    copy(data, bytes.data(), bytes.size());
    return data;
}

}  // namespace bench
