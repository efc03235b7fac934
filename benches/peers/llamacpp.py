"""llama.cpp's own benchmarks, run as programs: llama-bench for models, test-backend-ops perf for matmuls.

test-backend-ops repeats one matmul on the same operands: weights that fit into L2 stay there, so `reflex-bench ops --warm` is the
run to hold against it. Written for ggml 0.25.3. Its CSV has no times and its console rounds them, so its SQL is read.
"""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

from formats import formats  # noqa: E402

# Of its fixed list, what models have: one weight matrix of 4096 outputs and 14336 inputs in every type.
OUTPUTS, INPUTS = 4096, 14336
ROWS = (1, 2, 3, 4, 5, 8, 512)
DTYPES = (*(form.name for form in formats()), "F16", "BF16", "F32")

INSERT = re.compile(r"INSERT INTO test_backend_ops \((?P<names>[^)]*)\) VALUES \('(?P<values>.*)'\);")
PARAM = re.compile(r"(\w+)=(\[[^]]*\]|[^,]*)")
# Of a plain matmul. Versions differ in which of these they print.
PLAIN = {"bs": "[1,1]", "nr": "[1,1]", "per": "[0,1,2,3]", "k_v": "0", "o": "1", "src_overlap": "0", "m_v": "0", "pad": "0"}


class PeerError(Exception):
    """A program that does not do what is expected of it."""


def library_path(program):
    """Beside the program, and the CUDA libraries in Python's wheels, which torch brings."""
    folder = pathlib.Path(program).resolve().parent
    found = importlib.util.find_spec("nvidia")
    roots = found.submodule_search_locations if found else ()
    wheels = [str(lib) for root in roots for lib in sorted(pathlib.Path(root).glob("*/lib"))]
    return ":".join(filter(None, [str(folder), str(folder.parent / "lib"), os.environ.get("LD_LIBRARY_PATH"), *wheels]))


def run(words, environment):
    environment = dict(os.environ, LD_LIBRARY_PATH=library_path(words[0]), **environment)
    try:
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
    except OSError as error:
        raise PeerError(f"{words[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise PeerError(f"{words[0]} ended with status {done.returncode}: {' '.join(done.stderr.split())[-300:]}")
    return done


def parse_perf(text):
    """{(dtype, rows): {us, runs, bytes}} of the plain matmuls of OUTPUTS and INPUTS in `test-backend-ops perf --output sql`."""
    out = {}
    for found in INSERT.finditer(text):
        row = dict(zip(found["names"].split(", "), found["values"].split("', '")))
        params = dict(PARAM.findall(row["op_params"]))
        sizes = (params.get("m"), params.get("k"))
        dtype = params.get("type_a", "").upper()
        if (row["op_name"], row["test_mode"], row["supported"], params.get("type_b")) != ("MUL_MAT", "perf", "1", "f32"):
            continue
        if sizes != (str(OUTPUTS), str(INPUTS)) or dtype not in DTYPES or "bs" not in params:
            continue
        if any(params.get(name, value) != value for name, value in PLAIN.items()):
            continue
        out[dtype, int(params["n"])] = {"us": float(row["time_us"]), "runs": int(row["n_runs"]),
                                        "bytes": int(row["memory_kb"]) * 1024}
    return out


def matmuls(program, rows=ROWS, dtypes=DTYPES, environment=None, backend="CUDA0"):
    """What parse_perf gives, measured now: about a second for each row count and type, and quantizing before it."""
    types = "|".join(dtype.lower().replace("_k", "_K") for dtype in dtypes)
    params = rf"type_a=({types}),type_b=f32,m={OUTPUTS},n=({'|'.join(map(str, rows))}),k={INPUTS},bs=\[1,1\],nr=\[1,1\]"
    words = [program, "perf", "-o", "MUL_MAT", "-b", backend, "-p", params, "--output", "sql"]
    found = parse_perf(run(words, environment or {}).stdout)
    if not found:
        raise PeerError(f"{program} has measured no matmul on {backend}: built without CUDA, or no GPU, or another version")
    return found


def version(llama_bench):
    done = run([llama_bench, "--version"], {})
    found = re.search(r"version: (.+)", done.stdout + done.stderr)
    return found[1].strip() if found else "unknown"


def model(program, gguf, prompts, depths, steps, environment=None, device="CUDA0"):
    """Rows of llama-bench: prefill by tokens, decode of `steps` tokens behind depths; mean and deviation of tokens per second."""
    def rates(*arguments):
        words = [program, "-m", gguf, "-dev", device, "-ngl", "99", "-fa", "1", "-o", "json", *arguments]
        try:
            return json.loads(run(words, environment or {}).stdout)
        except ValueError as error:
            raise PeerError(f"{program} writes no JSON: {error}") from error

    def listed(numbers):
        return ",".join(map(str, numbers))

    rows = rates("-p", listed(prompts), "-n", "0") if prompts else []
    rows += rates("-p", "0", "-n", str(steps), "-d", listed(depths)) if depths else []
    out = []
    for row in rows:
        name, tokens = ("prefill", row["n_prompt"]) if row["n_prompt"] else ("decode", row["n_gen"])
        out.append((name, tokens, row["n_depth"], row["avg_ts"], row["stddev_ts"]))
    return out
