#!/usr/bin/env python3
"""Other libraries beside a result file of `reflex-bench ops`: the same shapes, the same method, the same GPU.

    python3 benches/peers/compare.py --ours FILE.json [--json OUT.json] [--op NAME,...] [--sm-count N]
    python3 benches/peers/compare.py --bench PATH/reflex-bench --ours FILE.json -- [reflex-bench ops options]

With --bench our side runs first and writes FILE.json: both sides in one run. torch and FlashInfer are used where python can import
them. --llama-backend-ops PROGRAM adds llama.cpp's matmuls (its own shapes, operands in L2), --llama-bench PROGRAM --model GGUF
--ours-model FILE.json its speed on a model beside that of `reflex-bench model --json FILE.json`.

The ratio is their time over ours: above 1 we are faster. A peer that cannot do a row says so in its note.
Exit status: 0 done, 1 a file or program is not what it should be, 2 wrong usage or no usable GPU.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys

import llamacpp

COPIED = ("op", "name", "model", "shape", "dtype", "activations", "batch", "context", "sm_count")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=pathlib.Path, help="result file of reflex-bench ops")
    parser.add_argument("--bench", type=pathlib.Path, help="the reflex-bench that writes --ours first")
    parser.add_argument("--json", type=pathlib.Path, help="write the comparison")
    parser.add_argument("--op", default="", help="only these ops, separated by commas")
    parser.add_argument("--sm-count", type=int, help="SMs of both sides; without it as many as --ours was measured on")
    parser.add_argument("--seconds", type=float, default=0.15, help="how long each candidate is sampled")
    parser.add_argument("--llama-backend-ops", help="llama.cpp's test-backend-ops")
    parser.add_argument("--llama-bench", help="llama.cpp's llama-bench")
    parser.add_argument("--model", help="GGUF file for --llama-bench")
    parser.add_argument("--ours-model", type=pathlib.Path, help="result file of reflex-bench model")
    parser.add_argument("rest", nargs="*", help="after --: options of reflex-bench ops")
    wanted = parser.parse_args()
    if not wanted.ours and not wanted.ours_model:
        parser.error("--ours FILE or --ours-model FILE is needed")
    if wanted.llama_bench and not (wanted.model and wanted.ours_model):
        parser.error("--llama-bench needs --model and --ours-model")
    if wanted.rest and not wanted.bench:
        parser.error("options after -- are for --bench")
    return wanted


def run_ours(wanted):
    words = [wanted.bench, "ops", *wanted.rest, "--json", wanted.ours]
    if wanted.sm_count:
        words += ["--sm-count", str(wanted.sm_count)]
    if wanted.op:
        words += ["--op", wanted.op]
    status = subprocess.run([str(word) for word in words], stdout=subprocess.DEVNULL).returncode
    if status != 0:
        sys.exit(status)


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
    if wanted.sm_count not in (None, count):
        sys.exit(f"compare.py: --sm-count {wanted.sm_count}, but --ours was measured on {count} SMs")
    torch.cuda.init()
    if count != ours["environment"]["device_sm_count"]:
        import green

        got = green.limit_sms(count)
        if got != count:
            sys.exit(f"compare.py: the driver gives {got} SMs, --ours was measured on {count}")
    import candidates
    import timing

    cold = not rows or not rows[0]["cache"].startswith("warm")
    bench = timing.Bench(cold=cold, seconds=wanted.seconds)
    ceiling = (ours.get("ceiling") or {}).get("read_gb_s")
    if count != ours["environment"]["device_sm_count"] and ceiling:
        # torch may have gone back to the device's own context.
        read = bench.read_gb_s()
        if read > 1.3 * ceiling:
            sys.exit(f"compare.py: torch does not keep to {count} SMs (it reads {read:.0f} GB/s, they can read {ceiling:.0f}); "
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


def compare_matmuls(program, rows):
    theirs = llamacpp.matmuls(program)
    out = []
    for row in rows:
        if row["op"] != "matmul":
            continue
        us = theirs.get((row["dtype"], row["shape"]["m"], row["shape"]["n"], row["shape"]["k"]))
        if us is None:
            continue
        result = {name: row[name] for name in COPIED}
        result.update(peer="llama.cpp test-backend-ops", note="operands may stay in L2; all SMs unless limited by MPS", us=us,
                      ours_us=row["us"], ratio=us / row["us"], cache="as test-backend-ops leaves it",
                      tflop_s=row["flops"] / us / 1e6)
        out.append(result)
    return out


def compare_model(wanted):
    ours = load(wanted.ours_model, "model")
    rows = {(row["name"], row["shape"]["tokens"], row["shape"]["depth"]): row for row in ours["results"]}
    prompts = sorted({key[1] for key in rows if key[0] == "prefill"})
    depths = sorted({key[2] for key in rows if key[0] == "decode"})
    out = []
    for name, tokens, depth, rate, deviation in llamacpp.model(wanted.llama_bench, wanted.model, prompts, depths):
        row = rows.get((name, tokens, depth))
        if row is None:
            continue
        out.append({
            "op": "model", "name": name, "model": row["model"], "shape": row["shape"], "dtype": row["dtype"],
            "batch": row["batch"], "context": row["context"], "peer": "llama.cpp llama-bench", "note": "mean",
            "tokens_per_second": rate, "standard_deviation": deviation,
            "ours_tokens_per_second": row["tokens_per_second"], "ratio": row["tokens_per_second"] / rate,
        })
    return ours, out


def table(results):
    lines = [("op", "of", "shape", "dtype", "peer", "ours", "theirs", "ratio", "note")]
    for r in results:
        if "error" in r:
            ours, theirs, ratio, note = f"{r['ours_us']:.2f} us", "-", "-", r["error"]
        elif "us" in r:
            ours, theirs, ratio, note = f"{r['ours_us']:.2f} us", f"{r['us']:.2f} us", f"{r['ratio']:.2f}", r["note"]
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
    results, peers, ours = [], {}, None
    if wanted.ours:
        if wanted.bench:
            run_ours(wanted)
        ours = load(wanted.ours, "ops")
        ops = set(filter(None, wanted.op.split(",")))
        rows = [row for row in ours["results"] if "us" in row and (not ops or row["op"] in ops)]
        results, peers = compare_with_torch(wanted, ours, rows)
        if wanted.llama_backend_ops:
            results += compare_matmuls(wanted.llama_backend_ops, rows)
    if wanted.llama_bench:
        model, rows = compare_model(wanted)
        results += rows
        ours = ours or model
    table(results)
    if wanted.json:
        report = {"schema": "reflex-bench/1", "kind": "peers", "environment": environment(ours, peers)}
        text = json.dumps(report, indent=2)[:-2] + ',\n  "results": [\n'
        text += ",\n".join("    " + json.dumps(result) for result in results) + "\n  ]\n}\n"
        wanted.json.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
