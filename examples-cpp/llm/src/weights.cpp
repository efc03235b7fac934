#include "weights.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "library_facts.h"
#include "model_files.h"

namespace llm {
namespace {

bool aligned(const gguf_tensor *tensor) { return reinterpret_cast<uintptr_t>(tensor->data) % weight_alignment == 0; }

bool all_aligned(const model_tensors &tensors) { return std::all_of(tensors.all.begin(), tensors.all.end(), aligned); }

void refuse_unaligned(const std::vector<mapped_file> &files, const model_tensors &tensors) {
    for (const gguf_tensor *tensor : tensors.all) {
        if (aligned(tensor)) continue;
        // A mapping begins at a page, so the place in the file decides.
        const auto at = reinterpret_cast<uintptr_t>(tensor->data);
        for (const mapped_file &file : files) {
            const auto begin = reinterpret_cast<uintptr_t>(file.data());
            if (at < begin || at - begin >= file.size()) continue;
            throw model_error(file.path(), "--weights mapped: tensor " + tensor->describe() + " lies at byte " +
                                               std::to_string(at - begin) + ", must be a multiple of " +
                                               std::to_string(weight_alignment) +
                                               "; leave --weights out or give copied or packed");
        }
    }
}

}  // namespace

weights::weights(const device &owner, const std::vector<mapped_file> &files, const model_tensors &tensors,
                 weight_placement wanted, compute_mode compute)
    : owner_(owner),
      files_(files),
      tensors_(tensors),
      automatic_(wanted == weight_placement::automatic),
      // Exact products unpack packed weights every time.
      copy_(compute == compute_mode::int8 ? weight_placement::packed : weight_placement::copied) {
    // The mappings are read-only and stay so: views take plain pointers because outputs need them.
    for (const mapped_file &file : files) seen_.push_back(const_cast<uint8_t *>(file.data()));
    if (wanted == weight_placement::mapped) refuse_unaligned(files, tensors);
    uint64_t end = 0;
    for (const gguf_tensor *tensor : tensors.all) {
        offsets_.emplace(tensor, end);
        end += align_up(tensor->bytes);
    }
    const bool map = owner.info().integrated != 0 && all_aligned(tensors);
    place(!automatic_ ? wanted : map ? weight_placement::mapped : copy_);
}

weights::~weights() {
    if (registered_ == 0) return;
    owner_.synchronize();
    unregister();
}

void weights::unregister() {
    for (; registered_ > 0; --registered_)
        reflex_host_unregister(owner_.context(), const_cast<uint8_t *>(files_[registered_ - 1].data()));
}

void weights::place(weight_placement where) {
    placement_ = where;
    base_ = reinterpret_cast<uint8_t *>(placeholder_base);
}

weight_memory weights::memory() const {
    weight_memory out{copies_bytes(tensors_), 0};
    if (mapped() && owner_.info().integrated == 0) out.bytes = 0;
    for (const gguf_tensor *tensor : tensors_.all) {
        if (!packs(tensor)) continue;
        size_t scratch = 0;
        const reflex::weights_pack_params p = packing(tensor);
        reflex::check(reflex_weights_pack_supported(owner_.context(), &p));
        reflex::check(reflex_weights_pack_workspace_size(owner_.context(), &p, &scratch));
        out.scratch = std::max<uint64_t>(out.scratch, scratch);
    }
    return out;
}

bool weights::map() {
    if (!mapped() || owner_.is_cpu()) return true;
    for (size_t i = 0; i < files_.size(); ++i) {
        void *seen = nullptr;
        const reflex_status status =
            reflex_host_register(owner_.context(), const_cast<uint8_t *>(files_[i].data()), files_[i].size(), &seen);
        if (status != REFLEX_SUCCESS) {
            // Some drivers do not register read-only mappings.
            if (!automatic_) reflex::check(status);
            unregister();
            place(copy_);
            return false;
        }
        ++registered_;
        seen_[i] = static_cast<uint8_t *>(seen);
    }
    return true;
}

void weights::load() {
    for (const mapped_file &file : files_) file.prefetch();
    if (mapped()) return;
    const weight_memory sizes = memory();
    copies_ = reflex::device_buffer(owner_.owner(), sizes.bytes);
    base_ = static_cast<uint8_t *>(copies_.get());
    reflex::device_buffer scratch;
    if (sizes.scratch > 0) scratch = reflex::device_buffer(owner_.owner(), sizes.scratch);
    for (const gguf_tensor *tensor : tensors_.all) {
        owner_.copy(base_ + offsets_.at(tensor), tensor->data, tensor->bytes);
        if (!packs(tensor)) continue;
        reflex::weights_pack_params p = packing(tensor);
        p.workspace = scratch.get();
        p.workspace_size = sizes.scratch;
        reflex::check(reflex_weights_pack(owner_.context(), &p, owner_.stream()));
    }
    owner_.synchronize();
}

bool weights::packs(const gguf_tensor *tensor) const {
    return placement_ == weight_placement::packed && tensor->type->is_block();
}

reflex::weights_pack_params weights::packing(const gguf_tensor *tensor) const {
    reflex::weights_pack_params p;
    p.destination = matrix(tensor);
    p.source = p.destination;
    p.source.dtype = reflex_dtype_from_ggml(tensor->type->id);
    return p;
}

uint8_t *weights::mapped_address(const gguf_tensor *tensor) const {
    for (size_t i = 0; i < files_.size(); ++i) {
        // Pointers into different objects have no order in C++; their numbers have one.
        const uintptr_t start = reinterpret_cast<uintptr_t>(files_[i].data()),
                        at = reinterpret_cast<uintptr_t>(tensor->data);
        if (at >= start && at - start < files_[i].size()) return seen_[i] + (at - start);
    }
    throw std::logic_error("a tensor of none of the model's files");
}

reflex_tensor weights::view(const gguf_tensor *tensor) const {
    reflex_tensor out{};
    out.data = mapped() ? mapped_address(tensor) : base_ + offsets_.at(tensor);
    out.dtype = reflex_dtype_from_ggml(tensor->type->id) | (packs(tensor) ? REFLEX_DTYPE_PACKED : 0u);
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
