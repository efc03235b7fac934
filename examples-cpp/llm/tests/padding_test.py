#!/usr/bin/env python3
"""Rows of the embedding beyond the vocabulary belong to no token: they are never drawn and take no part in the perplexity.

Usage: padding_test.py PROGRAM DATA_DIR

Many models have such rows, so that their number is round. Here a small model gets one behind each of its rows, four times as large: whatever the
model predicts, an engine that looked at it would draw the padding.
"""
import pathlib
import struct
import sys
import tempfile

import checks
from checks import check

PROGRAM, DATA = sys.argv[1], pathlib.Path(sys.argv[2])
MODEL = DATA / "arch-llama-partial.gguf"  # its output matrix is the embedding, in F16
TEXT = "Rows that belong to no token are there to make a number round, and for nothing else. " * 3


def run(model, *arguments):
    return checks.run(PROGRAM, "-m", model, "--backend", "cpu", *arguments)


def change_embedding(path, rows_of):
    """Writes the model with other rows: rows_of(old rows) at the end of the file, where the tensor's entry then points."""
    data = bytearray(MODEL.read_bytes())
    alignment, name = 32, b"token_embd.weight"
    at = data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name)
    rank, width, rows, kind, offset = struct.unpack_from("<IQQIQ", data, at)
    assert rank == 2 and kind == 1
    # The data begins where the offsets of all tensors fit: the last one ends with the file.
    ends = at
    count = struct.unpack_from("<Q", data, 8)[0]
    for _ in range(count - 1):  # the embedding is the first
        ends += (4 + 8 * struct.unpack_from("<I", data, ends)[0]) + 12
        ends += 8 + struct.unpack_from("<Q", data, ends)[0]
    ends += (4 + 8 * struct.unpack_from("<I", data, ends)[0]) + 12
    start = -(-ends // alignment) * alignment
    old = struct.unpack_from(f"<{width * rows}e", data, start + offset)
    new = rows_of([old[i * width : (i + 1) * width] for i in range(rows)])
    data += bytes(-(len(data) - start) % alignment)
    struct.pack_into("<IQQIQ", data, at, 2, width, len(new), kind, len(data) - start)
    for row in new:
        data += struct.pack(f"<{width}e", *row)
    data += bytes(-len(data) % alignment)
    path.write_bytes(data)


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    padded, short, text = folder / "padded.gguf", folder / "short.gguf", folder / "text.txt"
    change_embedding(padded, lambda rows: rows + [[4 * x for x in row] for row in rows])
    change_embedding(short, lambda rows: rows[:-1])
    text.write_text(TEXT)
    hot = ["-p", "Reflex", "-n", "32", "--temp", "1.5", "--top-p", "1", "--min-p", "0"]
    for arguments in (
        ["-p", "Reflex", "-n", "32"],
        ["-p", "Reflex", "-n", "32", "--no-graph"],
        ["-p", "Reflex", "-n", "32", "--parallel", "3"],
        ["-p", "Reflex", "-n", "32", "--compute", "exact"],
        [*hot, "--top-k", "0", "--seed", "3"],
        [*hot, "--top-k", "100000", "--seed", "4"],
        [*hot, "--top-k", "40", "--seed", "5", "--parallel", "4"],
        ["--perplexity", text],
    ):
        want, got = run(MODEL, *arguments), run(padded, *arguments)
        check(want[0] == 0 and len(want[1]) > 4, f"{arguments} without padding: {want}")
        check(got[:2] == want[:2], f"{arguments}: {got}, without padding {want[1]!r}")
    # More tokens than rows is another matter: nothing can stand for the last of them.
    code, out, err = run(short, "-p", "x")
    check(code == 1 and out == b"" and "fewer rows than the vocabulary has tokens, 259" in err, f"fewer rows than tokens: {code} {err}")
sys.exit(checks.summary())
