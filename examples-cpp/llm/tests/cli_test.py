#!/usr/bin/env python3
"""The program from outside: exit statuses, what goes to which stream, and hostile input. Usage: cli_test.py PROGRAM MODELS"""
import json
import pathlib
import subprocess
import sys
import tempfile

PROGRAM, MODELS = sys.argv[1], pathlib.Path(sys.argv[2])
MODEL = str(MODELS / "tiny-qwen3-q4_k_m.gguf")
BASE = ["-m", MODEL, "--backend", "cpu"]
failures = checks = 0


def check(condition, what):
    global failures, checks
    checks += 1
    if not condition:
        failures += 1
        print("failed:", what)


def run(*arguments):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, timeout=300)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def refused(status, part, *arguments):
    code, out, err = run(*arguments)
    check(code == status and out == b"" and part in err and len(err.strip().splitlines()) == 1, f"{arguments}: status {code}, expected {status} with {part!r} in one line: {err!r}")


def wrong_command_lines():
    refused(2, "--model FILE is needed")
    refused(2, 'unknown option "--nope"', *BASE, "-p", "x", "--nope")
    refused(2, "takes a whole number", *BASE, "-p", "x", "-n", "many")
    refused(2, "needs a value", *BASE, "-p")
    refused(2, "auto, cuda or cpu", "-m", MODEL, "-p", "x", "--backend", "tpu")
    code, out, err = run("--help")
    check(code == 0 and b"--perplexity" in out and err == "", "--help")


def failures_at_run_time(folder):
    refused(1, "No such file", "-m", str(folder / "absent.gguf"), "-p", "x")
    refused(1, "is not a regular file", "-m", str(folder), "-p", "x")
    empty = folder / "empty.gguf"
    empty.write_bytes(b"")
    refused(1, "is empty", "-m", str(empty), "-p", "x")
    noise = folder / "noise.gguf"
    noise.write_bytes(b"\x7fELF" * 100)
    refused(1, 'does not start with "GGUF"', "-m", str(noise), "-p", "x")
    cut = folder / "cut.gguf"
    cut.write_bytes(pathlib.Path(MODEL).read_bytes()[:1000000])
    refused(1, "the data section has", "-m", str(cut), "-p", "x")
    refused(1, "context", *BASE, "-p", "x", "--ctx", "513")
    refused(1, "prompt", *BASE, "-p", "word " * 600)
    refused(1, "prompt", *BASE, "-p", "")
    refused(1, "No such file", *BASE, "--perplexity", str(folder / "absent.txt"))
    short = folder / "short.txt"
    short.write_text("too short")
    refused(1, "chunk", *BASE, "--perplexity", str(short))


def memory_is_planned(folder):
    """A context of 2^26 tokens would take 206 GB: refused with figures, before anything is allocated."""
    available = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo") if line.startswith("MemAvailable"))
    if available > 200e9:
        print("skipped: this machine could hold the context that is to be refused")
        return
    data = bytearray(pathlib.Path(MODEL).read_bytes())
    key = b"qwen3.context_length"
    at = data.index(key) + len(key) + 4
    data[at : at + 4] = (1 << 26).to_bytes(4, "little")
    vast = folder / "vast.gguf"
    vast.write_bytes(data)
    refused(1, "does not fit: 206.", "-m", str(vast), "--backend", "cpu", "-p", "x", "--ctx", str(1 << 26))
    refused(1, "would fit", "-m", str(vast), "--backend", "cpu", "-p", "x", "--ctx", str(1 << 26))
    refused(1, "64 times 2000000 tokens", "-m", str(vast), "--backend", "cpu", "-p", "x", "--ctx", "2000000", "--parallel", "64")
    refused(1, "more than 2^31 - 1", "-m", str(vast), "--backend", "cpu", "-p", "x", "--ctx", str(1 << 26), "--parallel", "64")
    check(run("-m", str(vast), "--backend", "cpu", "-p", "x", "-n", "1", "--ctx", "512")[0] == 0, "the same file with a small context")


def text_and_table(folder):
    prompt = "A workspace is a set of packages"
    code, out, err = run(*BASE, "-p", prompt, "-n", "8")
    check(code == 0 and out.startswith(prompt.encode()) and len(out) > len(prompt) + 8, f"generation: {out!r} {err!r}")
    for word in ("backend", "device", "model", "prefill", "decode", "first token", "memory", "floor"):
        check(word in err, f"the table lacks {word!r}: {err}")
    check(prompt not in err, "text on standard error")
    path = folder / "prompt.txt"
    path.write_text(prompt)
    check(run(*BASE, "-f", str(path), "-n", "8")[1] == out, "--file and --prompt differ")
    check(run(*BASE, "-f", str(path), "-n", "8", "--batch", "3")[1] == out, "a small batch changes the text")
    check(run(*BASE, "-f", str(path), "-n", "8", "--no-graph")[1] == out, "--no-graph changes the text")
    check(run(*BASE, "-p", prompt, "-n", "0")[1] == prompt.encode(), "-n 0 gives the prompt alone")
    code, out, err = run(*BASE, "-p", prompt, "-n", "-1", "--ctx", "40")
    check(code == 0 and "context is full" in err, f"a full context ends the text: {code} {err}")
    code, out, err = run(*BASE, "-p", "word " * 500 + "é", "-n", "2", "--ctx", "512")
    check(code in (0, 1), f"a prompt near the context: {code} {err}")


def sampling():
    hot = [*BASE, "-p", "The", "-n", "24", "--temp", "1.5", "--top-k", "0", "--top-p", "1", "--min-p", "0"]
    first = run(*hot, "--seed", "1")
    check(first[0] == 0 and len(first[1]) > 24, f"sampling: {first}")
    check(run(*hot, "--seed", "1")[1] == first[1], "the same seed gives the same text")
    check(run(*hot, "--seed", "1", "--no-graph")[1] == first[1], "the graph changes a sampled text")
    others = {run(*hot, "--seed", str(seed))[1] for seed in range(2, 6)}
    check(len(others) > 1, "four seeds give four times the same text")
    greedy = run(*BASE, "-p", "The", "-n", "24")[1]
    check(run(*BASE, "-p", "The", "-n", "24", "--temp", "1", "--top-k", "1")[1] == greedy, "top-k 1 is greedy")


def modes():
    prompt = "A workspace is a set of packages"
    want = run(*BASE, "-p", prompt, "-n", "24", "--compute", "exact")[1]
    for compute in ("int8", "exact"):
        for weights, said in (("packed", "packed for matmuls"), ("copied", "copied to the device"), ("mapped", "where the file is mapped")):
            code, out, err = run(*BASE, "-p", prompt, "-n", "24", "--compute", compute, "--weights", weights)
            check(code == 0 and out == want, f"{compute}, {weights}: {code} {out!r} {err}")
            check(said in err and f"{compute}: " in err and ("5 a layer" if compute == "int8" else "7 a layer") in err, f"{compute}, {weights}: the table says {err}")


def texts_of(out):
    """What --parallel printed, one text each."""
    return [part.split(b" ===\n", 1)[1].removesuffix(b"\n") for part in (b"\n" + out).split(b"\n=== ")[1:]]


def parallel():
    prompt = "A workspace is a set of packages"
    one = run(*BASE, "-p", prompt, "-n", "24")[1]
    for extra in ([], ["--no-graph"], ["--compute", "exact"], ["--weights", "packed"], ["--batch", "2"]):
        code, out, err = run(*BASE, "-p", prompt, "-n", "24", "--parallel", "3", *extra)
        check(code == 0 and texts_of(out) == [one] * 3, f"three sequences, {extra}: {code} {out!r} {err}")
    check("3 sequences" in err, f"the table does not say how many: {err}")
    # The texts end before the limit.
    ends = "You can’t use the #[should_panic]"
    check(texts_of(run(*BASE, "-p", ends, "-n", "120", "--parallel", "2")[1]) == [run(*BASE, "-p", ends, "-n", "120")[1]] * 2, "sequences that end")
    # Hot sequences part. The first draws what it draws alone, whatever the others do beside it.
    hot = [*BASE, "-p", "The", "-n", "32", "--temp", "1.5", "--top-k", "0", "--top-p", "1", "--min-p", "0", "--seed", "7", "--compute", "exact"]
    alone, texts = run(*hot)[1], texts_of(run(*hot, "--parallel", "4")[1])
    check(len(set(texts)) == 4 and texts[0] == alone, f"four sampled sequences: {texts}, alone {alone!r}")


def bench(folder):
    path = folder / "bench.json"
    code, out, err = run(*BASE, "--bench", "--bench-json", str(path))
    check(code == 0 and out == b"" and "tok/s" in err, f"--bench: {code} {err}")
    report = json.loads(path.read_text())
    check(report["backend"] == "cpu" and all(row["tokens_per_second"] > 0 for row in report["results"]), f"bench JSON: {report}")
    check({row["test"] for row in report["results"]} == {"prefill", "decode"}, "bench JSON lacks a test")
    check(report["graph_nodes"] == 6 * report["graph_nodes_per_layer"] + 3 and report["graph_nodes_per_layer"] == 5, f"launches: {report}")
    check(report["compute"] == "int8" and report["weights"] == "mapped", f"modes: {report}")
    code, out, err = run(*BASE, "--bench", "--bench-json", str(path), "--parallel", "4", "--ctx", "64")
    rows = json.loads(path.read_text())["results"] if code == 0 else []
    check(rows and all(row["sequences"] == (4 if row["test"] == "decode" else 1) for row in rows), f"--bench --parallel: {code} {rows} {err}")


with tempfile.TemporaryDirectory() as name:
    wrong_command_lines()
    failures_at_run_time(pathlib.Path(name))
    memory_is_planned(pathlib.Path(name))
    text_and_table(pathlib.Path(name))
    sampling()
    modes()
    parallel()
    bench(pathlib.Path(name))
print(f"{checks} checks, {failures} failed")
sys.exit(1 if failures or not checks else 0)
