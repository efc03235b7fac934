// Sequences of tokens on one device: their caches, prefill in batches, and a decode step of all of them that is recorded once and
// replayed. All have the same length; they part where the drawn tokens differ.
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
    // Plans the memory, throws does_not_fit, or gguf_error for a model that the library cannot compute, before any of it is allocated,
    // then loads the weights. The arguments have to outlive this object.
    engine(const device &owner, const std::vector<mapped_file> &files, const model_config &config,
           const model_tensors &tensors, const run_shape &shape, const sampling &how, const engine_options &options);
    ~engine();

    const memory_plan &plan() const { return plan_; }
    weight_placement placement() const { return weights_.placement(); }
    compute_mode compute() const { return options_.compute; }
    // Launches of a decode step, and of one of its layers; 0 without a graph.
    size_t graph_nodes() const { return graph_ ? graph_.nodes() : 0; }
    size_t layer_nodes() const { return layer_nodes_; }
    // Device memory that this object holds, mapped weights not counted.
    uint64_t allocated() const { return plan_.layout.end + (weights_.mapped() ? 0 : plan_.weights.bytes); }

    uint32_t length() const { return length_; }
    uint32_t context() const { return plan_.shape.context; }
    uint32_t sequences() const { return plan_.shape.sequences; }
    uint32_t logit_width() const { return config_.logit_width; }

    // Forgets the tokens from `length` on.
    void rewind(uint32_t length);
    // Appends tokens to the first sequence, as many batches as it takes, and says how many: fewer where `stop` ended it. It is asked before
    // each layer of each batch, and a batch that it cuts short leaves nothing. `share` has to follow before the others are decoded.
    size_t append(const token_id *tokens, size_t count, const stop_request &stop = {});
    // Logits of `count` rows of the last batch from `first` on, in host memory: logit_width of them in a row. Valid until the next call.
    const float *logits(uint32_t first, uint32_t count);

    // Gives what the first sequence holds to all others.
    void share();

    // Queues the choice of a token for each sequence after the last one appended. It becomes the next to decode.
    void draw_first();
    // Sets the next token to decode, of every sequence, from the host.
    void set_next(token_id token);
    // Queues decode steps: the next token goes into its sequence, and a new next token is drawn, all on the device. At most as many as
    // asked for; says how many: one, or as many as were recorded together, since from one graph to the next some time is lost.
    uint32_t step(uint32_t most);

    // Of the last `step` or `draw_first`. Steps may be queued before the tokens of those before them have been looked at: those of two
    // calls are kept.
    void request_tokens();
    struct drawn {
        const token_id *tokens;  // of each step, one of each sequence; valid until as many more have been requested
        uint32_t steps;
    };
    drawn wait_tokens();
    void synchronize() const { owner_.synchronize(); }
    // How many calls of `step` it is worth to be ahead of the host: none on the CPU backend, where they run at once.
    uint32_t calls_ahead() const { return owner_.is_cpu() ? 0 : 1; }

private:
    void make_plan(const run_shape &shape);
    uint64_t measure_workspace(const run_shape &shape);
    bool append_batch(const token_id *tokens, uint32_t count, const stop_request &stop);
    // A slot of page-locked memory laid out like the inputs on the device, once an earlier copy from it has ended.
    uint8_t *stage();
    // Queues the copy of [from, inputs) out of the slot of the last `stage`.
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
    // Page-locked, `slots` of each: inputs on their way to the device, tokens on their way back. The events say when a copy has ended.
    reflex::host_buffer staging_, tokens_;
    std::vector<reflex::event> staged_, fetched_;
    uint32_t uploads_ = 0, requested_ = 0, waited_ = 0;
    uint32_t slot_steps_[slots] = {};
    reflex::graph graph_, burst_;
    uint32_t last_steps_ = 1;  // of the last call of `step`
    size_t layer_nodes_ = 0;
    uint32_t length_ = 0, last_batch_ = 0;
    std::vector<float> host_logits_;
};

}  // namespace llm
