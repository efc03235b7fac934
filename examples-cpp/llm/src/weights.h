// The model's tensors as the device reads them: in the mapped files themselves, in a copy, or in a copy packed for matmuls.
#pragma once

#include <unordered_map>
#include <vector>

#include "device.h"
#include "mapped_file.h"
#include "memory_plan.h"
#include "model_file.h"
#include "modes.h"

namespace llm {

class weights {
public:
    // Decides where the weights will lie; nothing is allocated. The first three arguments have to outlive this object. Throws
    // std::invalid_argument for a placement that the file does not allow.
    weights(const device &owner, const std::vector<mapped_file> &files, const model_tensors &tensors,
            weight_placement wanted, compute_mode compute);
    ~weights();
    weights(const weights &) = delete;
    weights &operator=(const weights &) = delete;

    // What `load` will allocate. Weights that are mapped in memory which the device shares are counted: they occupy it as well.
    weight_memory memory() const;

    // Makes the mapped files readable for the device. The result is false where the driver refuses and another placement was chosen: the
    // memory has to be planned anew then. It does nothing for copies.
    bool map();
    // Puts the weights where they belong. Views made before are stale.
    void load();

    // [rows, columns]. Before `load` nothing may read its address, which serves to ask the library.
    reflex_tensor matrix(const gguf_tensor *tensor) const;
    // [length], or an absent operand for nullptr.
    reflex_tensor vector(const gguf_tensor *tensor) const;

    // It is never `automatic`.
    weight_placement placement() const { return placement_; }
    bool mapped() const { return placement_ == weight_placement::mapped; }

private:
    void place(weight_placement where);
    bool packs(const gguf_tensor *tensor) const;
    // Packs in place, once the blocks have been copied.
    reflex::weights_pack_params packing(const gguf_tensor *tensor) const;
    reflex_tensor view(const gguf_tensor *tensor) const;
    // Where the device sees a tensor that is not copied.
    uint8_t *mapped_address(const gguf_tensor *tensor) const;
    void unregister();

    const device &owner_;
    const std::vector<mapped_file> &files_;
    const model_tensors &tensors_;
    const bool automatic_;
    const weight_placement copy_;  // which of the copies is the better
    weight_placement placement_;
    std::vector<uint8_t *> seen_;  // the files as the device sees them
    size_t registered_ = 0;        // number of files, from the first on, that are registered with the driver
    uint8_t *base_ = nullptr;      // start of the copies
    reflex::device_buffer copies_;
    std::unordered_map<const gguf_tensor *, uint64_t> offsets_;  // from base_ to each copy
};

}  // namespace llm
