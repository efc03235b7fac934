#include "patterns.h"

#include <cstring>

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

// Where the half-precision scales of a block lie.
std::vector<size_t> scale_offsets(reflex_dtype dtype) {
    switch (dtype) {
        case REFLEX_DTYPE_Q4_1:
        case REFLEX_DTYPE_Q5_1:
        case REFLEX_DTYPE_Q4_K:
        case REFLEX_DTYPE_Q5_K:
            return {0, 2};
        case REFLEX_DTYPE_Q2_K:
            return {80, 82};
        case REFLEX_DTYPE_Q3_K:
            return {108};
        case REFLEX_DTYPE_Q6_K:
            return {208};
        default:
            return {0};
    }
}

}  // namespace

std::vector<uint8_t> make_pattern(reflex_dtype dtype) {
    random_numbers random;
    const size_t unit = reflex_dtype_block_bytes(dtype);
    const bool blocks = reflex_dtype_block_elements(dtype) > 1;
    const size_t count = blocks ? pattern_blocks : pattern_elements;
    std::vector<uint8_t> out(count * unit);
    for (size_t i = 0; i < count; ++i) {
        const size_t at = i * unit;
        if (blocks) {
            for (size_t j = 0; j < unit; ++j) out[at + j] = static_cast<uint8_t>(random.next() >> 24);
            if (dtype == REFLEX_DTYPE_MXFP4) {
                out[at] = static_cast<uint8_t>(118 + random.next() % 4);  // the exponent of about 2^-7
                continue;
            }
            for (const size_t offset : scale_offsets(dtype)) put16(out, at + offset, scale_bits(random.next()));
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
