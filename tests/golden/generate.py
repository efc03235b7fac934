"""Golden vectors of the GGUF block formats, from the dequantisers of PyPI `gguf` (numpy).

    python -m venv venv && venv/bin/pip install gguf==0.19.0 numpy==2.4.6
    venv/bin/python tests/golden/generate.py

Writes <format>.bin beside itself: the number of blocks (u32), the blocks, their elements (f32); little-endian.
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "tools"))

from formats import formats  # noqa: E402

# Subnormal powers of two, the smallest normal one, plausible ones, and up to the largest, whose products overflow.
EXPONENTS = [0, 1, 2, 3, 24, 120, 125, 126, 127, 128, 200, 252, 253, 254, 255]
# One, a plausible scale, the largest, the smallest normal, subnormals, zeros, and their negatives.
VALUES = [1.0, 0.0123, 65504.0, 6.104e-05, 6.0e-05, 5.96e-08, 0.0]
VALUES += [-v for v in VALUES]


def blocks(form, rng):
    elements, size = GGML_QUANT_SIZES[GGMLQuantizationType(form.ggml)]
    halves = [at for kind, at, _ in form.scales if kind == "F16"]
    exponents = [at for kind, at, _ in form.scales if kind == "E8M0"]
    plain = 48 if elements == 32 else 10
    made = []
    for i in range(plain + 2 * len(VALUES)):
        block = rng.integers(0, 256, size, dtype=np.uint8)
        for slot, at in enumerate(halves):
            if i < plain:
                value = rng.normal() * 0.05
            else:
                value = VALUES[(i + slot * (i // 2)) % len(VALUES)]
            block[at : at + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)
        for at in exponents if i >= plain else []:
            block[at] = EXPONENTS[i % len(EXPONENTS)]
        made.append(block)
    # Every field at its smallest and at its largest.
    for fill in (0x00, 0xFF, 0x80, 0x7F):
        block = np.full(size, fill, np.uint8)
        for at in halves:
            block[at : at + 2] = np.frombuffer(np.float16(-0.75).tobytes(), np.uint8)
        made.append(block)
    return np.stack(made)


def main():
    for form in formats():
        kind = GGMLQuantizationType(form.ggml)
        assert (kind.name, *GGML_QUANT_SIZES[kind]) == (form.name, form.elements, form.bytes)
        data = blocks(form, np.random.default_rng(form.ggml))
        with np.errstate(over="ignore"):  # of the largest exponents
            values = dequantize(data, kind).astype("<f4")
        assert np.isfinite(values).all() or form.scales[0][0] == "E8M0" and not np.isnan(values).any()
        path = HERE / f"{form.type}.bin"
        path.write_bytes(np.uint32(len(data)).tobytes() + data.tobytes() + values.tobytes())
        print(f"{path.name}: {len(data)} blocks, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
