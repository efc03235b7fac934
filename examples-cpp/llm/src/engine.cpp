#include "engine.h"

#include <algorithm>
#include <numeric>
#include <string>

namespace llm {

engine::engine(const device &owner, const std::vector<mapped_file> &files, const model_config &config,
               const model_tensors &tensors, const run_shape &shape, const sampling &how, const engine_options &options)
    : owner_(owner),
      config_(config),
      options_(options),
      weights_(owner, files, tensors, options.weights, options.compute),
      rotation_(find_rotation(config, tensors, shape.context)),
      decoder_(owner, config, tensors, weights_, rotation_, how, options.compute) {
    make_plan(shape);
    reflex::check(reflex_context_preload(owner.context()));
    if (!weights_.map()) make_plan(shape);
    weights_.load();
    block_ = reflex::device_buffer(owner.owner(), plan_.layout.end);
    staging_ = reflex::host_buffer(owner.owner(), slots * plan_.layout.inputs);
    tokens_ = reflex::host_buffer(owner.owner(), uint64_t{slots} * burst_steps * shape.sequences * sizeof(token_id));
    for (uint32_t i = 0; i < slots; ++i) {
        staged_.emplace_back(owner.owner());
        fetched_.emplace_back(owner.owner());
    }
    if (!rotation_.factors.empty())
        owner.copy(at(plan_.layout.rope_factors), rotation_.factors.data(), rotation_.factors.size() * sizeof(float));
    decoder_.use(at(0), shape, plan_.layout);
    if (!options.graph) return;
    residual_stream left{};
    graph_ = reflex::capture(owner.owner(), owner.stream(), [this, &left] { left = decoder_.step(); });
    if (!owner.is_cpu()) burst_ = reflex::capture(owner.owner(), owner.stream(), [this] { decoder_.burst(); });
    // A layer inside the model reads what another one left, and not what the embedding left.
    layer_nodes_ =
        reflex::capture(owner.owner(), owner.stream(), [this, &left] { decoder_.step_layer(0, left); }).nodes();
}

engine::~engine() {
    // No launch may be in flight when the buffers are freed, also after an exception.
    reflex_stream_synchronize(owner_.context(), owner_.stream());
}

uint64_t engine::measure_workspace(const run_shape &shape) {
    try {
        return decoder_.measure_workspace(shape);
    } catch (const reflex::error &error) {
        const std::string why = decoder_.why_no_attention();
        if (why.empty()) throw gguf_error(std::string("model: its shapes are not supported: ") + error.what());
        throw gguf_error("model: head size " + std::to_string(config_.head_dim) + " (" + std::to_string(config_.heads) +
                         " heads, " + std::to_string(config_.kv_heads) +
                         " of keys and values) is not supported: " + why);
    }
}

void engine::make_plan(const run_shape &shape) {
    plan_ = plan_memory(config_, weights_.memory(), shape, measure_workspace(shape));
    const memory_state memory = owner_.memory();
    const std::string problem = why_not(plan_, memory.free, memory.total);
    if (!problem.empty()) throw does_not_fit("the run " + problem);
}

void engine::rewind(uint32_t length) {
    if (length > length_)
        throw std::logic_error("rewind to " + std::to_string(length) + ", the sequence has " + std::to_string(length_) +
                               " tokens");
    length_ = length;
}

size_t engine::append(const token_id *tokens, size_t count, const stop_request &stop) {
    if (count > context() - length_)
        throw std::length_error(std::to_string(count) + " tokens do not fit behind " + std::to_string(length_) +
                                " in a context of " + std::to_string(context()));
    size_t done = 0;
    while (done < count) {
        const auto rows = static_cast<uint32_t>(std::min<size_t>(count - done, plan_.shape.batch));
        if (!append_batch(tokens + done, rows, stop)) break;
        done += rows;
    }
    return done;
}

uint8_t *engine::stage() {
    const uint32_t index = uploads_++ % slots;
    staged_[index].synchronize();
    return static_cast<uint8_t *>(staging_.get()) + index * plan_.layout.inputs;
}

void engine::upload(uint64_t from) {
    const uint32_t index = (uploads_ - 1) % slots;
    const uint8_t *host = static_cast<const uint8_t *>(staging_.get()) + index * plan_.layout.inputs;
    owner_.copy(at(from), host + from, plan_.layout.inputs - from);
    staged_[index].record(owner_.stream());
}

void engine::stage_counters(uint8_t *slot, uint32_t position) {
    auto *positions = reinterpret_cast<int32_t *>(slot + plan_.layout.counters);
    int32_t *lengths = positions + sequences();
    for (uint32_t i = 0; i < sequences(); ++i) {
        positions[i] = static_cast<int32_t>(position);
        lengths[i] = static_cast<int32_t>(position) + 1;
    }
}

bool engine::append_batch(const token_id *tokens, uint32_t count, const stop_request &stop) {
    uint8_t *slot = stage();
    std::copy_n(tokens, count, reinterpret_cast<token_id *>(slot + plan_.layout.ids));
    auto *positions = reinterpret_cast<int32_t *>(slot + plan_.layout.positions);
    std::iota(positions, positions + count, static_cast<int32_t>(length_));
    stage_counters(slot, length_ + count - 1);
    upload(plan_.layout.ids);
    const std::optional<residual_stream> left = decoder_.prefill(count, stop);
    if (!left) return false;
    length_ += count;
    last_batch_ = *left;
    return true;
}

const float *engine::logits(uint32_t first, uint32_t count) {
    host_logits_.resize(uint64_t{count} * config_.logit_width);
    decoder_.head(last_batch_.part(first, count));
    owner_.copy(host_logits_.data(), at(plan_.layout.logits), host_logits_.size() * sizeof(float));
    owner_.synchronize();
    return host_logits_.data();
}

void engine::share() {
    if (length_ == 0) return;
    const uint64_t sequence_bytes = context() * config_.kv_width() * sizeof(uint16_t),
                   used_bytes = length_ * config_.kv_width() * sizeof(uint16_t);
    for (uint32_t part = 0; part < 2 * config_.layers; ++part) {
        uint8_t *first = at(plan_.layout.cache + part * plan_.layout.cache_part);
        for (uint32_t i = 1; i < sequences(); ++i) owner_.copy(first + i * sequence_bytes, first, used_bytes);
    }
}

void engine::draw_first() {
    last_steps_ = 1;
    decoder_.head(last_batch_.part(last_batch_.rows() - 1, 1));
    const uint64_t row_bytes = uint64_t{config_.logit_width} * sizeof(float);
    for (uint32_t i = 1; i < sequences(); ++i)
        owner_.copy(at(plan_.layout.logits + i * row_bytes), at(plan_.layout.logits), row_bytes);
    decoder_.draw();
}

void engine::set_next(token_id token) {
    uint8_t *slot = stage();
    std::fill_n(reinterpret_cast<token_id *>(slot + plan_.layout.token), sequences(), token);
    stage_counters(slot, length_);
    upload(plan_.layout.token);
}

uint32_t engine::step(uint32_t most) {
    if (length_ >= context())
        throw std::length_error("the context of " + std::to_string(context()) + " tokens is full");
    last_steps_ = 1;
    if (burst_ && std::min(most, context() - length_) >= burst_steps) {
        last_steps_ = burst_steps;
        burst_.launch(owner_.stream());
    } else if (graph_) {
        graph_.launch(owner_.stream());
    } else {
        decoder_.step();
    }
    length_ += last_steps_;
    return last_steps_;
}

void engine::request_tokens() {
    if (requested_ - waited_ >= slots) throw std::logic_error("more tokens requested than slots");
    const uint32_t index = requested_++ % slots;
    slot_steps_[index] = last_steps_;
    const uint64_t bytes = uint64_t{last_steps_} * sequences() * sizeof(token_id);
    // The last token of each sequence is the next to decode, so the copy ends with `token`.
    owner_.copy(token_slot(index), at(plan_.layout.token + sequences() * sizeof(token_id) - bytes), bytes);
    fetched_[index].record(owner_.stream());
}

engine::drawn engine::wait_tokens() {
    if (waited_ == requested_) throw std::logic_error("no token requested");
    const uint32_t index = waited_++ % slots;
    fetched_[index].synchronize();
    return {token_slot(index), slot_steps_[index]};
}

}  // namespace llm
