#include "decoder.h"

#include <algorithm>

namespace llm {
namespace {

int64_t extent(uint64_t count) { return static_cast<int64_t>(count); }

// Puts the dimension of a batch of one in front.
reflex_tensor as_batch(const reflex_tensor &in) {
    reflex_tensor out = in;
    out.rank = in.rank + 1;
    out.shape[0] = 1;
    std::copy_n(in.shape, in.rank, out.shape + 1);
    return out;
}

}  // namespace

reflex_tensor decoder::activation(uint64_t offset, uint32_t rows, uint64_t width) const {
    return reflex::tensor(base_ + offset, REFLEX_DTYPE_F32, {rows, extent(width)});
}

reflex_tensor decoder::heads(uint64_t offset, uint32_t rows, uint32_t count) const {
    return reflex::tensor(base_ + offset, REFLEX_DTYPE_F32, {rows, count, config_.head_dim});
}

reflex_tensor decoder::integers(uint64_t offset, uint32_t count) const {
    return reflex::tensor(base_ + offset, REFLEX_DTYPE_I32, {count});
}

reflex_tensor decoder::cache(uint32_t layer, bool values, uint32_t rank) const {
    uint8_t *part = base_ + layout_.cache + (2 * uint64_t{layer} + (values ? 1 : 0)) * layout_.cache_part;
    const reflex_tensor slots =
        reflex::tensor(part, REFLEX_DTYPE_F16, {shape_.context, config_.kv_heads, config_.head_dim});
    return rank == 4 ? as_batch(slots) : slots;
}

template <typename Params, typename Run, typename Supported>
void decoder::launch(const Params &p, Run run, Supported supported) {
    reflex::check(measuring_ ? supported(owner_.context(), &p) : run(owner_.context(), &p, owner_.stream()));
}

template <typename Params, typename Run, typename Supported, typename WorkspaceSize>
void decoder::launch(Params &p, Run run, Supported supported, WorkspaceSize workspace_size) {
    if (measuring_) {
        size_t bytes = 0;
        reflex::check(workspace_size(owner_.context(), &p, &bytes));
        workspace_ = std::max<uint64_t>(workspace_, bytes);
    } else {
        p.workspace = layout_.end > layout_.workspace ? base_ + layout_.workspace : nullptr;
        p.workspace_size = layout_.end - layout_.workspace;
    }
    launch(p, run, supported);
}

uint64_t decoder::measure_workspace(const run_shape &shape) {
    // No launch happens, so the addresses only have to look like those of the run.
    use(reinterpret_cast<uint8_t *>(2 * placeholder_base), shape, lay_out(config_, shape, 0));
    measuring_ = true;
    workspace_ = 0;
    prefill(shape.batch);
    if (shape.batch > 1) prefill(1);
    head(0, shape.logit_rows);
    step();
    measuring_ = false;
    return workspace_;
}

void decoder::use(uint8_t *base, const run_shape &shape, const run_layout &layout) {
    base_ = base;
    shape_ = shape;
    layout_ = layout;
}

void decoder::prefill(uint32_t rows) {
    embed(integers(layout_.ids, rows), rows);
    layers(rows, integers(layout_.positions, rows), attention_path::prefill);
}

void decoder::step() {
    embed(integers(layout_.token, 1), 1);
    layers(1, integers(layout_.counters, 1), attention_path::decode);
    head(0, 1);
    draw();
}

void decoder::layers(uint32_t rows, const reflex_tensor &positions, attention_path path) {
    for (uint32_t i = 0; i < config_.layers; ++i) {
        attend(tensors_.layers[i], i, rows, positions, path);
        feed_forward(tensors_.layers[i], rows);
    }
}

void decoder::attend(const layer_tensors &layer, uint32_t index, uint32_t rows, const reflex_tensor &positions,
                     attention_path path) {
    const model_config &c = config_;
    const reflex_tensor hidden = activation(layout_.hidden, rows, c.hidden),
                        normed = activation(layout_.normed, rows, c.hidden);
    norm(hidden, layer.attn_norm, normed);
    matmul(normed, layer.q, layer.q_bias, {}, activation(layout_.q, rows, c.q_width()));
    matmul(normed, layer.k, layer.k_bias, {}, activation(layout_.k, rows, c.kv_width()));
    matmul(normed, layer.v, layer.v_bias, {}, activation(layout_.v, rows, c.kv_width()));

    const reflex_tensor q = heads(layout_.q, rows, c.heads), k = heads(layout_.k, rows, c.kv_heads),
                        v = heads(layout_.v, rows, c.kv_heads);
    reflex::rope_params rope;
    rope.mode = c.rope_neox ? REFLEX_ROPE_NEOX : REFLEX_ROPE_INTERLEAVED;
    rope.theta_base = c.rope_base;
    rope.freq_scale = 1.0f / c.rope_scale;
    rope.rotary_dim = c.rope_dims;
    rope.q = q;
    rope.k = k;
    rope.v = v;
    rope.positions = positions;
    rope.freq_factors = weights_.vector(tensors_.rope_factors);
    rope.q_norm = weights_.vector(layer.q_norm);
    rope.k_norm = weights_.vector(layer.k_norm);
    rope.norm_epsilon = c.rms_epsilon;
    rope.k_cache = cache(index, false, 3);
    rope.v_cache = cache(index, true, 3);
    launch(rope, reflex_rope, reflex_rope_supported);

    const reflex_tensor attended = heads(layout_.attended, rows, c.heads);
    const reflex_tensor length = integers(layout_.counters + sizeof(int32_t), 1);
    if (path == attention_path::decode) {
        reflex::attention_decode_params attention;
        attention.q = q;
        attention.k = cache(index, false, 4);
        attention.v = cache(index, true, 4);
        attention.kv_lengths = length;
        attention.y = attended;
        launch(attention, reflex_attention_decode, reflex_attention_decode_supported,
               reflex_attention_decode_workspace_size);
    } else {
        reflex::attention_params attention;
        attention.mask = REFLEX_ATTENTION_CAUSAL;
        attention.q = as_batch(q);
        attention.k = cache(index, false, 4);
        attention.v = cache(index, true, 4);
        attention.kv_lengths = length;
        attention.y = as_batch(attended);
        launch(attention, reflex_attention, reflex_attention_supported);
    }
    matmul(activation(layout_.attended, rows, c.q_width()), layer.output, layer.output_bias, hidden, hidden);
}

void decoder::feed_forward(const layer_tensors &layer, uint32_t rows) {
    const reflex_tensor hidden = activation(layout_.hidden, rows, config_.hidden),
                        normed = activation(layout_.normed, rows, config_.hidden);
    const reflex_tensor gate = activation(layout_.gate, rows, config_.ffn),
                        up = activation(layout_.up, rows, config_.ffn);
    norm(hidden, layer.ffn_norm, normed);
    matmul(normed, layer.gate, nullptr, {}, gate);
    matmul(normed, layer.up, nullptr, {}, up);
    reflex::activation_params swiglu;
    swiglu.kind = REFLEX_ACTIVATION_SILU;
    swiglu.gate = gate;
    swiglu.up = up;
    swiglu.y = gate;
    launch(swiglu, reflex_activation, reflex_activation_supported);
    matmul(gate, layer.down, nullptr, hidden, hidden);
}

void decoder::head(uint32_t first, uint32_t count) {
    const uint64_t row_bytes = uint64_t{config_.hidden} * sizeof(float);
    const reflex_tensor normed = activation(layout_.normed, count, config_.hidden);
    norm(activation(layout_.hidden + first * row_bytes, count, config_.hidden), tensors_.output_norm, normed);
    matmul(normed, tensors_.output, nullptr, {}, activation(layout_.logits, count, config_.vocab));
}

void decoder::draw() {
    const reflex_tensor logits = activation(layout_.logits, 1, config_.vocab), token = integers(layout_.token, 1),
                        counters = integers(layout_.counters, 2);
    if (sampling_.temperature == 0.0f) {
        reflex::argmax_params p;
        p.x = logits;
        p.ids = token;
        p.counters = counters;
        launch(p, reflex_argmax, reflex_argmax_supported, reflex_argmax_workspace_size);
        return;
    }
    reflex::sample_params p;
    p.temperature = sampling_.temperature;
    p.top_k = std::min(sampling_.top_k, config_.vocab);
    p.top_p = sampling_.top_p;
    p.min_p = sampling_.min_p;
    p.seed = sampling_.seed;
    p.logits = logits;
    p.steps = integers(layout_.counters, 1);
    p.ids = token;
    p.counters = counters;
    launch(p, reflex_sample, reflex_sample_supported, reflex_sample_workspace_size);
}

void decoder::embed(const reflex_tensor &ids, uint32_t rows) {
    reflex::embedding_params p;
    p.table = weights_.matrix(tensors_.embedding);
    p.ids = ids;
    p.y = activation(layout_.hidden, rows, config_.hidden);
    launch(p, reflex_embedding, reflex_embedding_supported);
}

void decoder::norm(const reflex_tensor &x, const gguf_tensor *weight, const reflex_tensor &y) {
    reflex::norm_params p;
    p.epsilon = config_.rms_epsilon;
    p.x = x;
    p.weight = weights_.vector(weight);
    p.y = y;
    launch(p, reflex_norm, reflex_norm_supported);
}

void decoder::matmul(const reflex_tensor &x, const gguf_tensor *weight, const gguf_tensor *bias,
                     const reflex_tensor &residual, const reflex_tensor &y) {
    reflex::matmul_params p;
    p.x = x;
    p.weight = weights_.matrix(weight);
    p.bias = weights_.vector(bias);
    p.residual = residual;
    p.y = y;
    launch(p, reflex_matmul, reflex_matmul_supported, reflex_matmul_workspace_size);
}

}  // namespace llm
