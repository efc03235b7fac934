"""llama.cpp's own benchmarks, run as programs: llama-bench for models, test-backend-ops perf for matmuls.

test-backend-ops has a list of shapes of its own (4096x14336 among them) and lets operands stay in L2: for the comparison run
`reflex-bench ops --op matmul --shapes 1,4096,14336`, cold and `--warm`; the note of each row says what was measured how.
"""

import json
import os
import re
import subprocess

LINE = re.compile(
    r"MUL_MAT\(type_a=(?P<type>\w+),type_b=f32,m=(?P<n>\d+),n=(?P<m>\d+),k=(?P<k>\d+),bs=\[1,1\],nr=\[1,1\][^)]*\):"
    r"\s*\d+ runs -\s*(?P<us>[\d.]+) us/run"
)
TYPES = {"q4_K": "Q4_K", "q5_K": "Q5_K", "q6_K": "Q6_K", "q8_0": "Q8_0", "q4_0": "Q4_0", "f16": "F16", "bf16": "BF16",
         "f32": "F32", "q4_1": "Q4_1", "q5_0": "Q5_0", "q5_1": "Q5_1", "q2_K": "Q2_K", "q3_K": "Q3_K", "iq4_nl": "IQ4_NL",
         "iq4_xs": "IQ4_XS", "mxfp4": "MXFP4"}


def run(words):
    folder = os.path.dirname(os.path.abspath(words[0]))
    libraries = ":".join(filter(None, [folder, os.path.join(folder, "..", "lib"), os.environ.get("LD_LIBRARY_PATH")]))
    done = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ, LD_LIBRARY_PATH=libraries))
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def parse_perf(text):
    """{(dtype, rows, outputs, inputs): microseconds} of the matmuls in the output of `test-backend-ops perf`."""
    out = {}
    for found in LINE.finditer(re.sub(r"\x1b\[[0-9;]*m", "", text)):
        if found["type"] in TYPES:
            out[TYPES[found["type"]], int(found["m"]), int(found["n"]), int(found["k"])] = float(found["us"])
    return out


def matmuls(program):
    return parse_perf(run([program, "perf", "-o", "MUL_MAT", "-b", "CUDA0"]))


def model(program, gguf, prompts, depths):
    """Rows of llama-bench: prefill by tokens, decode of 64 tokens behind depths."""
    def rates(arguments):
        words = [program, "-m", gguf, "-ngl", "99", "-fa", "1", "-o", "json", *arguments]
        return json.loads(run(words))

    out = []
    if prompts:
        for row in rates(["-p", ",".join(map(str, prompts)), "-n", "0"]):
            out.append(("prefill", row["n_prompt"], 0, row["avg_ts"], row["stddev_ts"]))
    if depths:
        for row in rates(["-p", "0", "-n", "64", "-d", ",".join(map(str, depths))]):
            out.append(("decode", row["n_gen"], row["n_depth"], row["avg_ts"], row["stddev_ts"]))
    return out
