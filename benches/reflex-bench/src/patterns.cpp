#include "patterns.h"

#include <cstring>

#include "../../../kernels/formats.def"
#include "half.h"

namespace bench {
namespace {

constexpr size_t pattern_blocks = 1 << 12, pattern_elements = 1 << 18;
constexpr uint64_t pattern_seed = 0x5eed;

class random_numbers {
public:
    explicit random_numbers(uint64_t seed) : state_(seed) {}
    uint32_t next() {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(state_ >> 32);
    }
    // From `least` up to `most`.
    float from(float least, float most) {
        return least + (most - least) * (static_cast<float>(next() >> 8) * 0x1p-24f);
    }

private:
    uint64_t state_;
};

void put16(std::vector<uint8_t> &out, size_t at, uint16_t bits) { std::memcpy(out.data() + at, &bits, sizeof bits); }

enum class scale_kind { half, exponent };
struct block_scale {
    scale_kind kind;
    size_t at;  // byte of the block
    double usual;
};

// Where the scales of a block lie, and about which number they are.
std::vector<block_scale> block_scales(reflex_dtype dtype) {
#define F16(at, value) {scale_kind::half, at, value},
#define E8M0(at, value) {scale_kind::exponent, at, value},
#define REFLEX_SCALES(NAME, name, ggml, elements, bytes, bits, group, scales) \
    if (dtype == REFLEX_DTYPE_##NAME) return {scales};
    REFLEX_BLOCK_FORMATS(REFLEX_SCALES)
#undef REFLEX_SCALES
#undef E8M0
#undef F16
    return {};
}

}  // namespace

std::vector<uint8_t> make_values(reflex_dtype dtype, size_t count, uint64_t seed, float least, float most) {
    random_numbers random(seed);
    const size_t unit = reflex_dtype_block_bytes(dtype);
    const bool blocks = reflex_dtype_block_elements(dtype) > 1;
    const std::vector<block_scale> scales = block_scales(dtype);
    std::vector<uint8_t> out(count * unit);
    for (size_t i = 0; i < count; ++i) {
        const size_t at = i * unit;
        if (blocks) {
            for (size_t j = 0; j < unit; ++j) out[at + j] = static_cast<uint8_t>(random.next() >> 24);
            for (const block_scale &scale : scales) {
                const auto usual = static_cast<float>(scale.usual);
                if (scale.kind == scale_kind::half)
                    put16(out, at + scale.at, float_to_half(usual * random.from(0.5f, 1.5f)));
                else out[at + scale.at] = static_cast<uint8_t>(static_cast<uint32_t>(usual) - random.next() % 2);
            }
            continue;
        }
        const float value = random.from(least, most);
        if (dtype == REFLEX_DTYPE_F16) put16(out, at, float_to_half(value));
        else if (dtype == REFLEX_DTYPE_BF16) put16(out, at, float_to_bfloat(value));
        else std::memcpy(out.data() + at, &value, sizeof value);
    }
    return out;
}

std::vector<uint8_t> make_pattern(reflex_dtype dtype) {
    const bool blocks = reflex_dtype_block_elements(dtype) > 1;
    return make_values(dtype, blocks ? pattern_blocks : pattern_elements, pattern_seed);
}

}  // namespace bench
