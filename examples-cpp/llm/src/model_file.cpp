#include "model_file.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <unordered_set>

#include "metadata_rules.h"
#include "model_files.h"
#include "plain_values.h"

namespace llm {
namespace {

// Far above any real model, low enough that products of two stay far from overflow.
constexpr uint32_t most_width = 1u << 24;

[[noreturn]] void fail(const std::string &message) { throw gguf_error("model: " + message); }

class key_reader {
public:
    key_reader(const gguf &file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

    const gguf_value *find(const char *name) const { return file_.find(prefix_ + "." + name); }

    uint32_t count(const char *name, uint32_t most) const {
        file_.require(prefix_ + "." + name);
        return count_or(name, 0, most);
    }

    uint32_t count_or(const char *name, uint32_t fallback, uint32_t most) const {
        const gguf_value *value = find(name);
        if (value == nullptr) return fallback;
        const uint64_t number = value->uniform().as_unsigned();
        if (number < 1 || number > most)
            fail(prefix_ + "." + name + " is " + std::to_string(number) + ", must be 1 to " + std::to_string(most));
        return static_cast<uint32_t>(number);
    }

    // For a key in which 0 means that nothing is set: the result is `fallback` then, too.
    uint32_t count_or_unset(const char *name, uint32_t fallback, uint32_t most) const {
        const gguf_value *value = find(name);
        return value == nullptr || value->uniform().as_float() == 0 ? fallback : count_or(name, fallback, most);
    }

    double positive(const char *name) const {
        file_.require(prefix_ + "." + name);
        return positive_or(name, 0);
    }

    double positive_or(const char *name, double fallback) const {
        const gguf_value *value = find(name);
        if (value == nullptr) return fallback;
        const double number = value->uniform().as_float();
        if (!std::isfinite(static_cast<float>(number)) || number <= 0)
            fail(prefix_ + "." + name + " is " + value->describe() + ", must be a positive number");
        return number;
    }

    // For a key in which 0 means that nothing is set.
    double positive_or_unset(const char *name, double fallback) const {
        const gguf_value *value = find(name);
        return value == nullptr || value->uniform().as_float() == 0 ? fallback : positive_or(name, fallback);
    }

private:
    const gguf &file_;
    std::string prefix_;
};

architecture read_architecture(const std::string &name) {
    if (const architecture_traits *found = find_architecture(name)) return found->id;
    fail("general.architecture is \"" + printable(name) + "\", only " + architecture_names("and") + " are supported");
}

rope_scaling read_scaling(const std::string &key, const gguf_value *type) {
    // Older files have a factor and no type: the factor is that of linear scaling.
    if (type == nullptr) return rope_scaling::linear;
    const std::string_view name = type->as_string();
    if (name == "none") return rope_scaling::none;
    if (name == "linear") return rope_scaling::linear;
    if (name == "yarn") return rope_scaling::yarn;
    if (name == "longrope") return rope_scaling::longrope;
    fail(key + " is \"" + printable(name) + "\", only none, linear, yarn and longrope are supported");
}

void read_rope(const key_reader &keys, model_config &config) {
    rope_config &rope = config.rope;
    rope.neox = traits_of(config.arch).rope == rope_mode::neox;
    rope.base = keys.positive_or("rope.freq_base", 10000.0);
    if (rope.base < 1)
        fail(config.arch_name + ".rope.freq_base is " + std::to_string(rope.base) + ", must be at least 1");
    rope.dims = keys.count_or("rope.dimension_count", config.head_dim, config.head_dim);
    if (rope.dims % 2 != 0)
        fail(config.arch_name + ".rope.dimension_count is " + std::to_string(rope.dims) + ", must be even");

    const std::string scaling = config.arch_name + ".rope.scaling.";
    rope.scaling = read_scaling(scaling + "type", keys.find("rope.scaling.type"));
    const double factor =
        keys.positive_or_unset("rope.scaling.factor", keys.positive_or_unset("rope.scale_linear", 1.0));
    rope.factor = rope.scaling == rope_scaling::none ? 1.0 : factor;
    rope.attention_factor = keys.positive_or_unset("rope.scaling.attn_factor", 1.0);
    rope.original_context =
        keys.count_or_unset("rope.scaling.original_context_length", config.context_length, 1u << 26);
    rope.beta_fast = keys.positive_or("rope.scaling.yarn_beta_fast", 32.0);
    rope.beta_slow = keys.positive_or("rope.scaling.yarn_beta_slow", 1.0);
    rope.log_multiplier = keys.positive_or_unset("rope.scaling.yarn_log_multiplier", 0.0);
    rope.extrapolation = rope.scaling == rope_scaling::yarn ? 1.0 : 0.0;
    // Some writers give a negative number where there is no extrapolation.
    if (const gguf_value *value = keys.find("rope.scaling.yarn_ext_factor")) {
        const double given = value->uniform().as_float();
        if (given > 1 || std::isnan(given))
            fail(scaling + "yarn_ext_factor is " + value->describe() + ", must be at most 1");
        if (given >= 0) rope.extrapolation = given;
    }
    if (rope.extrapolation != 0 && rope.base == 1)
        fail(config.arch_name + ".rope.freq_base is 1, which YaRN scaling cannot be applied to");
    if (rope.scaling == rope_scaling::longrope && factor != 1)
        fail(scaling + "factor is " + std::to_string(factor) +
             ", readers of LongRoPE files disagree on whether positions are divided by it as well; remove the key or "
             "set it to 1");
}

std::string shape_text(std::initializer_list<uint64_t> shape) {
    std::string out = "[";
    for (const uint64_t dimension : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(dimension);
    return out + "]";
}

// Looks tensors up by name and checks each. It remembers which were asked for, so that a tensor without a role is noticed. A result is
// nullptr where a tensor that is not required has no place in the file.
class tensor_finder {
public:
    tensor_finder(const gguf &file, model_tensors &out) : file_(file), out_(out) {}

    // A matrix that is multiplied with: any type that reflex_matmul reads.
    const gguf_tensor *matrix(const std::string &name, uint64_t columns, uint64_t rows,
                              presence wanted = presence::required) {
        if (skips(name, wanted)) return nullptr;
        const gguf_tensor *tensor = require(name, {columns, rows});
        if (!tensor->type->is_weight())
            fail("tensor " + tensor->describe() + " has a type that is not supported; supported are " +
                 weight_type_names());
        return tensor;
    }

    // A norm weight or a bias.
    const gguf_tensor *vector(const std::string &name, uint64_t length, presence wanted = presence::required) {
        return skips(name, wanted) ? nullptr : plain(require(name, {length}));
    }

    // Frequency factors, which the host reads.
    const gguf_tensor *host_vector(const std::string &name, uint64_t length, presence wanted = presence::required) {
        return skips(name, wanted) ? nullptr : plain(require(name, {length}, false));
    }

    void refuse_unused() const {
        for (const gguf_tensor &tensor : file_.tensors()) {
            if (used_.count(&tensor) == 0)
                fail("tensor " + tensor.describe() +
                     " is none that this architecture has; the model needs an engine that knows it");
        }
    }

private:
    // An absent tensor is not asked for, so that `refuse_unused` meets it.
    bool skips(const std::string &name, presence wanted) const {
        return wanted == presence::absent || (wanted == presence::optional && file_.find_tensor(name) == nullptr);
    }

    static const gguf_tensor *plain(const gguf_tensor *tensor) {
        const uint32_t id = tensor->type->id;
        if (id != ggml_id::f32 && id != ggml_id::f16 && id != ggml_id::bf16)
            fail("tensor " + tensor->describe() + " must be F32, F16 or BF16");
        return tensor;
    }

    const gguf_tensor *require(const std::string &name, std::initializer_list<uint64_t> shape, bool on_device = true) {
        const gguf_tensor *tensor = file_.find_tensor(name);
        if (tensor == nullptr) fail("tensor " + name + " is missing");
        // Trailing dimensions of 1 add nothing: some writers keep vectors as matrices of one row.
        const bool ranks_agree = std::all_of(tensor->shape + shape.size(), tensor->shape + 4,
                                             [](uint64_t dimension) { return dimension == 1; });
        if (!ranks_agree || !std::equal(shape.begin(), shape.end(), tensor->shape))
            fail("tensor " + tensor->describe() + " must have shape " + shape_text(shape));
        if (used_.insert(tensor).second && on_device) out_.all.push_back(tensor);
        return tensor;
    }

    const gguf &file_;
    model_tensors &out_;
    std::unordered_set<const gguf_tensor *> used_;
};

// The rows of a matrix that has one for each token.
uint32_t rows_of(const gguf_tensor &tensor, uint64_t tokens) {
    if (tensor.shape[1] > most_width)
        fail("tensor " + tensor.describe() + " has more than " + std::to_string(most_width) + " rows");
    if (tensor.shape[1] < tokens)
        fail("tensor " + tensor.describe() + " has fewer rows than the vocabulary has tokens, " +
             std::to_string(tokens));
    return static_cast<uint32_t>(tensor.shape[1]);
}

// The tokens are those that have a text. <arch>.vocab_size is not needed, and it is not always true.
void read_vocabulary(const gguf &file, model_config &config) {
    const gguf_tensor *embedding = file.find_tensor("token_embd.weight");
    if (embedding == nullptr) fail("tensor token_embd.weight is missing");
    const gguf_value *texts = file.find("tokenizer.ggml.tokens");
    const uint64_t tokens = texts != nullptr && texts->type == gguf_type::array ? texts->count : embedding->shape[1];
    rows_of(*embedding, tokens);
    const gguf_tensor *output = file.find_tensor("output.weight");
    config.logit_width = rows_of(output != nullptr ? *output : *embedding, tokens);
    config.vocab = static_cast<uint32_t>(tokens);
}

layer_tensors find_layer(tensor_finder &find, const model_config &c, uint32_t index) {
    const std::string prefix = "blk." + std::to_string(index) + ".";
    const architecture_traits &traits = traits_of(c.arch);
    layer_tensors t{};
    t.attn_norm = find.vector(prefix + "attn_norm.weight", c.hidden);
    t.q = find.matrix(prefix + "attn_q.weight", c.hidden, c.q_width());
    t.k = find.matrix(prefix + "attn_k.weight", c.hidden, c.kv_width());
    t.v = find.matrix(prefix + "attn_v.weight", c.hidden, c.kv_width());
    t.q_bias = find.vector(prefix + "attn_q.bias", c.q_width(), traits.qkv_biases);
    t.k_bias = find.vector(prefix + "attn_k.bias", c.kv_width(), traits.qkv_biases);
    t.v_bias = find.vector(prefix + "attn_v.bias", c.kv_width(), traits.qkv_biases);
    t.q_norm = find.vector(prefix + "attn_q_norm.weight", c.head_dim, traits.head_norms);
    t.k_norm = find.vector(prefix + "attn_k_norm.weight", c.head_dim, traits.head_norms);
    t.output = find.matrix(prefix + "attn_output.weight", c.q_width(), c.hidden);
    t.output_bias = find.vector(prefix + "attn_output.bias", c.hidden, traits.output_bias);
    t.ffn_norm = find.vector(prefix + "ffn_norm.weight", c.hidden);
    t.gate = find.matrix(prefix + "ffn_gate.weight", c.hidden, c.ffn);
    t.up = find.matrix(prefix + "ffn_up.weight", c.hidden, c.ffn);
    t.down = find.matrix(prefix + "ffn_down.weight", c.ffn, c.hidden);
    return t;
}

}  // namespace

model_config read_config(const gguf &file) {
    refuse_other_kinds(file);
    model_config c{};
    c.arch_name = std::string(file.require("general.architecture").as_string());
    c.arch = read_architecture(c.arch_name);
    if (const gguf_value *name = file.find("general.name"); name != nullptr && name->type == gguf_type::string)
        c.name = std::string(name->as_string());

    const key_reader keys(file, c.arch_name);
    c.layers = keys.count("block_count", 4096);
    c.hidden = keys.count("embedding_length", most_width);
    c.ffn = keys.count("feed_forward_length", most_width);
    c.heads = keys.count("attention.head_count", 65536);
    c.kv_heads = keys.count_or("attention.head_count_kv", c.heads, 65536);
    if (c.heads % c.kv_heads != 0)
        fail(c.arch_name + ".attention.head_count " + std::to_string(c.heads) + " is not a multiple of head_count_kv " +
             std::to_string(c.kv_heads));
    if (keys.find("attention.key_length") == nullptr && c.hidden % c.heads != 0)
        fail(c.arch_name + ".embedding_length " + std::to_string(c.hidden) + " is not a multiple of head_count " +
             std::to_string(c.heads));
    c.head_dim = keys.count_or("attention.key_length", std::max(c.hidden / c.heads, 1u), 65536);
    if (keys.count_or("attention.value_length", c.head_dim, 65536) != c.head_dim)
        fail(c.arch_name + ".attention.value_length differs from key_length " + std::to_string(c.head_dim) +
             ", which is not supported");
    c.context_length = keys.count("context_length", 1u << 26);
    c.rms_epsilon = static_cast<float>(keys.positive("attention.layer_norm_rms_epsilon"));
    c.attention_scale = static_cast<float>(keys.positive_or_unset("attention.scale", 0.0));
    if (const gguf_value *experts = keys.find("expert_count")) {
        const auto counts = experts->numbers();
        if (!counts || std::any_of(counts->begin(), counts->end(), [](double count) { return count != 0; }))
            fail(c.arch_name + ".expert_count is " + experts->describe() + ", mixtures of experts are not supported");
    }
    read_rope(keys, c);
    refuse_what_is_not_applied(file, c);
    read_vocabulary(file, c);
    return c;
}

model_tensors find_tensors(const gguf &file, const model_config &c) {
    model_tensors out{};
    tensor_finder find(file, out);
    out.embedding = find.matrix("token_embd.weight", c.hidden, file.find_tensor("token_embd.weight")->shape[1]);
    const uint32_t pairs = c.rope.dims / 2;
    if (c.rope.scaling == rope_scaling::longrope) {
        out.rope_short = find.host_vector("rope_factors_short.weight", pairs);
        out.rope_long = find.host_vector("rope_factors_long.weight", pairs);
    } else {
        out.rope_factors = find.host_vector("rope_freqs.weight", pairs, presence::optional);
    }
    for (uint32_t i = 0; i < c.layers; ++i) out.layers.push_back(find_layer(find, c, i));
    out.output_norm = find.vector("output_norm.weight", c.hidden);
    const gguf_tensor *output = find.matrix("output.weight", c.hidden, c.logit_width, presence::optional);
    out.output = output != nullptr ? output : out.embedding;
    find.refuse_unused();
    return out;
}

rotation find_rotation(const model_config &config, const model_tensors &tensors, uint32_t context) {
    const gguf_tensor *factors = tensors.rope_factors;
    if (config.rope.scaling == rope_scaling::longrope)
        factors = context > config.rope.original_context ? tensors.rope_long : tensors.rope_short;
    return plan_rotation(config.rope, factors != nullptr ? plain_values(*factors) : std::vector<float>());
}

uint64_t model_tensors::bytes() const {
    uint64_t sum = 0;
    for (const gguf_tensor *tensor : all) sum += tensor->bytes;
    return sum;
}

uint64_t model_tensors::bytes_per_token() const { return bytes() - (output == embedding ? 0 : embedding->bytes); }

}  // namespace llm
