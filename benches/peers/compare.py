#!/usr/bin/env python3
"""Other libraries beside `reflex-bench ops`: the same shapes, the same method, the same GPU, one run.

    python3 benches/peers/compare.py --bench PATH/reflex-bench --ours FILE.json --json OUT.json [--sm-count N]
        [--llama-backend-ops PATH/test-backend-ops] [--llama-bench PATH/llama-bench --model GGUF] [-- reflex-bench ops options]
    python3 benches/peers/compare.py --ours FILE.json ...

With --bench our side runs first and writes FILE.json, without it FILE.json is there. torch and FlashInfer are used where python can
import them. --llama-backend-ops adds llama.cpp's matmuls beside a run of ours with the same shapes and warm operands
(--ours-warm), --llama-bench its speed on a model beside that of `reflex-bench model` (--ours-model); with --bench these two run here
as well and are named after --ours. With --sm-count ours, torch and FlashInfer are limited by a green context; llama.cpp and what is
held against it are programs of their own and limited by MPS.

The ratio is their time over ours: above 1 we are faster. A peer that cannot do a row says so in its note.
Exit status: 0 done, 1 a file or program is not what it should be, 2 wrong usage or no usable GPU.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import subprocess
import sys

import llamacpp
import mps


class Refused(Exception):
    """Two sides that cannot be compared."""


COPIED = ("op", "name", "model", "shape", "dtype", "activations", "batch", "context", "sm_count")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=pathlib.Path, help="result file of reflex-bench ops")
    parser.add_argument("--bench", type=pathlib.Path, help="the reflex-bench that writes --ours first")
    parser.add_argument("--json", type=pathlib.Path, help="write the comparison")
    parser.add_argument("--op", default="", help="only these ops, separated by commas")
    parser.add_argument("--sm-count", type=int, help="SMs of all sides; without it as many as --ours was measured on")
    parser.add_argument("--seconds", type=float, default=0.15, help="how long each candidate is sampled")
    parser.add_argument("--llama-backend-ops", help="llama.cpp's test-backend-ops")
    parser.add_argument("--llama-dtypes", type=names, default=llamacpp.DTYPES, metavar="LIST",
                        help="of --llama-backend-ops, all of " + ",".join(llamacpp.DTYPES) + " without this option")
    parser.add_argument("--llama-rows", type=rows_wanted, default=llamacpp.ROWS, metavar="LIST",
                        help="of --llama-backend-ops, all of " + ",".join(map(str, llamacpp.ROWS)) + " without this option")
    parser.add_argument("--ours-warm", type=pathlib.Path, help="result file of reflex-bench ops --warm, for --llama-backend-ops")
    parser.add_argument("--llama-bench", help="llama.cpp's llama-bench")
    parser.add_argument("--model", help="GGUF file for --llama-bench")
    parser.add_argument("--ours-model", type=pathlib.Path, help="result file of reflex-bench model")
    parser.add_argument("rest", nargs="*", help="after --: options of reflex-bench ops")
    wanted = parser.parse_args()
    if wanted.bench:
        if not wanted.ours:
            parser.error("--bench needs --ours FILE, to write it")
        wanted.ours_warm = wanted.ours_warm or wanted.ours.with_name(wanted.ours.stem + "-warm.json")
        wanted.ours_model = wanted.ours_model or wanted.ours.with_name(wanted.ours.stem + "-model.json")
    elif wanted.rest:
        parser.error("options after -- are for --bench")
    if not wanted.ours and not (wanted.ours_model and wanted.llama_bench):
        parser.error("--ours FILE is needed, or --ours-model FILE with --llama-bench")
    if wanted.llama_bench and not (wanted.model and wanted.ours_model):
        parser.error("--llama-bench needs --model, and --bench or --ours-model")
    if wanted.llama_backend_ops and not (wanted.ours_warm and wanted.ours):
        parser.error("--llama-backend-ops needs --ours, and --bench or --ours-warm")
    if wanted.sm_count and not wanted.ours:
        parser.error("--sm-count needs --ours")
    return wanted


def names(text):
    out = text.upper().split(",")
    if not set(out) <= set(llamacpp.DTYPES):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(llamacpp.DTYPES)}")
    return out


def rows_wanted(text):
    out = [int(part) for part in text.split(",") if part.isdigit()]
    if not out or not set(out) <= set(llamacpp.ROWS):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(map(str, llamacpp.ROWS))}")
    return out


def run_bench(bench, words, limit=None):
    """Exit status of reflex-bench. Its table is not shown: the comparison has the same rows."""
    words = [str(word) for word in (bench, *words)]
    return subprocess.run(words, stdout=subprocess.DEVNULL, env=dict(os.environ, **(limit or {}))).returncode


def run_ops(wanted):
    words = ["ops", *wanted.rest, "--json", wanted.ours]
    words += ["--sm-count", wanted.sm_count] if wanted.sm_count else []
    status = run_bench(wanted.bench, words + (["--op", wanted.op] if wanted.op else []))
    if status != 0:
        sys.exit(status)


def run_beside_llama(wanted, words, limit):
    status = run_bench(wanted.bench, words, limit)
    if status != 0:
        raise llamacpp.PeerError(f"reflex-bench {words[0]}, for the comparison with llama.cpp, ended with status {status}")


def load(path, kind):
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"compare.py: {path}: {error}")
    if report.get("schema") != "reflex-bench/1" or report.get("kind") != kind:
        sys.exit(f"compare.py: {path} is no result file of reflex-bench {kind}")
    return report


def smi(*fields):
    try:
        text = subprocess.run(["nvidia-smi", "-i", "0", "--query-gpu=" + ",".join(fields), "--format=csv,noheader,nounits"],
                              capture_output=True, text=True, check=True).stdout
        return [value.strip() for value in text.splitlines()[0].split(",")]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ["unknown"] * len(fields)


def environment(ours, peers):
    """Ours, with what can have changed since read anew."""
    out = dict(ours["environment"])
    gpu, driver, clock, memory, temperature, power = smi(
        "name", "driver_version", "clocks.sm", "clocks.mem", "temperature.gpu", "power.draw")
    if gpu not in ("unknown", out["gpu"]):
        sys.exit(f"compare.py: --ours was measured on {out['gpu']}, this is {gpu}")

    def number(text):
        try:
            return float(text)
        except ValueError:
            return "unknown"

    out.update(driver=driver if driver != "unknown" else out["driver"], temperature_c=number(temperature),
               power_w=number(power), peers=peers,
               time=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
    if number(clock) != "unknown":
        out["clocks"] = dict(out["clocks"], sm_mhz=number(clock), memory_mhz=number(memory), source="nvml")
    return out


def shape_text(row):
    return " ".join(f"{name}={size}" for name, size in row["shape"].items())


def compare_with_torch(wanted, ours, rows):
    """Rows of results of torch and FlashInfer; their versions."""
    try:
        import torch
    except ImportError:
        print("torch cannot be imported: neither it nor FlashInfer is compared", file=sys.stderr)
        return [], {}
    if not torch.cuda.is_available():
        print("compare.py: cannot compare without a GPU that torch can use", file=sys.stderr)
        sys.exit(2)
    count = ours["environment"]["sm_count"]
    torch.cuda.init()
    if count != ours["environment"]["device_sm_count"]:
        import green

        got = green.limit_sms(count)
        if got != count:
            raise Refused(f"the driver gives {got} SMs, --ours was measured on {count}")
    import candidates
    import timing

    cold = not rows or not rows[0]["cache"].startswith("warm")
    bench = timing.Bench(cold=cold, seconds=wanted.seconds)
    ceiling = (ours.get("ceiling") or {}).get("read_gb_s")
    if count != ours["environment"]["device_sm_count"] and ceiling:
        # torch may have gone back to the device's own context.
        read = bench.read_gb_s()
        if read > 1.3 * ceiling:
            raise Refused(f"torch does not keep to {count} SMs (it reads {read:.0f} GB/s, they can read {ceiling:.0f}); "
                          "limit both sides by MPS instead")
    out = []
    for number, row in enumerate(rows, 1):
        for peer, note, set_bytes, make in candidates.candidates(row):
            print(f"\r\033[K[{number}/{len(rows)}] {row['op']} {row['name']} {shape_text(row)} {peer}", end="",
                  file=sys.stderr, flush=True)
            result = {name: row[name] for name in COPIED}
            result.update(peer=peer, note=note, ours_us=row["us"])
            try:
                result.update(bench.measure(make, set_bytes), bytes=set_bytes)
                result["gb_s"] = set_bytes / result["us"] / 1e3
                result["tflop_s"] = row["flops"] / result["us"] / 1e6
                result["ratio"] = result["us"] / row["us"]
            except Exception as error:  # whatever a peer raises is its result
                result["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                torch.cuda.synchronize()
            out.append(result)
    print("\r\033[K", end="", file=sys.stderr)
    return out, candidates.versions()


def check_limit(report, path, count):
    """MPS that limits nothing, or to another share, would go unnoticed."""
    if report["environment"]["sm_count"] != count:
        raise Refused(f"{path} was measured on {report['environment']['sm_count']} SMs, --ours on {count}")


def compare_matmuls(wanted, count, limit):
    if wanted.bench:
        words = ["ops", "--op", "matmul", "--warm", "--json", wanted.ours_warm]
        for rows in wanted.llama_rows:
            words += ["--shapes", f"{rows},{llamacpp.OUTPUTS},{llamacpp.INPUTS}"]
        run_beside_llama(wanted, words, limit)
    ours = load(wanted.ours_warm, "ops")
    check_limit(ours, wanted.ours_warm, count)
    found = {(row["dtype"], *(row["shape"][name] for name in "mnk")): row
             for row in ours["results"] if row["op"] == "matmul" and "us" in row}
    out = []
    theirs = llamacpp.matmuls(wanted.llama_backend_ops, wanted.llama_rows, wanted.llama_dtypes, limit)
    for (dtype, m), measured in sorted(theirs.items()):
        shape = {"m": m, "n": llamacpp.OUTPUTS, "k": llamacpp.INPUTS}
        us = measured["us"]
        result = {"op": "matmul", "name": "shape", "model": "", "shape": shape, "dtype": dtype, "activations": "F32", "batch": m,
                  "context": 0, "sm_count": count, "peer": "llama.cpp test-backend-ops",
                  "note": "operands stay in L2 where they fit" + limit_text(limit), **measured,
                  "cache": "warm", "gb_s": measured["bytes"] / us / 1e3, "tflop_s": 2 * m * shape["n"] * shape["k"] / us / 1e6}
        row = found.get((dtype, m, shape["n"], shape["k"]))
        if row:
            result.update(ours_us=row["us"], ours_cache=row["cache"], ratio=us / row["us"])
        else:
            result["note"] += "; not measured of ours"
        out.append(result)
    return out


def compare_model(wanted, count, limit):
    if wanted.bench:
        run_beside_llama(wanted, ["model", wanted.model, "--json", wanted.ours_model], limit)
    ours = load(wanted.ours_model, "model")
    if count:
        check_limit(ours, wanted.ours_model, count)
    # llama-bench decodes one sequence.
    rows = {(row["name"], row["shape"]["tokens"], row["shape"]["depth"]): row
            for row in reversed(ours["results"]) if row["name"] != "decode" or row["batch"] == 1}
    prompts = sorted({tokens for name, tokens, _ in rows if name == "prefill"})
    decodes = [(tokens, depth) for name, tokens, depth in rows if name == "decode"]
    theirs = llamacpp.model(wanted.llama_bench, wanted.model, prompts, [], 0, limit)
    for steps in sorted({tokens for tokens, _ in decodes}):
        depths = sorted(depth for tokens, depth in decodes if tokens == steps)
        theirs += llamacpp.model(wanted.llama_bench, wanted.model, [], depths, steps, limit)
    out = []
    for name, tokens, depth, rate, deviation in theirs:
        row = rows.get((name, tokens, depth))
        if row is None:
            continue
        out.append({
            "op": "model", "name": name, "model": row["model"], "shape": row["shape"], "dtype": row["dtype"],
            "batch": row["batch"], "context": row["context"], "sm_count": ours["environment"]["sm_count"],
            "peer": "llama.cpp llama-bench", "note": "mean, ours median" + limit_text(limit),
            "tokens_per_second": rate, "standard_deviation": deviation,
            "ours_tokens_per_second": row["tokens_per_second"], "ratio": row["tokens_per_second"] / rate,
        })
    return ours, out


def limit_text(limit):
    return f"; both sides on MPS {limit['CUDA_MPS_ACTIVE_THREAD_PERCENTAGE']}%" if limit else ""


def compare_with_llama(wanted, ours, failures):
    """Rows of results of llama.cpp's programs, the report of our model, and versions. What fails costs no other result."""
    results, model, versions, count, device = [], None, {"llama.cpp": "unknown"}, None, None
    if ours:
        count, device = ours["environment"]["sm_count"], ours["environment"]["device_sm_count"]
    with told(failures), mps.limited(count, device) as limit:
        if wanted.llama_backend_ops:
            with told(failures):
                results += compare_matmuls(wanted, count, limit)
        if wanted.llama_bench:
            with told(failures):
                versions["llama.cpp"] = llamacpp.version(wanted.llama_bench)
                model, rows = compare_model(wanted, count, limit)
                results += rows
    return results, model, versions


@contextlib.contextmanager
def told(failures):
    try:
        yield
    except (llamacpp.PeerError, mps.MpsError, Refused) as error:
        failures.append(str(error))


def table(results):
    lines = [("op", "of", "shape", "dtype", "peer", "ours", "theirs", "ratio", "note")]
    for r in results:
        if "error" in r:
            ours, theirs, ratio, note = f"{r['ours_us']:.2f} us", "-", "-", r["error"]
        elif "us" in r:
            ours = f"{r['ours_us']:.2f} us" if "ratio" in r else "-"
            theirs, ratio, note = f"{r['us']:.2f} us", f"{r['ratio']:.2f}" if "ratio" in r else "-", r["note"]
        else:
            ours, theirs = f"{r['ours_tokens_per_second']:.4g} tok/s", f"{r['tokens_per_second']:.4g} tok/s"
            ratio, note = f"{r['ratio']:.2f}", r["note"]
        lines.append((r["op"], r["name"], shape_text(r), r["dtype"], r["peer"], ours, theirs, ratio, note))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    right = {5, 6, 7}
    for line in lines:
        cells = (c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths)))
        print("  ".join(cells).rstrip())


def main():
    wanted = arguments()
    results, peers, ours, failures = [], {}, None, []
    if wanted.ours:
        if wanted.bench:
            run_ops(wanted)
        ours = load(wanted.ours, "ops")
        if wanted.sm_count not in (None, ours["environment"]["sm_count"]):
            sys.exit(f"compare.py: --sm-count {wanted.sm_count}, but --ours was measured on {ours['environment']['sm_count']} SMs")
    # Programs of their own first: torch keeps a context on the GPU until this one ends.
    llama, model, versions = [], None, {}
    if wanted.llama_backend_ops or wanted.llama_bench:
        llama, model, versions = compare_with_llama(wanted, ours, failures)
    if ours:
        ops = set(filter(None, wanted.op.split(",")))
        rows = [row for row in ours["results"] if "us" in row and (not ops or row["op"] in ops)]
        with told(failures):
            results, peers = compare_with_torch(wanted, ours, rows)
    results += llama
    table(results)
    if wanted.json and (ours or model):
        report = {"schema": "reflex-bench/1", "kind": "peers", "environment": environment(ours or model, {**peers, **versions})}
        text = json.dumps(report, indent=2)[:-2] + ',\n  "results": [\n'
        text += ",\n".join("    " + json.dumps(result) for result in results) + "\n  ]\n}\n"
        wanted.json.write_text(text, encoding="utf-8")
    for failure in failures:
        print(f"compare.py: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
