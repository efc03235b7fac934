#include "memory_plan.h"

#include <algorithm>
#include <cstdio>

#include <reflex/infer.hpp>

namespace llm {

run_layout lay_out(const model_config &c, const run_shape &shape, uint64_t workspace) {
    run_layout l{};
    uint64_t end = 0;
    const auto place = [&end](uint64_t elements, uint64_t element_bytes) {
        const uint64_t start = end;
        end += align_up(elements * element_bytes);
        return start;
    };
    const uint64_t most_rows = std::max(shape.batch, shape.sequences);
    const auto rows = [&](uint64_t width) { return place(most_rows * width, sizeof(float)); };
    l.ids = place(shape.batch, sizeof(int32_t));
    l.positions = place(shape.batch, sizeof(int32_t));
    l.drawn = place(uint64_t{burst_steps} * shape.sequences, sizeof(int32_t));
    l.token = l.drawn + uint64_t{burst_steps - 1} * shape.sequences * sizeof(int32_t);
    l.counters = place(2 * uint64_t{shape.sequences}, sizeof(int32_t));
    l.inputs = end;
    l.rope_factors = place(c.rope.dims / 2, sizeof(float));
    l.hidden = rows(c.hidden);
    l.normed = rows(c.hidden);
    l.squares = rows(c.hidden / act_i8_block_elements());
    l.q = rows(c.q_width());
    l.attended = rows(c.q_width());
    l.k = rows(c.kv_width());
    l.v = rows(c.kv_width());
    l.gated = rows(c.ffn);
    l.activations_end = end;
    l.logits = place(uint64_t{std::max(shape.logit_rows, shape.sequences)} * c.logit_width, sizeof(float));
    l.cache = end;
    l.cache_part = align_up(uint64_t{shape.sequences} * shape.context * c.kv_width() * sizeof(uint16_t));
    end += uint64_t{c.layers} * 2 * l.cache_part;
    l.workspace = place(workspace, 1);
    l.end = end;
    return l;
}

memory_plan plan_memory(const model_config &c, const weight_memory &weights, const run_shape &shape,
                        uint64_t workspace) {
    reflex::kv_budget_params cache;
    cache.layers = c.layers;
    cache.kv_heads = c.kv_heads;
    cache.k_head_dim = c.head_dim;
    cache.k_dtype = REFLEX_DTYPE_F16;
    reflex::kv_sizes sizes;
    reflex::check(reflex_kv_budget(&cache, &sizes));
    return {shape, lay_out(c, shape, workspace), weights, shape.sequences * sizes.token_bytes};
}

uint64_t copies_bytes(const model_tensors &tensors) {
    uint64_t sum = 0;
    for (const gguf_tensor *tensor : tensors.all) sum += align_up(tensor->bytes);
    return sum;
}

uint64_t memory_reserve(uint64_t total_memory) {
    constexpr uint64_t least = 128ull << 20, most = 1ull << 30;
    return std::clamp(total_memory / 32, least, most);
}

std::string bytes_text(uint64_t bytes) {
    constexpr const char *units[] = {"B", "kB", "MB", "GB", "TB"};
    auto value = static_cast<double>(bytes);
    size_t unit = 0;
    for (; value >= 1000.0 && unit + 1 < sizeof units / sizeof *units; ++unit) value /= 1000.0;
    char text[32];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
    return text;
}

std::string why_not(const memory_plan &plan, uint64_t free, uint64_t total) {
    const uint64_t reserve = memory_reserve(total);
    const uint64_t usable = free > reserve ? free - reserve : 0;
    if (plan.total() <= usable) return {};
    std::string out = "does not fit: " + bytes_text(plan.total()) + " needed (weights " +
                      bytes_text(plan.weights.bytes) + ", KV cache " + bytes_text(plan.kv_cache()) + " for " +
                      (plan.shape.sequences > 1 ? std::to_string(plan.shape.sequences) + " times " : "") +
                      std::to_string(plan.shape.context) + " tokens, activations " + bytes_text(plan.activations()) +
                      ", logits " + bytes_text(plan.logits()) + ", workspace " + bytes_text(plan.workspace()) + "), " +
                      bytes_text(usable) + " usable (" + bytes_text(free) + " free of " + bytes_text(total) + ", " +
                      bytes_text(reserve) + " kept in reserve)";
    if (plan.weights.bytes + plan.weights.scratch > usable) return out + "; the weights alone are too large";
    const uint64_t rest = plan.weights.bytes + plan.layout.end - plan.kv_cache();
    const uint64_t tokens = rest < usable ? (usable - rest) / plan.cache_per_token / 64 * 64 : 0;
    if (tokens >= 64) return out + "; --ctx " + std::to_string(tokens) + " would fit";
    return out +
           (plan.shape.sequences > 1 ? "; a smaller --batch or --parallel may help" : "; a smaller --batch may help");
}

}  // namespace llm
