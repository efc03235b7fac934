// Sequences of tokens on one device: their caches, prefill in batches, and a decode step of all of them that is recorded once and
// replayed. All sequences have the same length; they differ from where the drawn tokens do.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "decoder.h"
#include "device.h"
#include "interrupt.h"
#include "mapped_file.h"
#include "memory_plan.h"
#include "model_file.h"
#include "modes.h"
#include "tokenizer.h"
#include "weights.h"

namespace llm {

// The device cannot hold the run; the message has the figures.
class does_not_fit : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

struct engine_options {
    compute_mode compute = compute_mode::int8;
    weight_placement weights = weight_placement::automatic;
    bool graph = true;
};

class engine {
public:
    // Plans the memory, and then loads the weights. Before any memory is allocated it throws does_not_fit, or gguf_error for a model that
    // the library cannot compute. The arguments have to outlive this object.
    engine(const device &owner, const std::vector<mapped_file> &files, const model_config &config,
           const model_tensors &tensors, const run_shape &shape, const sampling &how, const engine_options &options);
    ~engine();

    const memory_plan &plan() const { return plan_; }
    weight_placement placement() const { return weights_.placement(); }
    compute_mode compute() const { return options_.compute; }
    // The number of launches of a decode step, and of one of its layers; 0 without a graph.
    size_t graph_nodes() const { return graph_ ? graph_.nodes() : 0; }
    size_t layer_nodes() const { return layer_nodes_; }
    // Bytes of device memory that this object holds, without mapped weights.
    uint64_t allocated() const { return plan_.layout.end + (weights_.mapped() ? 0 : plan_.weights.bytes); }

    uint32_t length() const { return length_; }
    uint32_t context() const { return plan_.shape.context; }
    uint32_t sequences() const { return plan_.shape.sequences; }
    uint32_t logit_width() const { return config_.logit_width; }

    // Forgets the tokens from `length` on.
    void rewind(uint32_t length);
    // Appends tokens to the first sequence in as many batches as it takes. The result is the number of tokens, which is smaller where
    // `stop` ended the call: it is asked before each layer of each batch, and a batch that it interrupts appends nothing. `share` has to
    // follow before the other sequences are decoded.
    size_t append(const token_id *tokens, size_t count, const stop_request &stop = {});
    // The logits of `count` rows of the last batch from `first` on, in host memory, logit_width for each row. They are valid until the next
    // call.
    const float *logits(uint32_t first, uint32_t count);

    // Copies the cache of the first sequence to all others.
    void share();

    // Queues the choice of a token for each sequence after the last one appended. It becomes the next to decode.
    void draw_first();
    // Sets the next token to decode, of every sequence, from the host.
    void set_next(token_id token);
    // Queues decode steps, at most `most`: on the device, the next token is appended to its sequence and a new next token is drawn. The
    // result is the number of steps: one, or as many as were recorded together, because some time is lost from one graph to the next.
    uint32_t step(uint32_t most);

    // Queues the copy of the tokens of the last `step` or `draw_first`. Further steps may be queued before these tokens have been looked
    // at: the tokens of two calls are kept.
    void request_tokens();
    struct drawn {
        const token_id *tokens;  // [steps, sequences]; valid until the tokens of two more calls have been requested
        uint32_t steps;
    };
    drawn wait_tokens();
    void synchronize() const { owner_.synchronize(); }
    // The number of calls of `step` that are worth queueing ahead: none on the CPU backend, where they run at once.
    uint32_t calls_ahead() const { return owner_.is_cpu() ? 0 : 1; }

private:
    void make_plan(const run_shape &shape);
    uint64_t measure_workspace(const run_shape &shape);
    bool append_batch(const token_id *tokens, uint32_t count, const stop_request &stop);
    // Waits until the earlier copy from a slot has ended, and returns the slot: page-locked memory laid out like the inputs on the device.
    uint8_t *stage();
    // Queues the copy of the bytes [from, inputs) out of the slot of the last `stage`.
    void upload(uint64_t from);
    void stage_counters(uint8_t *slot, uint32_t position);
    uint8_t *at(uint64_t offset) const { return static_cast<uint8_t *>(block_.get()) + offset; }
    token_id *token_slot(uint32_t index) const {
        return static_cast<token_id *>(tokens_.get()) + index * burst_steps * sequences();
    }

    static constexpr uint32_t slots = 2;

    const device &owner_;
    const model_config &config_;
    const engine_options options_;
    weights weights_;
    const rotation rotation_;
    decoder decoder_;
    memory_plan plan_;
    reflex::device_buffer block_;
    // Both are page-locked and have `slots` slots: inputs on their way to the device, tokens on their way back. The events say when a copy
    // has ended.
    reflex::host_buffer staging_, tokens_;
    std::vector<reflex::event> staged_, fetched_;
    uint32_t uploads_ = 0, requested_ = 0, waited_ = 0;
    uint32_t slot_steps_[slots] = {};
    reflex::graph graph_, burst_;
    uint32_t last_steps_ = 1;  // number of steps of the last call of `step`
    size_t layer_nodes_ = 0;
    uint32_t length_ = 0;
    residual_stream last_batch_{};  // what the last prefill left
    std::vector<float> host_logits_;
};

}  // namespace llm
