#include "decoder.h"

#include <algorithm>

namespace llm {
namespace {

int64_t extent(uint64_t count) { return static_cast<int64_t>(count); }

// The same tensor with a dimension of 1, the batch, in front.
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

reflex_tensor decoder::quantised_activation(uint64_t offset, uint32_t rows, uint64_t width) const {
    return reflex::tensor(base_ + offset, REFLEX_DTYPE_ACT_I8, {rows, extent(width)},
                          {extent(act_i8_row_bytes(width)), reflex_dtype_block_bytes(REFLEX_DTYPE_ACT_I8)});
}

reflex_tensor decoder::heads(uint64_t offset, uint32_t rows, uint32_t count) const {
    return reflex::tensor(base_ + offset, REFLEX_DTYPE_F32, {rows, count, config_.head_dim});
}

reflex_tensor decoder::integers(uint64_t offset, uint32_t count) const {
    return reflex::tensor(base_ + offset, REFLEX_DTYPE_I32, {count});
}

reflex_tensor decoder::lengths(uint32_t sequences) const {
    return integers(layout_.counters + shape_.sequences * sizeof(int32_t), sequences);
}

reflex::kv_cache decoder::cache(uint32_t layer, uint32_t sequences) const {
    const auto part = [&](uint64_t index) {
        return reflex::tensor(base_ + layout_.cache + index * layout_.cache_part, REFLEX_DTYPE_F16,
                              {sequences, shape_.context, config_.kv_heads, config_.head_dim});
    };
    reflex::kv_cache out;
    out.k = part(2 * uint64_t{layer});
    out.v = part(2 * uint64_t{layer} + 1);
    out.lengths = lengths(sequences);
    return out;
}

uint64_t decoder::measure_workspace(const run_shape &shape) const {
    // A copy makes the passes of a run. It launches nothing, so its addresses only have to look like those of the run.
    decoder asking(*this);
    asking.use(reinterpret_cast<uint8_t *>(2 * placeholder_base), shape, lay_out(config_, shape, 0),
               launcher::measuring(owner_));
    // The scratch grows with the rows, except where products turn from int8 to exact.
    asking.prefill(1);
    asking.prefill(std::clamp(native_int8_rows_, 1u, shape.batch));
    const auto x = asking.prefill(shape.batch);
    asking.head(x->part(0, shape.logit_rows));
    asking.step();
    return asking.launch_.workspace_bytes();
}

std::string decoder::why_no_attention() const {
    const auto *any = reinterpret_cast<const uint8_t *>(placeholder_base);
    reflex::kv_cache one;
    one.k = one.v =
        reflex::tensor(any + (placeholder_base >> 1), REFLEX_DTYPE_F16, {1, 1, config_.kv_heads, config_.head_dim});
    reflex::attention_params p;
    p.mask = REFLEX_ATTENTION_CAUSAL;
    p.q = p.y = reflex::tensor(any, REFLEX_DTYPE_F32, {1, 1, config_.heads, config_.head_dim});
    p.cache = &one;
    return reflex_attention_supported(owner_.context(), &p) == REFLEX_SUCCESS ? "" : reflex_last_error_message();
}

void decoder::use(uint8_t *base, const run_shape &shape, const run_layout &layout) {
    const uint64_t workspace_bytes = layout.end - layout.workspace;
    use(base, shape, layout,
        launcher(owner_, workspace_bytes > 0 ? base + layout.workspace : nullptr, workspace_bytes));
}

void decoder::use(uint8_t *base, const run_shape &shape, const run_layout &layout, const launcher &launch) {
    base_ = base;
    shape_ = shape;
    layout_ = layout;
    launch_ = launch;
}

std::optional<residual_stream> decoder::prefill(uint32_t rows, const stop_request &stop) {
    residual_stream x = embed(integers(layout_.ids, rows));
    for (uint32_t i = 0; i < config_.layers; ++i) {
        if (stop && stop()) return {};
        x = layer(i, x, attention_path::prefill);
    }
    return x;
}

residual_stream decoder::step(uint64_t from, uint64_t into) {
    residual_stream x = embed(integers(from, shape_.sequences));
    for (uint32_t i = 0; i < config_.layers; ++i) x = step_layer(i, x);
    head(x);
    draw(into);
    return x;
}

void decoder::burst() {
    uint64_t from = layout_.token, into = layout_.drawn;
    for (uint32_t i = 0; i < burst_steps; ++i) {
        step(from, into);
        from = into;
        into += shape_.sequences * sizeof(int32_t);
    }
}

residual_stream decoder::step_layer(uint32_t index, const residual_stream &x) {
    return layer(index, x, attention_path::decode);
}

residual_stream decoder::layer(uint32_t index, const residual_stream &x, attention_path path) {
    return feed_forward(index, attend(index, x, path));
}

residual_stream decoder::attend(uint32_t index, const residual_stream &x, attention_path path) {
    const model_config &c = config_;
    const layer_tensors &layer = tensors_.layers[index];
    const uint32_t rows = x.rows();
    normed_matmul(x, layer.attn_norm,
                  {product(layer.q, layer.q_bias, {}, activation(layout_.q, rows, c.q_width())),
                   product(layer.k, layer.k_bias, {}, activation(layout_.k, rows, c.kv_width())),
                   product(layer.v, layer.v_bias, {}, activation(layout_.v, rows, c.kv_width()))});

    const reflex_tensor q = heads(layout_.q, rows, c.heads), attended_heads = heads(layout_.attended, rows, c.heads);
    reflex_tensor attended = activation(layout_.attended, rows, c.q_width());
    if (path == attention_path::decode) {
        const bool quantise = c.head_dim % act_i8_block_elements() == 0 && quantised(rows, {layer.output});
        if (quantise) attended = quantised_activation(layout_.attended, rows, c.q_width());
        const reflex::kv_cache keys_and_values = cache(index, rows);
        reflex::attention_decode_params attention;
        attention.scale = c.attention_scale;
        attention.q = q;
        attention.cache = &keys_and_values;
        attention.y = quantise ? attended : attended_heads;
        attention.k_new = heads(layout_.k, rows, c.kv_heads);
        attention.v_new = heads(layout_.v, rows, c.kv_heads);
        attention.positions = positions();
        set_rotation(attention, layer);
        launch_(attention, reflex_attention_decode, reflex_attention_decode_supported,
                reflex_attention_decode_workspace_size);
    } else {
        const reflex::kv_cache keys_and_values = cache(index, 1);
        rotate_and_store(layer, keys_and_values, rows);
        reflex::attention_params attention;
        attention.mask = REFLEX_ATTENTION_CAUSAL;
        attention.scale = c.attention_scale;
        attention.q = as_batch(q);
        attention.cache = &keys_and_values;
        attention.y = as_batch(attended_heads);
        launch_(attention, reflex_attention, reflex_attention_supported);
    }
    return add_to_hidden(x, attended, layer.output, layer.output_bias, layer.ffn_norm, {layer.gate, layer.up});
}

template <typename Params>
void decoder::set_rotation(Params &p, const layer_tensors &layer) const {
    const model_config &c = config_;
    p.mode = c.rope.neox ? REFLEX_ROPE_NEOX : REFLEX_ROPE_INTERLEAVED;
    p.theta_base = static_cast<float>(c.rope.base);
    p.freq_scale = rotation_.frequency_scale;
    p.magnitude = rotation_.magnitude;
    p.rotary_dim = c.rope.dims;
    if (!rotation_.factors.empty())
        p.freq_factors =
            reflex::tensor(base_ + layout_.rope_factors, REFLEX_DTYPE_F32, {extent(rotation_.factors.size())});
    p.q_norm = weights_.vector(layer.q_norm);
    p.k_norm = weights_.vector(layer.k_norm);
    p.norm_epsilon = c.rms_epsilon;
}

void decoder::rotate_and_store(const layer_tensors &layer, const reflex::kv_cache &into, uint32_t rows) {
    reflex::rope_params rope;
    rope.q = heads(layout_.q, rows, config_.heads);
    rope.k = heads(layout_.k, rows, config_.kv_heads);
    rope.v = heads(layout_.v, rows, config_.kv_heads);
    // The positions are the slots, too, as the cache is that of the first sequence.
    rope.positions = integers(layout_.positions, rows);
    rope.cache = &into;
    set_rotation(rope, layer);
    launch_(rope, reflex_rope, reflex_rope_supported);
}

residual_stream decoder::feed_forward(uint32_t index, const residual_stream &x) {
    const layer_tensors &layer = tensors_.layers[index];
    const uint32_t rows = x.rows();
    // A product writes ACT_I8 only if it is int8 itself.
    const reflex_tensor gated = quantised(rows, {layer.gate, layer.up, layer.down})
                                    ? quantised_activation(layout_.gated, rows, config_.ffn)
                                    : activation(layout_.gated, rows, config_.ffn);
    normed_matmul(x, layer.ffn_norm, {product(layer.gate, nullptr, {}, gated), product(layer.up, nullptr, {}, {})},
                  REFLEX_MATMUL_GATED);
    if (index + 1 == config_.layers)
        return add_to_hidden(x, gated, layer.down, nullptr, tensors_.output_norm, {tensors_.output});
    const layer_tensors &next = tensors_.layers[index + 1];
    return add_to_hidden(x, gated, layer.down, nullptr, next.attn_norm, {next.q, next.k, next.v});
}

residual_stream decoder::add_to_hidden(const residual_stream &to, const reflex_tensor &x, const gguf_tensor *weight,
                                       const gguf_tensor *bias, const gguf_tensor *next_norm,
                                       std::initializer_list<const gguf_tensor *> next) {
    const uint32_t rows = to.rows(), block = act_i8_block_elements();
    residual_stream out{to.hidden, {}, {}};
    reflex::matmul_params p = matmul_of(x);
    if (config_.hidden % block == 0 && quantised(rows, {weight}) && quantised(rows, next)) {
        out.normed = quantised_activation(layout_.normed, rows, config_.hidden);
        out.squares = activation(layout_.squares, rows, config_.hidden / block);
        p.y_norm = weights_.vector(next_norm);
        p.y_normed = out.normed;
        p.y_squares = out.squares;
    }
    matmul(p, {product(weight, bias, to.hidden, out.hidden)});
    return out;
}

void decoder::head(const residual_stream &x) {
    normed_matmul(x, tensors_.output_norm,
                  {product(tensors_.output, nullptr, {}, activation(layout_.logits, x.rows(), config_.logit_width))});
}

void decoder::draw(uint64_t into) {
    // Rows of the output matrix beyond the vocabulary have logits too, at the end of each row.
    const reflex_tensor logits =
                            reflex::tensor(base_ + layout_.logits, REFLEX_DTYPE_F32, {shape_.sequences, config_.vocab},
                                           {extent(config_.logit_width * sizeof(float)), sizeof(float)}),
                        token = integers(into, shape_.sequences),
                        counters = integers(layout_.counters, 2 * shape_.sequences);
    if (sampling_.temperature == 0.0f) {
        reflex::argmax_params p;
        p.x = logits;
        p.ids = token;
        p.counters = counters;
        launch_(p, reflex_argmax, reflex_argmax_supported, reflex_argmax_workspace_size);
        return;
    }
    reflex::sample_params p;
    p.temperature = sampling_.temperature;
    p.top_k = std::min(sampling_.top_k, config_.vocab);
    p.top_p = sampling_.top_p;
    p.min_p = sampling_.min_p;
    p.seed = sampling_.seed;
    p.logits = logits;
    p.steps = positions();
    p.ids = token;
    p.counters = counters;
    launch_(p, reflex_sample, reflex_sample_supported, reflex_sample_workspace_size);
}

residual_stream decoder::embed(const reflex_tensor &ids) {
    const residual_stream out{activation(layout_.hidden, static_cast<uint32_t>(ids.shape[0]), config_.hidden), {}, {}};
    reflex::embedding_params p;
    p.table = weights_.matrix(tensors_.embedding);
    p.ids = ids;
    p.y = out.hidden;
    launch_(p, reflex_embedding, reflex_embedding_supported);
    return out;
}

void decoder::norm(const reflex_tensor &x, const gguf_tensor *weight, const reflex_tensor &y) {
    reflex::norm_params p;
    p.epsilon = config_.rms_epsilon;
    p.x = x;
    p.weight = weights_.vector(weight);
    p.y = y;
    launch_(p, reflex_norm, reflex_norm_supported);
}

void decoder::normed_matmul(const residual_stream &x, const gguf_tensor *weight,
                            std::initializer_list<reflex_matmul_product> products, uint32_t flags) {
    if (x.norm_is_deferred()) {
        reflex::matmul_params p = matmul_of(x.normed, flags);
        p.x_squares = x.squares;
        p.norm_epsilon = config_.rms_epsilon;
        matmul(p, products);
    } else if (in_integers(x.rows())) {
        reflex::matmul_params p = matmul_of(x.hidden, flags);
        p.norm = weights_.vector(weight);
        p.norm_epsilon = config_.rms_epsilon;
        matmul(p, products);
    } else {
        // Exact products are a launch each, and each would compute the norm again.
        const reflex_tensor normed = activation(layout_.normed, x.rows(), config_.hidden);
        norm(x.hidden, weight, normed);
        matmul(matmul_of(normed, flags), products);
    }
}

reflex::matmul_params decoder::matmul_of(const reflex_tensor &x, uint32_t flags) const {
    reflex::matmul_params p;
    p.flags = flags | REFLEX_MATMUL_CONSTANT_WEIGHTS;
    // The library quantises x where the op that wrote it could not.
    if (compute_ == compute_mode::int8) p.flags |= REFLEX_MATMUL_INT8;
    if ((flags & REFLEX_MATMUL_GATED) != 0) p.activation = REFLEX_ACTIVATION_SILU;
    p.x = x;
    return p;
}

void decoder::matmul(reflex::matmul_params p, std::initializer_list<reflex_matmul_product> products) {
    reflex::set_products(p, products.begin(), static_cast<uint32_t>(products.size()));
    launch_(p, reflex_matmul, reflex_matmul_supported, reflex_matmul_workspace_size);
}

reflex_matmul_product decoder::product(const gguf_tensor *weight, const gguf_tensor *bias,
                                       const reflex_tensor &residual, const reflex_tensor &y) const {
    reflex::matmul_product out;
    out.weight = reflex::weight(weights_.matrix(weight));
    out.bias = weights_.vector(bias);
    out.residual = residual;
    out.y = y;
    return out;
}

bool decoder::in_integers(uint32_t rows) const {
    return compute_ == compute_mode::int8 &&
           (weights_.placement() == weight_placement::packed || rows <= native_int8_rows_);
}

bool decoder::quantised(uint32_t rows, std::initializer_list<const gguf_tensor *> into) const {
    return in_integers(rows) &&
           std::all_of(into.begin(), into.end(), [](const gguf_tensor *weight) { return weight->type->is_block(); });
}

}  // namespace llm
