// The decoder of the architectures in architectures.h as a sequence of launches. Each step of it takes the residual stream that the one
// before left, and returns its own.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "device.h"
#include "interrupt.h"
#include "launcher.h"
#include "library_facts.h"
#include "memory_plan.h"
#include "model_file.h"
#include "modes.h"
#include "residual_stream.h"
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
          native_int8_rows_(native_int8_rows(owner)),
          launch_(owner, nullptr, 0) {}

    // Whether the library has attention for heads of this model's size: the result is empty, or says why it has none.
    std::string why_no_attention() const;

    // The scratch that the largest launch of a run of this shape needs. Asks the library about every launch, so that what it does
    // not support is known before anything is allocated; throws reflex::error then.
    uint64_t measure_workspace(const run_shape &shape) const;

    // The launches work in this block of device memory, which has the layout `layout`.
    void use(uint8_t *base, const run_shape &shape, const run_layout &layout);

    // Decodes `rows` tokens of the first sequence, given by ids and positions, and appends their keys and values to its cache. The
    // counters hold the last position and the length of the cache with these rows. `stop` is asked before each layer; where it says
    // so the prefill is given up, and there is no result.
    std::optional<residual_stream> prefill(uint32_t rows, const stop_request &stop = {});
    // Writes the logits of each row of `x`, which the last layer left.
    void head(const residual_stream &x);
    // Picks the next token of each sequence by its row of logits, and advances the counters. Rows of the output matrix beyond the
    // vocabulary are never picked.
    void draw() { draw(layout_.token); }
    // One decode step of every sequence: it decodes each `token` at its counters' position and draws the next one. The result is what
    // the last layer left.
    residual_stream step() { return step(layout_.token, layout_.token); }
    // burst_steps decode steps; `drawn` receives the tokens of all.
    void burst();
    // One layer of a decode step.
    residual_stream step_layer(uint32_t index, const residual_stream &x);

private:
    enum class attention_path { prefill, decode };

    void use(uint8_t *base, const run_shape &shape, const run_layout &layout, const launcher &launch);
    void draw(uint64_t into);
    // Decodes the tokens at the offset `from` and writes the next ones at the offset `into`.
    residual_stream step(uint64_t from, uint64_t into);

    residual_stream embed(const reflex_tensor &ids);
    residual_stream layer(uint32_t index, const residual_stream &x, attention_path path);
    residual_stream attend(uint32_t index, const residual_stream &x, attention_path path);
    residual_stream feed_forward(uint32_t index, const residual_stream &x);
    // A prefill calls this before its attention; reflex_attention_decode rotates and stores by itself.
    void rotate_and_store(const layer_tensors &layer, const reflex::kv_cache &into, uint32_t rows);
    // Sets the fields that reflex_rope and reflex_attention_decode share, without the positions.
    template <typename Params>
    void set_rotation(Params &params, const layer_tensors &layer) const;
    // hidden += x weight^T + bias, in place. What reads the result next are products with the weights `next` through a norm with
    // `next_norm`: the norm is deferred to them where all products are int8.
    residual_stream add_to_hidden(const residual_stream &to, const reflex_tensor &x, const gguf_tensor *weight,
                                  const gguf_tensor *bias, const gguf_tensor *next_norm,
                                  std::initializer_list<const gguf_tensor *> next);

    void norm(const reflex_tensor &x, const gguf_tensor *weight, const reflex_tensor &y);
    // What products of x have in common. `flags` are added to those of every matmul here.
    reflex::matmul_params matmul_of(const reflex_tensor &x, uint32_t flags = 0) const;
    // Up to three products.
    void matmul(reflex::matmul_params p, std::initializer_list<reflex_matmul_product> products);
    // Products of x after a norm with `weight`. A deferred norm takes no launch; where products are int8 the norm is a part of their
    // call, and otherwise it is a launch of its own.
    void normed_matmul(const residual_stream &x, const gguf_tensor *weight,
                       std::initializer_list<reflex_matmul_product> products, uint32_t flags = 0);
    reflex_matmul_product product(const gguf_tensor *weight, const gguf_tensor *bias, const reflex_tensor &residual,
                                  const reflex_tensor &y) const;
    // Whether products of `rows` rows with weights in block formats are computed in 8-bit integers.
    bool in_integers(uint32_t rows) const;
    // Whether the op that writes `rows` rows for products with these weights is to quantise them.
    bool quantised(uint32_t rows, std::initializer_list<const gguf_tensor *> into) const;

    reflex_tensor activation(uint64_t offset, uint32_t rows, uint64_t width) const;
    reflex_tensor quantised_activation(uint64_t offset, uint32_t rows, uint64_t width) const;
    reflex_tensor heads(uint64_t offset, uint32_t rows, uint32_t count) const;
    reflex_tensor integers(uint64_t offset, uint32_t count) const;
    // The counters of every sequence: positions, lengths.
    reflex_tensor positions() const { return integers(layout_.counters, shape_.sequences); }
    reflex_tensor lengths(uint32_t sequences) const;
    // The first sequences of a layer's cache, each [context, kv_heads, head_dim], with their lengths.
    reflex::kv_cache cache(uint32_t layer, uint32_t sequences) const;

    const device &owner_;
    const model_config &config_;
    const model_tensors &tensors_;
    const weights &weights_;
    const rotation &rotation_;
    const sampling sampling_;
    const compute_mode compute_;
    const uint32_t native_int8_rows_;
    launcher launch_;
    uint8_t *base_ = nullptr;
    run_shape shape_{};
    run_layout layout_{};
};

}  // namespace llm
