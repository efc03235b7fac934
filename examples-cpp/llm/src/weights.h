// The model's tensors where the device reads them: in the mapped file itself where the device shares the host's memory, copied otherwise.
#pragma once

#include <unordered_map>

#include "device.h"
#include "mapped_file.h"
#include "model_file.h"

namespace llm {

class weights {
public:
    // Decides where the weights will lie; nothing is allocated. The arguments have to outlive this object.
    weights(const device &owner, const mapped_file &file, const model_tensors &tensors);
    ~weights();
    weights(const weights &) = delete;
    weights &operator=(const weights &) = delete;

    // Puts them there. Views made before are stale.
    void load();

    // [rows, columns]. Before `load` the address is one that nothing may read, but good enough to ask the library with.
    reflex_tensor matrix(const gguf_tensor *tensor) const;
    // [length]; an absent operand for nullptr
    reflex_tensor vector(const gguf_tensor *tensor) const;

    bool mapped() const { return mapped_; }

private:
    bool register_file();
    reflex_tensor view(const gguf_tensor *tensor) const;

    const device &owner_;
    const mapped_file &file_;
    const model_tensors &tensors_;
    bool mapped_ = false, registered_ = false;
    uint8_t *base_ = nullptr;  // of the file as the device sees it, or of the copies
    reflex::device_buffer copies_;
    std::unordered_map<const gguf_tensor *, uint64_t> offsets_;  // of the copies
    uint64_t copied_bytes_ = 0;
};

}  // namespace llm
