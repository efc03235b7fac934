#!/usr/bin/env python3
"""Charts of result files: plot.py [--results FOLDER] [--out FOLDER]. Refuses files that check_results.py refuses.

For each GPU and number of SMs: a roofline, what part of the read ceiling each op reaches at batch 1, and ours beside the peers, a
chart for each file; bytes per clock and SM of the batch-1 matmuls on some SMs, and the speed of models by context.
"""

import argparse
import collections
import itertools
import pathlib
import re
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from check_results import check, result_files

DTYPES = ["Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "F16", "BF16", "F32",
          "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "IQ4_NL", "IQ4_XS", "MXFP4"]
COLOURS = dict(zip(DTYPES, plt.get_cmap("tab10").colors + plt.get_cmap("Dark2").colors))
OURS, WINS, LOSES, GREY = "#3b6ea5", "#4c9a5b", "#c0504d", "#888888"
# Orin Nano Super: 102 GB/s over 8 SMs at 1.02 GHz. Below this a kernel is bound by instructions there, not by memory.
ORIN_BYTES_PER_CLOCK_SM = 12.5


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def device(environment):
    return f"{environment['gpu']}, {environment['sm_count']} SMs"


def caption(figure, environment, more=""):
    clocks = environment["clocks"]
    text = (f"{device(environment)}, driver {environment['driver']}, {environment['toolkit']}, "
            f"{environment['arch']} of {environment.get('archs', '?')}, {clocks['sm_mhz']:.0f}/{clocks['memory_mhz']:.0f} MHz, "
            f"{environment['power_mode']}, {environment['temperature_c']:.0f} °C, commit {environment['commit'][:10]}{more}")
    figure.text(0.01, 0.005, text, fontsize=6, color=GREY)


def save(figure, folder, environment, *parts):
    names = map(slug, (environment["gpu"], *parts, f"{environment['sm_count']} SMs"))
    path = folder / ("-".join(filter(None, names)) + ".png")
    figure.savefig(path, dpi=130)
    plt.close(figure)
    print(path)


def label(row):
    sizes = row["shape"]
    if row["op"] == "matmul":
        return f"matmul {row['name']} {sizes['n']}x{sizes['k']} m={sizes['m']} {row['dtype']}"
    if row["op"] == "attention_decode":
        return f"attention_decode {sizes['keys']} keys"
    if row["op"] == "attention":
        return f"attention {sizes['tokens']} of {sizes['keys']}"
    if row["op"] == "model":
        return f"{row['name']} of {sizes['tokens']} at {sizes['depth']} {row['dtype']}"
    return f"{row['op']} {row['name']} {row['dtype']} x{row['batch']}"


def bars(title, axis_title, names, values, colours, marks=(), base=0):
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.19 * len(names)))
    places = range(len(names))
    axes.barh(places, [value - base for value in values], left=base, color=colours, height=0.75)
    axes.set_yticks(places, names, fontsize=6)
    axes.set_xlabel(axis_title, fontsize=8)
    axes.set_title(title, fontsize=10)
    axes.set_ylim(len(names) + 0.3, -0.7)
    for at, text in marks:
        axes.axvline(at, color="black", linewidth=0.8, linestyle="--")
        axes.text(at, len(names) - 0.4, f" {text}", fontsize=6, va="top")
    for place, value in zip(places, values):
        axes.text(value, place, f" {value:.3g}", fontsize=5.5, va="center")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    return figure


def measured(report):
    return [row for row in report["results"] if row.get("us")]


def roofline(report, folder):
    environment, read = report["environment"], report["ceiling"]["read_gb_s"]
    rows = [row for row in measured(report) if row["flops"] > 0]
    if not rows:
        return
    figure, axes = plt.subplots(figsize=(8, 5.5))
    intensity = [row["flops"] / row["bytes"] for row in rows]
    span = [min(intensity) / 2, max(intensity) * 2]
    axes.plot(span, [x * read / 1e3 for x in span], color="black", linewidth=1,
              label=f"read ceiling, {read:.0f} GB/s measured")
    for op, marker in (("matmul", "o"), ("attention_decode", "s"), ("attention", "^")):
        for dtype in DTYPES:
            chosen = [row for row in rows if row["op"] == op and row["dtype"] == dtype]
            if chosen:
                axes.scatter([row["flops"] / row["bytes"] for row in chosen], [row["tflop_s"] for row in chosen], s=18,
                             marker=marker, color=COLOURS[dtype], label=f"{op} {dtype}", alpha=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(top=2 * max(row["tflop_s"] for row in rows))
    axes.set_xlabel("FLOP per byte")
    axes.set_ylabel("TFLOP/s")
    axes.set_title(f"Roofline: {device(environment)}", fontsize=10)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=6, loc="upper left", ncols=2)
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    caption(figure, environment)
    save(figure, folder, environment, "roofline")


def ceiling_fractions(report, folder):
    environment = report["environment"]
    rows = [row for row in measured(report) if row["batch"] == 1 and row.get("read_ceiling_fraction")
            and row["op"] in ("matmul", "attention_decode", "argmax")]
    if not rows:
        return
    figure = bars(f"Batch 1, part of the read ceiling: {device(environment)}",
                  "percent of the measured read ceiling", [label(row) for row in rows],
                  [100 * row["read_ceiling_fraction"] for row in rows], [COLOURS.get(row["dtype"], OURS) for row in rows])
    caption(figure, environment, f", {rows[0]['cache'].split()[0]}")
    save(figure, folder, environment, "batch-1")


def bytes_per_clock(reports, folder):
    for report in reports:
        environment = report["environment"]
        rows = [row for row in measured(report)
                if row["op"] == "matmul" and row["batch"] == 1 and row.get("bytes_per_clock_sm")]
        if not rows or environment["sm_count"] == environment["device_sm_count"]:
            continue
        figure = bars(f"Edge simulation, batch-1 matmuls on {environment['sm_count']} SMs of {environment['gpu']}: a projection",
                      "bytes per clock and SM", [label(row) for row in rows], [row["bytes_per_clock_sm"] for row in rows],
                      [COLOURS.get(row["dtype"], OURS) for row in rows],
                      [(ORIN_BYTES_PER_CLOCK_SM, "all that Orin Nano Super's memory gives")])
        caption(figure, environment)
        save(figure, folder, environment, "bytes-per-clock")


def peers(path, report, folder):
    environment = report["environment"]
    rows = [row for row in report["results"] if row.get("ratio")]
    if not rows:
        return
    figure = bars(f"Peers' time over ours: {device(environment)}",
                  "above 1 we are faster", [f"{label(row)} | {row['peer']}" for row in rows], [row["ratio"] for row in rows],
                  [WINS if row["ratio"] >= 1 else LOSES for row in rows], [(1, "equal")], base=1)
    axis = figure.axes[0]
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:g}")
    caption(figure, environment)
    # What sets the file apart: `peers-llamacpp-8sm` is of llama.cpp.
    of = re.sub(r"^peers|-\d+sm$", "", path.stem)
    save(figure, folder, environment, "peers", of)


def models(reports, folder):
    for report in reports:
        environment = report["environment"]
        decode = [row for row in report["results"] if row["name"] == "decode"]
        if not decode:
            continue
        figure, axes = plt.subplots(figsize=(7, 4))
        batches = sorted({row["batch"] for row in decode})
        for batch, style in zip(batches, itertools.cycle(("-", "--", ":"))):
            line = [row for row in decode if row["batch"] == batch]
            depths = [row["shape"]["depth"] for row in line]
            rates = [row["tokens_per_second"] for row in line]
            axes.errorbar(depths, rates, marker="o", linestyle=style, color=OURS, capsize=3,
                          label=f"{batch} sequence" + ("s" if batch > 1 else ""),
                          yerr=[[max(0, rate - row["slowest"]) for rate, row in zip(rates, line)],
                                [max(0, row["fastest"] - rate) for rate, row in zip(rates, line)]])
            for row, depth, rate in zip(line, depths, rates):
                joules = row.get("joules_per_token")
                axes.annotate(f"{rate:.0f} tok/s" + (f"\n{joules:.2f} J/token" if joules else ""), (depth, rate), fontsize=7)
        if len(batches) > 1:
            axes.legend(fontsize=8)
        axes.set_xlabel("tokens in the cache")
        axes.set_ylabel("decode, tok/s")
        axes.set_ylim(bottom=0)
        axes.set_title(": ".join(filter(None, (decode[0]["model"], device(environment)))), fontsize=10)
        axes.grid(True, alpha=0.3)
        figure.tight_layout(rect=(0, 0.02, 1, 1))
        caption(figure, environment)
        save(figure, folder, environment, "model", decode[0]["model"])


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=pathlib.Path, default=root / "benches/results")
    parser.add_argument("--out", type=pathlib.Path, default=root / "docs/images")
    wanted = parser.parse_args()
    by_kind, refused = collections.defaultdict(list), 0
    for path in result_files([wanted.results]):
        report, faults = check(path)
        for fault in faults:
            print(f"{path}: refused: {fault}", file=sys.stderr)
        refused += bool(faults)
        if not faults:
            by_kind[report["kind"]].append((path, report))
    if not any(by_kind.values()):
        print(f"plot.py: no usable result file under {wanted.results}", file=sys.stderr)
        return 1
    wanted.out.mkdir(parents=True, exist_ok=True)
    ops = [report for _, report in by_kind["ops"]]
    for report in ops:
        roofline(report, wanted.out)
        ceiling_fractions(report, wanted.out)
    bytes_per_clock(ops, wanted.out)
    for path, report in by_kind["peers"]:
        peers(path, report, wanted.out)
    models([report for _, report in by_kind["model"]], wanted.out)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
