// The decoder of llama, qwen2 and qwen3 as a sequence of launches.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "device.h"
#include "interrupt.h"
#include "library_facts.h"
#include "memory_plan.h"
#include "model_file.h"
#include "modes.h"
#include "weights.h"

namespace llm {

struct sampling {
    float temperature = 0.0f;  // 0: greedy
    uint32_t top_k = 0;
    float top_p = 1.0f, min_p = 0.0f;
    uint64_t seed = 0;
};

class decoder {
public:
    // The arguments have to outlive this object.
    decoder(const device &owner, const model_config &config, const model_tensors &tensors, const weights &stored,
            const rotation &turned, const sampling &how, compute_mode compute)
        : owner_(owner),
          config_(config),
          tensors_(tensors),
          weights_(stored),
          rotation_(turned),
          sampling_(how),
          compute_(compute),
          native_int8_rows_(native_int8_rows(owner)) {}

    // Whether the library has attention for heads of this model's size: empty, or why it has not.
    std::string why_no_attention() const;

    // The scratch that the largest launch of a run of this shape needs. Asks the library about every launch, so that what it does
    // not support is known before anything is allocated; throws reflex::error then.
    uint64_t measure_workspace(const run_shape &shape);

    // The block of device memory that the launches work in, laid out by `layout`.
    void use(uint8_t *base, const run_shape &shape, const run_layout &layout);

    // `rows` tokens of the first sequence from ids and positions into `hidden`, their keys and values into its cache. The counters
    // hold the last position and the length of the cache with these rows. Gives up, and says false, where `stop`, which is asked before each
    // layer, says so.
    bool prefill(uint32_t rows, const stop_request &stop = {});
    // The logits of `count` rows of `hidden` from `first` on.
    void head(uint32_t first, uint32_t count);
    // Picks each sequence's `token`, one of the vocabulary's, by its row of logits and advances the counters.
    void draw() { draw(layout_.token); }
    // One step of decoding of every sequence: `token` at its counters' position, through to the next `token`.
    void step() { step(layout_.token, layout_.token); }
    // burst_steps of them; `drawn` has the tokens of all.
    void burst();
    // The part of a step that a layer is.
    void step_layer(uint32_t index);

private:
    enum class attention_path { prefill, decode };

    void draw(uint64_t into);
    // Decodes the tokens at one place and leaves the next ones at another.
    void step(uint64_t from, uint64_t into);

    void layer(uint32_t index, uint32_t rows, attention_path path);
    void attend(const layer_tensors &layer, uint32_t index, uint32_t rows, attention_path path);
    // Of a prefill; the attention of a decode step does it by itself.
    void rotate_and_store(const layer_tensors &layer, uint32_t index, uint32_t rows);
    // The fields that both have, but for the positions.
    template <typename Params>
    void set_rotation(Params &params, const layer_tensors &layer) const;
    void feed_forward(uint32_t index, uint32_t rows);
    // hidden += x weight^T + bias. `next` are the weights of what reads hidden after this, through a norm with `next_norm`.
    void add_to_hidden(const reflex_tensor &x, const gguf_tensor *weight, const gguf_tensor *bias,
                       const gguf_tensor *next_norm, std::initializer_list<const gguf_tensor *> next);

    void embed(const reflex_tensor &ids, uint32_t rows);
    void norm(const reflex_tensor &x, const gguf_tensor *weight, const reflex_tensor &y);
    // Up to three products of one x. `flags` are added to those of every matmul here.
    reflex::matmul_params matmul_of(const reflex_tensor &x, std::initializer_list<reflex_matmul_product> products,
                                    uint32_t flags = 0) const;
    void matmul(reflex::matmul_params p);
    // Launches them for `rows` rows of hidden from `first` on, after a norm with this weight: in one call where the products are int8, and
    // without a launch of the norm where what wrote hidden has seen to it.
    void normed_matmul(uint32_t first, uint32_t rows, const gguf_tensor *weight,
                       std::initializer_list<reflex_matmul_product> products, uint32_t flags = 0);
    reflex_matmul_product product(const gguf_tensor *weight, const gguf_tensor *bias, const reflex_tensor &residual,
                                  const reflex_tensor &y) const;
    // Whether products of `rows` rows with weights in block formats are computed in 8-bit integers.
    bool in_integers(uint32_t rows) const;
    // Whether `rows` rows that go into products with these weights are to be quantised by what makes them.
    bool quantised(uint32_t rows, std::initializer_list<const gguf_tensor *> into) const;

    // Launches, or in a measuring pass asks for support and scratch.
    template <typename Params, typename Run, typename Supported>
    void launch(const Params &params, Run run, Supported supported);
    template <typename Params, typename Run, typename Supported, typename WorkspaceSize>
    void launch(Params &params, Run run, Supported supported, WorkspaceSize workspace_size);

    reflex_tensor activation(uint64_t offset, uint32_t rows, uint64_t width, bool quantised = false) const;
    reflex_tensor heads(uint64_t offset, uint32_t rows, uint32_t count) const;
    reflex_tensor integers(uint64_t offset, uint32_t count) const;
    // Counters of every sequence: positions, lengths.
    reflex_tensor positions() const { return integers(layout_.counters, shape_.sequences); }
    reflex_tensor lengths(uint32_t sequences) const;
    // [sequences, context, kv_heads, head_dim]
    reflex_tensor cache(uint32_t layer, bool values, uint32_t sequences) const;
    // That of the first sequence: [context, kv_heads, head_dim].
    reflex_tensor cache_slots(uint32_t layer, bool values) const;

    const device &owner_;
    const model_config &config_;
    const model_tensors &tensors_;
    const weights &weights_;
    const rotation &rotation_;
    const sampling sampling_;
    const compute_mode compute_;
    const uint32_t native_int8_rows_;
    uint8_t *base_ = nullptr;
    run_shape shape_{};
    run_layout layout_{};
    // `normed` and `squares` are those of hidden, for the norm of whatever reads it next.
    bool handed_on_ = false;
    bool measuring_ = false;
    uint64_t workspace_ = 0;
};

}  // namespace llm
