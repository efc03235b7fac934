"""Golden vectors of the rotation: cosines and sines of reflex_rope's angles, by PyPI `mpmath`.

    python -m venv venv && venv/bin/pip install mpmath==1.4.1
    venv/bin/python tests/golden/rope.py

Writes rope.bin beside itself, little-endian. Of each case: theta_base, freq_scale (f32), rotary_dim, the number of
positions, whether there are factors (u32); the positions (i32); the factors of the pairs (f32), all 1 where there are none;
then of each pair of each position angle, cosine and sine (f64).
"""

import struct
from pathlib import Path

from mpmath import mp, mpf

# Angles have up to 90 digits before the point.
mp.prec = 600

I32_MIN, I32_MAX = -(2**31), 2**31 - 1
FAR = [I32_MIN, I32_MIN + 1, -1_900_000_001, 1_400_000_003, 1_812_345_679, 2_000_000_011, I32_MAX - 1, I32_MAX]
NEAR = [-5, -1, 0, 1, 77, 4095, 131_071, 1_000_000, 16_777_217]


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


# theta_base, freq_scale, rotary_dim, positions, factors of the pairs.
CASES = [
    (10000.0, 1.0, 64, NEAR + FAR, None),
    (1e6, 1.0, 128, FAR[-3:] + [40960], None),
    (5e5, 0.25, 80, FAR + [70_000], [1 + 7 * ((i * 29) % 40) / 40 for i in range(40)]),
    (5e5, 1.0, 96, [I32_MIN, 1_600_000_001, I32_MAX], [0.3 + i / 3 for i in range(48)]),
    (150000.0, 1 / 32, 32, NEAR[-3:] + FAR, None),
    (1.0, 3.0, 6, NEAR + FAR, [0.1, 1 / 3, -0.7]),
    (3.4e38, 1.0, 20, NEAR + FAR, None),
    (12345.678, 0.7, 34, FAR, [-1.5 * 1.1**i for i in range(17)]),
    # Angles of which nothing is left, or nothing is known: finite numbers all the same.
    (10000.0, 1e10, 16, NEAR + FAR, None),
    (10000.0, 3.4e38, 16, FAR, [1e-45, 1e-40, -1e-38, 1e-30, 1e10, 1e30, -3.4e38, 1.0]),
    (10000.0, 1e-45, 16, FAR, [1e-45, 1e-40, -1e-38, 1e-30, 1e10, 1e30, -3.4e38, 1.0]),
    # Mantissas next to a power of two, where a reciprocal is the least exact.
    (2.0, 1.0, 16, FAR, [1 + 2**-23, 2 - 2**-23, 1 - 2**-24, 4 - 2**-22, 1.5, 2**-149, 2**-126, 2**-126 - 2**-149]),
]


def main():
    out = bytearray()
    for theta, scale, dim, positions, factors in CASES:
        theta, scale = f32(theta), f32(scale)
        divisors = [f32(f) for f in factors or [1.0] * (dim // 2)]
        out += struct.pack("<ffIII", theta, scale, dim, len(positions), factors is not None)
        out += struct.pack(f"<{len(positions)}i", *positions)
        out += struct.pack(f"<{dim // 2}f", *divisors)
        for position in positions:
            for i in range(dim // 2):
                frequency = mpf(scale) * mpf(theta) ** (mpf(-2 * i) / dim) / mpf(divisors[i])
                angle = position * frequency
                out += struct.pack("<ddd", float(angle), float(mp.cos(angle)), float(mp.sin(angle)))
    Path(__file__).with_name("rope.bin").write_bytes(out)


main()
