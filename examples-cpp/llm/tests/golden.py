#!/usr/bin/env python3
"""Checks reflex-llm against golden texts and perplexities. Needs nothing but Python 3.

    golden.py --program bin/reflex-llm [--models DIR] [--architectures DIR] [--backend auto|cuda|cpu] [--device N] [--compute int8|exact]
              [--weights auto|packed|copied|mapped] [--graph | --no-graph] [--perplexity]

--models: every *.gguf in DIR is a file of the fixture model and has to reproduce every case of DIR/golden.json exactly, greedily. With --perplexity it
also has to be within 0.5% of what llama.cpp gives for its type on DIR/parity.txt; with --compute int8 within 1%, in batches of 64 tokens, the largest
that are computed in integers.
--architectures: the small models of DIR/arch_golden.json (tools/gen_arch_golden.py) have to give the texts that it holds, and with --compute exact
the perplexities, which were computed in f64, within 0.3%: the cache is f16.
Exits with 0 when all agree, 1 when one does not or there was nothing to check.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

PREDICT = 96
PERPLEXITY = {"f16": 3.7065, "q8_0": 3.7055, "q4_k_m": 3.7378}
TOLERANCE = {"exact": 0.005, "int8": 0.01}
BATCH = {"exact": [], "int8": ["--batch", "64"]}


def run(command):
    done = subprocess.run(command, capture_output=True, timeout=600)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def check_text(command, prompt, predict, want):
    status, out, err = run(command + ["--prompt", prompt, "--n-predict", str(predict)])
    if status != 0:
        return f"exit status {status}: {err.strip().splitlines()[-1:]}"
    if out != want:
        at = next((i for i, (a, b) in enumerate(zip(out, want)) if a != b), min(len(out), len(want)))
        return f"differs at byte {at}: got {out[at:at + 40]!r}, expected {want[at:at + 40]!r}"
    return None


def check_perplexity(command, text, expected, tolerance):
    status, out, err = run(command + ["--perplexity", str(text)])
    if status != 0:
        return f"exit status {status}: {err.strip().splitlines()[-1:]}"
    got = float(out)
    return None if abs(got / expected - 1) <= tolerance else f"got {got}, expected {expected} within {tolerance:.1%}"


def fixture_checks(args, command):
    """(model, check, problem or None) for every file of the fixture model."""
    cases = json.loads((args.models / "golden.json").read_text(encoding="utf-8"))["cases"]
    for model in sorted(args.models.glob("*.gguf")):
        run_model = command + ["--model", str(model)]
        for i, case in enumerate(cases):
            yield model.name, f"case {i} {case['prompt'][:40]!r}", check_text(run_model, case["prompt"], PREDICT, case["text"].encode())
        if args.perplexity:
            expected = next(value for kind, value in PERPLEXITY.items() if kind in model.name)
            yield model.name, "perplexity", check_perplexity(run_model + BATCH[args.compute], args.models / "parity.txt", expected, TOLERANCE[args.compute])


def architecture_checks(args, command):
    for case in json.loads((args.architectures / "arch_golden.json").read_text(encoding="utf-8")):
        run_model = command + ["--model", str(args.architectures / case["model"])]
        want = bytes.fromhex(case["text_hex"])
        yield case["model"], "text", check_text(run_model, case["prompt"], case["predict"], want)
        thrice = b"".join(b"=== %d of 3 ===\n%s\n" % (i, want) for i in (1, 2, 3))
        yield case["model"], "three sequences", check_text(run_model + ["--parallel", "3"], case["prompt"], case["predict"], thrice)
        yield case["model"], "text in batches of 5", check_text(run_model + ["--batch", "5"], case["prompt"], case["predict"], want)
        if args.compute == "exact":
            with tempfile.TemporaryDirectory() as folder:
                text = pathlib.Path(folder) / "scored.txt"
                text.write_text(case["scored"])
                yield case["model"], "perplexity", check_perplexity(run_model, text, case["perplexity"], 0.003)
                yield case["model"], "perplexity in batches of 7", check_perplexity(run_model + ["--batch", "7"], text, case["perplexity"], 0.003)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--models", type=pathlib.Path)
    parser.add_argument("--architectures", type=pathlib.Path)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--device", default="0")
    parser.add_argument("--compute", default="int8", choices=TOLERANCE)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--perplexity", action="store_true")
    graph = parser.add_mutually_exclusive_group()
    graph.add_argument("--graph", action="store_true")
    graph.add_argument("--no-graph", action="store_true")
    args = parser.parse_args()

    command = [args.program, "--backend", args.backend, "--device", args.device, "--compute", args.compute, "--weights", args.weights] + (["--no-graph"] if args.no_graph else [])
    results = list(fixture_checks(args, command)) if args.models else []
    results += list(architecture_checks(args, command)) if args.architectures else []
    for model, check, problem in results:
        if problem:
            print(f"{model}: {check}: {problem}")
    for name in dict.fromkeys(model for model, _, _ in results):
        problems = [problem for model, _, problem in results if model == name]
        print(f"{name}: {problems.count(None)} of {len(problems)} agree")
    if not results:
        print("nothing to check")
    return 0 if results and all(problem is None for _, _, problem in results) else 1


sys.exit(main())
