#include "patterns.h"

#include <cstring>

#include "../../../kernels/formats.def"

namespace bench {
namespace {

constexpr size_t pattern_blocks = 1 << 12, pattern_elements = 1 << 18;

class random_numbers {
public:
    uint32_t next() {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(state_ >> 32);
    }
    // From -1 up to 1.
    float next_float() { return static_cast<float>(static_cast<int32_t>(next())) * 0x1p-31f; }

private:
    uint64_t state_ = 0x5eed;
};

void put16(std::vector<uint8_t> &out, size_t at, uint16_t bits) { std::memcpy(out.data() + at, &bits, sizeof bits); }

// Normal numbers only, from 2^-5 to below 1, either sign: five exponents and free mantissas.
uint16_t half_bits(uint32_t random) {
    const uint32_t exponent = 10 + random % 5;
    return static_cast<uint16_t>((random >> 16 & 0x8000) | exponent << 10 | (random >> 8 & 0x3FF));
}

// A block's scale: positive and about 2^-6.
uint16_t scale_bits(uint32_t random) { return static_cast<uint16_t>(9u << 10 | (random & 0x3FF)); }

enum class scale_kind { half, exponent };
struct block_scale {
    scale_kind kind;
    size_t at;  // byte of the block
};

// Where the scales of a block lie.
std::vector<block_scale> block_scales(reflex_dtype dtype) {
#define F16(at, value) {scale_kind::half, at},
#define E8M0(at, value) {scale_kind::exponent, at},
#define REFLEX_SCALES(NAME, name, ggml, elements, bytes, bits, group, scales) \
    if (dtype == REFLEX_DTYPE_##NAME) return {scales};
    REFLEX_BLOCK_FORMATS(REFLEX_SCALES)
#undef REFLEX_SCALES
#undef E8M0
#undef F16
    return {};
}

}  // namespace

std::vector<uint8_t> make_pattern(reflex_dtype dtype) {
    random_numbers random;
    const size_t unit = reflex_dtype_block_bytes(dtype);
    const bool blocks = reflex_dtype_block_elements(dtype) > 1;
    const std::vector<block_scale> scales = block_scales(dtype);
    const size_t count = blocks ? pattern_blocks : pattern_elements;
    std::vector<uint8_t> out(count * unit);
    for (size_t i = 0; i < count; ++i) {
        const size_t at = i * unit;
        if (blocks) {
            for (size_t j = 0; j < unit; ++j) out[at + j] = static_cast<uint8_t>(random.next() >> 24);
            for (const block_scale &scale : scales) {
                const uint32_t bits = random.next();
                if (scale.kind == scale_kind::half) put16(out, at + scale.at, scale_bits(bits));
                else out[at + scale.at] = static_cast<uint8_t>(118 + bits % 4);  // the exponent of about 2^-7
            }
        } else if (dtype == REFLEX_DTYPE_F16) {
            put16(out, at, half_bits(random.next()));
        } else {
            const float value = random.next_float();
            uint32_t bits = 0;
            std::memcpy(&bits, &value, sizeof bits);
            if (dtype == REFLEX_DTYPE_BF16) {
                put16(out, at, static_cast<uint16_t>(bits >> 16));
            } else {
                std::memcpy(out.data() + at, &bits, sizeof bits);
            }
        }
    }
    return out;
}

}  // namespace bench
