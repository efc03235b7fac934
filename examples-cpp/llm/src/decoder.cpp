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

reflex_tensor decoder::activation(uint64_t offset, uint32_t rows, uint64_t width, bool quantised) const {
    if (!quantised) return reflex::tensor(base_ + offset, REFLEX_DTYPE_F32, {rows, extent(width)});
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

reflex_tensor decoder::cache(uint32_t layer, bool values, uint32_t sequences) const {
    uint8_t *part = base_ + layout_.cache + (2 * uint64_t{layer} + (values ? 1 : 0)) * layout_.cache_part;
    return reflex::tensor(part, REFLEX_DTYPE_F16, {sequences, shape_.context, config_.kv_heads, config_.head_dim});
}

reflex_tensor decoder::cache_slots(uint32_t layer, bool values) const {
    return reflex::tensor(cache(layer, values, 1).data, REFLEX_DTYPE_F16,
                          {shape_.context, config_.kv_heads, config_.head_dim});
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
    // The scratch grows with the rows, but for the step from integers to exact products.
    for (const uint32_t rows : {1u, std::min(shape.batch, native_int8_rows_), shape.batch}) prefill(rows);
    head(0, shape.logit_rows);
    step();
    measuring_ = false;
    return workspace_;
}

std::string decoder::why_no_attention() const {
    const auto *any = reinterpret_cast<const uint8_t *>(placeholder_base);
    reflex::attention_params p;
    p.mask = REFLEX_ATTENTION_CAUSAL;
    p.q = p.y = reflex::tensor(any, REFLEX_DTYPE_F32, {1, 1, config_.heads, config_.head_dim});
    p.k = reflex::tensor(any + (placeholder_base >> 1), REFLEX_DTYPE_F16, {1, 1, config_.kv_heads, config_.head_dim});
    p.v = p.k;
    return reflex_attention_supported(owner_.context(), &p) == REFLEX_SUCCESS ? "" : reflex_last_error_message();
}

void decoder::use(uint8_t *base, const run_shape &shape, const run_layout &layout) {
    base_ = base;
    shape_ = shape;
    layout_ = layout;
}

bool decoder::prefill(uint32_t rows, const stop_request &stop) {
    embed(integers(layout_.ids, rows), rows);
    for (uint32_t i = 0; i < config_.layers; ++i) {
        if (stop && stop()) return false;
        layer(i, rows, attention_path::prefill);
    }
    return true;
}

void decoder::step(uint64_t from, uint64_t into) {
    embed(integers(from, shape_.sequences), shape_.sequences);
    for (uint32_t i = 0; i < config_.layers; ++i) step_layer(i);
    head(0, shape_.sequences);
    draw(into);
}

void decoder::burst() {
    uint64_t from = layout_.token, into = layout_.drawn;
    for (uint32_t i = 0; i < burst_steps; ++i) {
        step(from, into);
        from = into;
        into += shape_.sequences * sizeof(int32_t);
    }
}

void decoder::step_layer(uint32_t index) { layer(index, shape_.sequences, attention_path::decode); }

void decoder::layer(uint32_t index, uint32_t rows, attention_path path) {
    attend(tensors_.layers[index], index, rows, path);
    feed_forward(index, rows);
}

void decoder::attend(const layer_tensors &layer, uint32_t index, uint32_t rows, attention_path path) {
    const model_config &c = config_;
    normed_matmul(0, rows, layer.attn_norm,
                  {product(layer.q, layer.q_bias, {}, activation(layout_.q, rows, c.q_width())),
                   product(layer.k, layer.k_bias, {}, activation(layout_.k, rows, c.kv_width())),
                   product(layer.v, layer.v_bias, {}, activation(layout_.v, rows, c.kv_width()))});

    const reflex_tensor q = heads(layout_.q, rows, c.heads);
    reflex_tensor attended = activation(layout_.attended, rows, c.q_width());
    if (path == attention_path::decode) {
        const bool quantise = c.head_dim % act_i8_block_elements() == 0 && quantised(rows, {layer.output});
        attended = activation(layout_.attended, rows, c.q_width(), quantise);
        reflex::attention_decode_params attention;
        attention.scale = c.attention_scale;
        attention.q = q;
        attention.k = cache(index, false, rows);
        attention.v = cache(index, true, rows);
        attention.kv_lengths = lengths(rows);
        attention.y = quantise ? attended : heads(layout_.attended, rows, c.heads);
        attention.k_new = heads(layout_.k, rows, c.kv_heads);
        attention.v_new = heads(layout_.v, rows, c.kv_heads);
        attention.positions = positions();
        set_rotation(attention, layer);
        launch(attention, reflex_attention_decode, reflex_attention_decode_supported,
               reflex_attention_decode_workspace_size);
    } else {
        rotate_and_store(layer, index, rows);
        reflex::attention_params attention;
        attention.mask = REFLEX_ATTENTION_CAUSAL;
        attention.scale = c.attention_scale;
        attention.q = as_batch(q);
        attention.k = cache(index, false, 1);
        attention.v = cache(index, true, 1);
        attention.kv_lengths = lengths(1);
        attention.y = as_batch(heads(layout_.attended, rows, c.heads));
        launch(attention, reflex_attention, reflex_attention_supported);
    }
    add_to_hidden(attended, layer.output, layer.output_bias, layer.ffn_norm, {layer.gate, layer.up});
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

void decoder::rotate_and_store(const layer_tensors &layer, uint32_t index, uint32_t rows) {
    reflex::rope_params rope;
    rope.q = heads(layout_.q, rows, config_.heads);
    rope.k = heads(layout_.k, rows, config_.kv_heads);
    rope.v = heads(layout_.v, rows, config_.kv_heads);
    rope.positions = integers(layout_.positions, rows);  // and slots: the first sequence's cache comes first
    rope.k_cache = cache_slots(index, false);
    rope.v_cache = cache_slots(index, true);
    set_rotation(rope, layer);
    launch(rope, reflex_rope, reflex_rope_supported);
}

void decoder::feed_forward(uint32_t index, uint32_t rows) {
    const layer_tensors &layer = tensors_.layers[index];
    const bool quantise = quantised(rows, {layer.gate, layer.up});
    const reflex_tensor gated = activation(layout_.gated, rows, config_.ffn, quantise && quantised(rows, {layer.down}));
    normed_matmul(0, rows, layer.ffn_norm,
                  {product(layer.gate, nullptr, {}, gated), product(layer.up, nullptr, {}, {})}, REFLEX_MATMUL_GATED);
    if (index + 1 < config_.layers) {
        const layer_tensors &next = tensors_.layers[index + 1];
        add_to_hidden(gated, layer.down, nullptr, next.attn_norm, {next.q, next.k, next.v});
    } else {
        add_to_hidden(gated, layer.down, nullptr, tensors_.output_norm, {tensors_.output});
    }
}

void decoder::add_to_hidden(const reflex_tensor &x, const gguf_tensor *weight, const gguf_tensor *bias,
                            const gguf_tensor *next_norm, std::initializer_list<const gguf_tensor *> next) {
    const auto rows = static_cast<uint32_t>(x.shape[0]);
    const reflex_tensor hidden = activation(layout_.hidden, rows, config_.hidden);
    reflex::matmul_params p = matmul_of(x, {product(weight, bias, hidden, hidden)});
    handed_on_ = config_.hidden % act_i8_block_elements() == 0 && quantised(rows, {weight}) && quantised(rows, next);
    if (handed_on_) {
        p.y_norm = weights_.vector(next_norm);
        p.y_normed = activation(layout_.normed, rows, config_.hidden, true);
        p.y_squares = activation(layout_.squares, rows, config_.hidden / act_i8_block_elements());
    }
    matmul(p);
}

void decoder::head(uint32_t first, uint32_t count) {
    normed_matmul(first, count, tensors_.output_norm,
                  {product(tensors_.output, nullptr, {}, activation(layout_.logits, count, config_.logit_width))});
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
    p.steps = positions();
    p.ids = token;
    p.counters = counters;
    launch(p, reflex_sample, reflex_sample_supported, reflex_sample_workspace_size);
}

void decoder::embed(const reflex_tensor &ids, uint32_t rows) {
    reflex::embedding_params p;
    p.table = weights_.matrix(tensors_.embedding);
    p.ids = ids;
    p.y = activation(layout_.hidden, rows, config_.hidden);
    handed_on_ = false;
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

void decoder::normed_matmul(uint32_t first, uint32_t rows, const gguf_tensor *weight,
                            std::initializer_list<reflex_matmul_product> products, uint32_t flags) {
    const uint64_t width = config_.hidden, squares = width / act_i8_block_elements();
    if (handed_on_) {
        reflex::matmul_params p =
            matmul_of(activation(layout_.normed + first * act_i8_row_bytes(width), rows, width, true), products, flags);
        p.x_squares = activation(layout_.squares + first * squares * sizeof(float), rows, squares);
        p.norm_epsilon = config_.rms_epsilon;
        matmul(p);
        return;
    }
    const reflex_tensor x = activation(layout_.hidden + first * width * sizeof(float), rows, width);
    if (in_integers(rows)) {
        reflex::matmul_params p = matmul_of(x, products, flags);
        p.norm = weights_.vector(weight);
        p.norm_epsilon = config_.rms_epsilon;
        matmul(p);
    } else {
        // Once here, where every product would do it again.
        const reflex_tensor normed = activation(layout_.normed, rows, width);
        norm(x, weight, normed);
        matmul(matmul_of(normed, products, flags));
    }
}

reflex::matmul_params decoder::matmul_of(const reflex_tensor &x, std::initializer_list<reflex_matmul_product> products,
                                         uint32_t flags) const {
    reflex::matmul_params p;
    p.flags = flags | REFLEX_MATMUL_CONSTANT_WEIGHTS;
    // Where x could not be quantised by what made it, the library does so.
    if (compute_ == compute_mode::int8) p.flags |= REFLEX_MATMUL_INT8;
    p.activation = REFLEX_ACTIVATION_SILU;  // which is 0, as a call without a gate wants it
    p.x = x;
    const reflex_matmul_product &first = *products.begin();
    p.weight = first.weight;
    p.bias = first.bias;
    p.residual = first.residual;
    p.y = first.y;
    std::copy(products.begin() + 1, products.end(), p.others);
    return p;
}

void decoder::matmul(reflex::matmul_params p) {
    launch(p, reflex_matmul, reflex_matmul_supported, reflex_matmul_workspace_size);
}

reflex_matmul_product decoder::product(const gguf_tensor *weight, const gguf_tensor *bias,
                                       const reflex_tensor &residual, const reflex_tensor &y) const {
    return {weights_.matrix(weight), weights_.vector(bias), residual, y};
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
