#!/usr/bin/env python3
"""Charts of result files (tables.py writes their tables): plot.py [--results FOLDER] [--out FOLDER]. Refuses files that check_results.py refuses.

For each GPU and number of SMs: the speed of models by context; ours beside the peers; on a part of a GPU's SMs the bytes per clock
and SM of matmuls of one row; on a whole GPU a roofline. What was measured several times is drawn once, as measured last. A chart
whose labels overlap or do not fit is an error.
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
from matplotlib.lines import Line2D

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))

from formats import formats
from labels import label_faults
from rows import day, days, device, label, model_name, model_title, newest, read

# Those that most models are stored in first.
USUAL = ["Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "F16", "BF16", "F32"]
DTYPES = USUAL + [form.name for form in formats() if form.name not in USUAL]
COLOURS = dict(zip(DTYPES, plt.get_cmap("tab10").colors + plt.get_cmap("Dark2").colors))
OURS, WINS, LOSES, GREY = "#3b6ea5", "#4c9a5b", "#c0504d", "#888888"
# Orin Nano Super: 102 GB/s over 8 SMs at 1.02 GHz. Below this a kernel is bound by instructions there, not by memory.
ORIN_BYTES_PER_CLOCK_SM = 12.5


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def models_of(rows):
    """", shapes of Qwen3-4B", where all rows are of one model's."""
    names = {row.get("model") for row in rows}
    return f", shapes of {model_title(names.pop())}" if len(names) == 1 and all(names) else ""


def caption(figure, environments):
    """How it was measured; where several files were, each with its commit and day."""
    environments = sorted(environments, key=lambda environment: environment["time"])
    first, clocks = environments[0], environments[0]["clocks"]
    lines = [f"{device(first)}, driver {first['driver']}, {first['toolkit']}, {first['power_mode']}"]
    if len(environments) == 1:
        lines[0] += (f", {first['arch']} of {first.get('archs', '?')}, {clocks['sm_mhz']:.0f}/{clocks['memory_mhz']:.0f} MHz, "
                     f"{first['temperature_c']:.0f} °C, commit {first['commit'][:10]}")
    else:
        runs = {f"{day(environment)}: commit {environment['commit'][:10]}, {environment.get('archs', '?')}": None
                for environment in environments}
        lines += runs
    figure.text(0.01, 0.005, "\n".join(lines), fontsize=6, color=GREY, va="bottom")
    return 0.1 + 0.105 * len(lines)


def finish(figure, folder, environments, *parts):
    """Lays the figure out above its caption, and saves it where no label is on another or beyond the frame."""
    inches = caption(figure, environments)
    figure.tight_layout(rect=(0, inches / figure.get_figheight(), 1, 1))
    environment = environments[0]
    names = map(slug, (environment["gpu"], *parts, f"{environment['sm_count']} SMs"))
    path = folder / ("-".join(filter(None, names)) + ".png")
    faults = label_faults(figure)
    if faults:
        raise ValueError(f"{path.name}: " + "; ".join(faults))
    figure.savefig(path, dpi=130)
    plt.close(figure)
    print(path)
    return path


def colour(row):
    return COLOURS.get(row["dtype"].removesuffix("_PACKED"), OURS)


def peer_label(row):
    """Ours, and the peer with what it takes, which may be other types."""
    note = row.get("note", "") if row["op"] != "model" else ""
    return f"{label(row)} | {row['peer']}" + (f", {note}" if note else "")


def environments_of(pairs):
    return list({id(report): report["environment"] for _, report in pairs}.values())


def bars(title, axis_title, names, values, colours, base=0):
    """Horizontal bars from `base`, each with its value beyond its end."""
    assert len(set(names)) == len(names), f"{title}: a row is there twice"
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.19 * len(names)))
    places = range(len(names))
    axes.barh(places, [value - base for value in values], left=base, color=colours, height=0.75)
    axes.set_yticks(places, names, fontsize=6)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel(axis_title, fontsize=8)
    axes.set_title(title, fontsize=9)
    axes.set_ylim(len(names) + 0.6, -0.9)
    for place, value in zip(places, values):
        left = value < base
        axes.annotate(f"{value:.3g}", (value, place), (-2 if left else 2, 0), textcoords="offset points", fontsize=5.5,
                      va="center", ha="right" if left else "left",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4})
    return figure, axes


def mark(axes, at, text):
    """A line across all bars, with a word at its foot, below the last bar."""
    axes.axvline(at, color="black", linewidth=0.8, linestyle="--")
    axes.annotate(text, (at, axes.get_ylim()[0]), (3, 2), textcoords="offset points", fontsize=6, va="bottom")


def measured(pairs):
    return [(row, report) for row, report in pairs if row.get("us")]


def roofline(reports, read, folder):
    """Ops of a whole GPU: operations a second over operations a byte. The marker is the op, the colour the type."""
    pairs = [(row, report) for row, report in measured(newest(reports)) if row["flops"] > 0]
    if not pairs:
        return
    environments = environments_of(pairs)
    markers = {"matmul, exact": "o", "matmul, int8, packed": "D", "matmul, int8, native": "d", "attention_decode": "s",
               "attention": "^"}

    def kind(row):
        if row["op"] != "matmul":
            return row["op"]
        layout = "packed" if row["dtype"].endswith("_PACKED") else "native"
        return "matmul, int8, " + layout if row.get("compute") == "int8" else "matmul, exact"

    figure, axes = plt.subplots(figsize=(9, 5.5))
    span = [min(row["flops"] / row["bytes"] for row, _ in pairs) / 2, max(row["flops"] / row["bytes"] for row, _ in pairs) * 2]
    axes.plot(span, [x * read / 1e3 for x in span], color="black", linewidth=1)
    groups = collections.defaultdict(list)
    for row, _ in pairs:
        name = row["dtype"].removesuffix("_PACKED")
        groups[kind(row), name if name in COLOURS else "several types"].append(row)
    for (of, name), rows in groups.items():
        axes.scatter([row["flops"] / row["bytes"] for row in rows], [row["tflop_s"] for row in rows], s=16, marker=markers[of],
                     color=COLOURS.get(name, OURS), alpha=0.7)
    used, types = ({key[i] for key in groups} for i in (0, 1))
    handles = [Line2D([], [], color="black", linewidth=1, label=f"read ceiling, {read:.0f} GB/s measured")]
    handles += [Line2D([], [], color="black", marker=marker, linestyle="", markersize=5, label=name)
                for name, marker in markers.items() if name in used]
    handles += [Line2D([], [], color=COLOURS.get(name, OURS), marker="s", linestyle="", markersize=5, label=name)
                for name in (*DTYPES, "several types") if name in types]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(top=2 * max(row["tflop_s"] for row, _ in pairs))
    axes.tick_params(labelsize=8)
    axes.set_xlabel("operations for each byte of memory (FLOP per byte, log scale)", fontsize=8)
    axes.set_ylabel("TFLOP/s (log scale)", fontsize=8)
    axes.set_title(f"Roofline of ops: {device(environments[0])}, {days(environments)}", fontsize=9)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(handles=handles, fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    finish(figure, folder, environments, "roofline")


def bytes_per_clock(reports, folder):
    """Matmuls of one row on a part of a GPU's SMs: of int8 products where they were measured, as decode uses them."""
    pairs = [(row, report) for row, report in measured(newest(reports))
             if row["op"] == "matmul" and row["batch"] == 1 and row.get("bytes_per_clock_sm")]
    pairs = [pair for pair in pairs if pair[0].get("compute") == "int8"] or pairs
    if not pairs:
        return
    environments = environments_of(pairs)
    products = "int8 products" if pairs[0][0].get("compute") == "int8" else "exact products"
    rows = [row for row, _ in pairs]
    # The same shape together, its types in order, packed before native.
    rows.sort(key=lambda row: (row["name"] != "shape", row["name"], row["shape"]["n"], row["shape"]["k"],
                               "_PACKED" not in row["dtype"], row["dtype"]))
    figure, axes = bars(
        f"Matmul of one row, {products}, on {environments[0]['sm_count']} SMs of {environments[0]['gpu']}: a projection, {days(environments)}",
        "bytes of weights per clock and SM", [label(row).replace(", 1 row,", ",") for row in rows],
        [row["bytes_per_clock_sm"] for row in rows], [colour(row) for row in rows])
    axes.set_xlim(right=1.08 * max(row["bytes_per_clock_sm"] for row in rows))
    mark(axes, ORIN_BYTES_PER_CLOCK_SM, "all that Orin Nano Super's memory gives")
    finish(figure, folder, environments, "bytes-per-clock")


def peer_names(rows):
    """"torch and FlashInfer": the programs, without the function of theirs that was measured."""
    names = list(dict.fromkeys(row["peer"].split()[0] for row in rows))
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def model_of(row, report, models):
    """Name of the model that a row is of: its file may have none, then that of the model's own file with the same figure."""
    if row["model"]:
        return row["model"]
    same = [name for name, other in models for theirs in other["results"]
            if other["environment"]["commit"] == report["environment"]["commit"]
            and theirs["tokens_per_second"] == row["ours_tokens_per_second"]]
    return same[0] if same else ""


def peers(path, report, pairs, models, folder):
    """One file's chart of the rows that no newer file has. Logarithmic, so that twice as fast and half as fast look alike."""
    rows = [row for row, of in pairs if of is report and row.get("ratio")]
    if not rows:
        return
    environment = report["environment"]
    exact = {row.get("compute", "exact") for row in rows if row["op"] == "matmul"} == {"exact"}
    if all(row["op"] == "model" for row in rows):
        name = model_of(rows[0], report, models)
        what = f"{model_title(name)} ({rows[0]['dtype']})" if name else rows[0]["dtype"]
    else:
        ops = {row["op"] for row in rows}
        what = ("Matmul" if ops == {"matmul"} else "Ops") + models_of(rows)
    names = peer_names(rows)
    products = "Exact products; reflex-llm's default is int8\n" if exact else ""
    figure, axes = bars(f"{what}: speed-up over {names}\n{products}{device(environment)}, {day(environment)}",
                        f"speed-up over {names}, log scale: above 1 reflex-infer is faster",
                        [peer_label(row) for row in rows], [row["ratio"] for row in rows],
                        [WINS if row["ratio"] >= 1 else LOSES for row in rows], base=1)
    axes.set_xscale("log", base=2)
    ratios = [1, *(row["ratio"] for row in rows)]
    low, high = min(ratios), max(ratios)
    # Room for the figures beyond the bars' ends, and for ticks on both sides.
    room = (high / low) ** 0.09
    axes.set_xlim(low / room if low < 1 else 1 / room ** 0.3, high * room)
    axes.xaxis.set_major_formatter("{x:g}")
    mark(axes, 1, "equal")
    # What sets the file apart: `peers-llamacpp-8sm` is of llama.cpp.
    finish(figure, folder, [environment], "peers", re.sub(r"^peers|-\d+sm$", "", path.stem))


def model(name, report, folder):
    """Decode by tokens in the cache, a line for each number of sequences."""
    environment = report["environment"]
    decode = [row for row in report["results"] if row["name"] == "decode"]
    if not decode:
        return
    figure, axes = plt.subplots(figsize=(9, 5.5))
    batches = sorted({row["batch"] for row in decode})
    deepest = max(row["shape"]["depth"] for row in decode)
    for batch, style in zip(batches, itertools.cycle(("-", "--", ":"))):
        line = sorted((row for row in decode if row["batch"] == batch), key=lambda row: row["shape"]["depth"])
        depths = [row["shape"]["depth"] for row in line]
        rates = [row["tokens_per_second"] for row in line]
        axes.errorbar(depths, rates, marker="o", linestyle=style, color=OURS, capsize=3, markersize=4,
                      label=f"{batch} sequence" + ("s" if batch > 1 else ""),
                      yerr=[[max(0, rate - row["slowest"]) for rate, row in zip(rates, line)],
                            [max(0, row["fastest"] - rate) for rate, row in zip(rates, line)]])
        for row, depth, rate in zip(line, depths, rates):
            joules = row.get("joules_per_token")
            last = depth == deepest
            axes.annotate(f"{rate:.0f} tok/s" + (f"\n{joules:.2f} J/token" if joules else ""), (depth, rate),
                          (7, 0) if last else (4, 6), textcoords="offset points", fontsize=7, va="center" if last else "bottom")
    if len(batches) > 1:
        axes.legend(fontsize=8, loc="upper right")
    axes.tick_params(labelsize=8)
    axes.set_xlabel("tokens in the cache", fontsize=8)
    axes.set_ylabel("decode, tokens per second of all sequences", fontsize=8)
    axes.set_xlim(-0.03 * deepest, 1.13 * deepest)
    axes.set_ylim(0, 1.15 * max(row["fastest"] for row in decode))
    axes.set_title(f"Decode of {model_title(name)} ({decode[0]['dtype']}): {device(environment)}, {day(environment)}", fontsize=10)
    axes.grid(True, alpha=0.3)
    finish(figure, folder, [environment], "model", name)


def draw(by_kind, folder):
    """All charts of {kind: [(path, report)]}."""
    def on(report):
        return report["environment"]["gpu"], report["environment"]["sm_count"]

    for where in dict.fromkeys(on(report) for _, report in by_kind["ops"]):
        reports = [report for _, report in by_kind["ops"] if on(report) == where]
        environment = reports[0]["environment"]
        if environment["sm_count"] == environment["device_sm_count"]:
            ceilings = [report for _, report in by_kind["ceiling"] if on(report) == where] or reports
            last = max(ceilings, key=lambda report: report["environment"]["time"])
            roofline(reports, last["ceiling"]["read_gb_s"], folder)
        else:
            bytes_per_clock(reports, folder)
    models = [(model_name(path, report), report) for path, report in by_kind["model"]]
    for path, report in by_kind["peers"]:
        pairs = newest([other for _, other in by_kind["peers"] if on(other) == on(report)])
        peers(path, report, pairs, models, folder)
    for name, report in models:
        model(name, report, folder)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=pathlib.Path, default=root / "benches/results")
    parser.add_argument("--out", type=pathlib.Path, default=root / "docs/images")
    wanted = parser.parse_args()
    by_kind, refused = read(wanted.results)
    if not any(by_kind.values()):
        print(f"plot.py: no usable result file under {wanted.results}", file=sys.stderr)
        return 1
    wanted.out.mkdir(parents=True, exist_ok=True)
    try:
        draw(by_kind, wanted.out)
    except ValueError as fault:
        print(f"plot.py: {fault}", file=sys.stderr)
        return 1
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
