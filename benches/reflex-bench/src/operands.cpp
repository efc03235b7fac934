#include "operands.h"

#include <algorithm>
#include <cstring>

#include "patterns.h"

namespace bench {
namespace {

constexpr uint8_t no_result = 0xFF;

// Packs and quantises what other operands are made of.
const reflex::context &cpu() {
    static const reflex::context context = [] {
        reflex::context_params params;
        params.backend = REFLEX_BACKEND_CPU;
        return reflex::context(params);
    }();
    return context;
}

class cpu_buffer {
public:
    explicit cpu_buffer(const std::vector<uint8_t> &bytes) : memory_(cpu(), std::max<size_t>(bytes.size(), 1)) {
        if (!bytes.empty()) reflex::check(reflex_memcpy(cpu().get(), get(), bytes.data(), bytes.size(), nullptr));
    }
    void *get() const { return memory_.get(); }
    std::vector<uint8_t> read(size_t bytes) const {
        std::vector<uint8_t> out(bytes);
        reflex::check(reflex_memcpy(cpu().get(), out.data(), get(), bytes, nullptr));
        return out;
    }

private:
    reflex::device_buffer memory_;
};

std::vector<uint8_t> packed_values(const operand &what, uint64_t seed) {
    const reflex_dtype native = what.dtype & ~REFLEX_DTYPE_PACKED;
    const cpu_buffer buffer(make_values(native, placed_bytes(what) / reflex_dtype_block_bytes(native), seed));
    reflex::weights_pack_params p;
    p.source = p.destination = placed(what, buffer.get());
    p.source.dtype = native;
    reflex::check(reflex_weights_pack_workspace_size(cpu().get(), &p, &p.workspace_size));
    const cpu_buffer workspace(std::vector<uint8_t>(p.workspace_size));
    p.workspace = workspace.get();
    reflex::check(reflex_weights_pack(cpu().get(), &p, nullptr));
    return buffer.read(placed_bytes(what));
}

std::vector<uint8_t> quantised_values(const operand &what, uint64_t seed) {
    operand floats = input(REFLEX_DTYPE_F32, what.shape);
    floats.least = what.least;
    floats.most = what.most;
    const size_t count = placed_bytes(floats) / sizeof(float);
    const cpu_buffer source(make_values(REFLEX_DTYPE_F32, count, seed, what.least, what.most));
    const cpu_buffer buffer(std::vector<uint8_t>(placed_bytes(what), no_result));
    reflex::quantize_params p;
    p.x = placed(floats, source.get());
    p.y = placed(what, buffer.get());
    reflex::check(reflex_quantize(cpu().get(), &p, nullptr));
    return buffer.read(placed_bytes(what));
}

}  // namespace

operand input(reflex_dtype dtype, std::vector<int64_t> shape) { return {dtype, std::move(shape)}; }
operand output(reflex_dtype dtype, std::vector<int64_t> shape) { return {dtype, std::move(shape), content::result}; }

operand integers(std::vector<int64_t> shape, std::function<std::vector<int32_t>(size_t)> values) {
    return {REFLEX_DTYPE_I32, std::move(shape), content::integers, std::move(values)};
}

operand integers(const std::vector<int32_t> &values) {
    return integers({static_cast<int64_t>(values.size())}, [values](size_t) { return values; });
}

operand in_place(operand what) {
    what.written = true;
    what.moved = 2.0 * static_cast<double>(what.bytes());
    return what;
}

reflex_dtype in_layout(reflex_dtype weight, bool packed) { return packed ? weight | REFLEX_DTYPE_PACKED : weight; }
bool has_layout(reflex_dtype weight, bool packed) { return !packed || reflex_dtype_block_elements(weight) > 1; }

size_t tensor_bytes(reflex_dtype dtype, const std::vector<int64_t> &shape) {
    size_t elements = 1;
    for (const int64_t n : shape) elements *= static_cast<size_t>(n);
    return elements / reflex_dtype_block_elements(dtype) * reflex_dtype_block_bytes(dtype);
}

size_t operand::bytes() const { return tensor_bytes(dtype, shape); }

reflex_tensor placed(const operand &what, void *data) {
    const int64_t unit = reflex_dtype_block_bytes(what.dtype);
    const int64_t row = what.shape.back() / reflex_dtype_block_elements(what.dtype) + what.gap;
    reflex_tensor t{};
    t.data = static_cast<uint8_t *>(data) + what.offset * unit;
    t.dtype = what.dtype;
    t.rank = static_cast<uint32_t>(what.shape.size());
    int64_t step = unit;
    for (size_t i = what.shape.size(); i-- > 0;) {
        t.shape[i] = what.shape[i];
        t.stride[i] = step;
        step *= std::max<int64_t>(i + 1 == what.shape.size() ? row : what.shape[i], 1);
    }
    return t;
}

size_t placed_bytes(const operand &what) {
    int64_t units = what.shape.back() / reflex_dtype_block_elements(what.dtype) + what.gap;
    for (size_t i = 0; i + 1 < what.shape.size(); ++i) units *= what.shape[i];
    return static_cast<size_t>((units + what.offset + 1) * reflex_dtype_block_bytes(what.dtype));
}

std::vector<uint8_t> contents_of(const operand &what, size_t place) {
    const uint64_t seed = 0x5eed + place * 0x9e3779b97f4a7c15u;
    const size_t bytes = placed_bytes(what);
    switch (what.holds) {
        case content::result:
            break;
        case content::integers: {
            std::vector<uint8_t> out(bytes, no_result);
            const std::vector<int32_t> values = what.integers(0);
            if (!values.empty()) std::memcpy(out.data(), values.data(), values.size() * sizeof(int32_t));
            return out;
        }
        case content::values:
            if ((what.dtype & REFLEX_DTYPE_PACKED) != 0) return packed_values(what, seed);
            if (what.dtype == REFLEX_DTYPE_ACT_I8) return quantised_values(what, seed);
            return make_values(what.dtype, bytes / reflex_dtype_block_bytes(what.dtype), seed, what.least, what.most);
    }
    return std::vector<uint8_t>(bytes, no_result);
}

}  // namespace bench
