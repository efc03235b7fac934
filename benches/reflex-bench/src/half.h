// 16-bit floats as 32-bit ones, and back.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace bench {

inline float bfloat_to_float(uint16_t bits) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

inline float half_to_float(uint16_t bits) {
    const int exponent = bits >> 10 & 31;
    const float fraction = static_cast<float>(bits & 1023);
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
    if (exponent == 0) return sign * std::ldexp(fraction, -24);
    return sign * std::ldexp(1024 + fraction, exponent - 25);
}

// Towards zero, which is near enough for contents at random.
inline uint16_t float_to_bfloat(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<uint16_t>(bits >> 16);
}

// To the nearest, of numbers that F16 has; those too small for a normal number become zero.
inline uint16_t float_to_half(float value) {
    int exponent = 0;
    const float fraction = std::frexp(std::fabs(value), &exponent);
    // 0.5 to 1 as 1024 to 2048; rounding may carry into the exponent, which lies above.
    const auto bits =
        static_cast<uint32_t>(std::lround(std::ldexp(fraction, 11))) + (static_cast<uint32_t>(exponent + 13) << 10);
    const uint32_t magnitude = fraction == 0 || exponent < -13 ? 0 : bits;
    return static_cast<uint16_t>((std::signbit(value) ? 0x8000u : 0u) | magnitude);
}

}  // namespace bench
