#include "weights.h"

#include <algorithm>

#include "memory_plan.h"

namespace llm {
namespace {

// What reflex_matmul wants of block formats. Files may be aligned to less.
constexpr uintptr_t weight_alignment = 16;

bool aligned(const gguf_tensor *tensor) { return reinterpret_cast<uintptr_t>(tensor->data) % weight_alignment == 0; }

}  // namespace

weights::weights(const device &owner, const mapped_file &file, const model_tensors &tensors)
    : owner_(owner), file_(file), tensors_(tensors) {
    mapped_ = owner.info().integrated != 0 && std::all_of(tensors.all.begin(), tensors.all.end(), aligned);
    for (const gguf_tensor *tensor : tensors.all) {
        offsets_.emplace(tensor, copied_bytes_);
        copied_bytes_ += align_up(tensor->bytes);
    }
    // The mapping is read-only and stays so: views take plain pointers because outputs need them.
    base_ = const_cast<uint8_t *>(file.data());
    if (!mapped_) base_ = reinterpret_cast<uint8_t *>(placeholder_base);
}

weights::~weights() {
    if (!registered_) return;
    owner_.synchronize();
    reflex_host_unregister(owner_.context(), const_cast<uint8_t *>(file_.data()));
}

bool weights::register_file() {
    if (owner_.is_cpu()) return true;
    void *seen = nullptr;
    // Some drivers do not register read-only mappings; the weights are then copied as on a discrete GPU.
    if (reflex_host_register(owner_.context(), const_cast<uint8_t *>(file_.data()), file_.size(), &seen) !=
        REFLEX_SUCCESS)
        return false;
    registered_ = true;
    base_ = static_cast<uint8_t *>(seen);
    return true;
}

void weights::load() {
    file_.prefetch();
    mapped_ = mapped_ && register_file();
    if (mapped_) return;
    copies_ = reflex::device_buffer(owner_.owner(), copied_bytes_);
    base_ = static_cast<uint8_t *>(copies_.get());
    for (const gguf_tensor *tensor : tensors_.all)
        owner_.copy(base_ + offsets_.at(tensor), tensor->data, tensor->bytes);
    owner_.synchronize();
}

reflex_tensor weights::view(const gguf_tensor *tensor) const {
    reflex_tensor out{};
    out.data = base_ + (mapped_ ? static_cast<uint64_t>(tensor->data - file_.data()) : offsets_.at(tensor));
    out.dtype = reflex_dtype_from_ggml(tensor->type->id);
    return out;
}

reflex_tensor weights::matrix(const gguf_tensor *tensor) const {
    reflex_tensor out = view(tensor);
    out.rank = 2;
    out.shape[0] = static_cast<int64_t>(tensor->shape[1]);
    out.shape[1] = static_cast<int64_t>(tensor->shape[0]);
    return out;
}

reflex_tensor weights::vector(const gguf_tensor *tensor) const {
    if (tensor == nullptr) return {};
    reflex_tensor out = view(tensor);
    out.rank = 1;
    out.shape[0] = static_cast<int64_t>(tensor->shape[0]);
    return out;
}

}  // namespace llm
