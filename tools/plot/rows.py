"""Result files as rows: which of them count, and how they are named. Charts and tables share it; it needs nothing but Python."""

import collections
import json
import re
import sys

from check_results import check, result_files


def device(environment):
    return f"{environment['gpu']}, {environment['sm_count']} SMs"


def day(environment):
    return environment["time"][:10]


def days(environments):
    """"2026-11-20", or "2026-11-20 to 2026-11-30"."""
    return " to ".join(sorted({min(map(day, environments)), max(map(day, environments))}))


def model_title(name):
    """"Qwen3-4B" of "qwen3-4b"."""
    return re.sub(r"\b\d+(\.\d+)?b\b", lambda size: size[0].upper(), name[:1].upper() + name[1:])


def dtype_of(row):
    """"Q4_K packed" of Q4_K_PACKED; "Q4_K native" of a product that takes either."""
    if row["dtype"].endswith("_PACKED"):
        return row["dtype"].replace("_PACKED", " packed")
    return row["dtype"] + (" native" if row.get("compute") == "int8" else "")


def label(row):
    sizes, name = row["shape"], row["name"]
    rows = f"{row['batch']} row" + ("s" if row["batch"] > 1 else "")
    if row["op"] == "matmul":
        of = "" if name == "shape" else f" ({name})"
        return f"matmul {sizes['n']}x{sizes['k']}{of}, {rows}, {dtype_of(row)}"
    if row["op"] == "attention_decode":
        return f"attention_decode, {sizes['keys']} keys"
    if row["op"] == "attention":
        return f"attention, {sizes['tokens']} of {sizes['keys']} keys"
    if row["op"] == "model":
        return f"prefill of {sizes['tokens']} tokens" if name == "prefill" else f"{name} behind {sizes['depth']} tokens"
    return f"{row['op']} ({name}), {rows}, {dtype_of(row)}"


def identity(row):
    """What is measured: two rows of the same are one measurement done twice."""
    return (row["op"], row["name"], json.dumps(row["shape"], sort_keys=True), row["dtype"], row["batch"],
            row.get("compute", "exact"), row.get("peer"), row.get("note"))


def newest(reports):
    """(row, report) of each thing measured, as measured last, in the reports' order. All are of one GPU and number of SMs."""
    found = {}
    for report in sorted(reports, key=lambda report: report["environment"]["time"]):
        for row in report["results"]:
            found.pop(identity(row), None)
            found[identity(row)] = (row, report)
    order = {id(report): number for number, report in enumerate(reports)}
    return sorted(found.values(), key=lambda pair: order[id(pair[1])])


def model_name(path, report):
    """The model's own name, or, where its file has none, that of the result file: `model-qwen3-4b-8sm.json`."""
    own = next((row["model"] for row in report["results"] if row["model"]), "")
    return own or re.sub(r"^model-?|-?\d+sm$", "", path.stem)


def read(folder):
    """({kind: [(path, report)]}, number of files refused)."""
    by_kind, refused = collections.defaultdict(list), 0
    for path in result_files([folder]):
        report, faults = check(path)
        for fault in faults:
            print(f"{path}: refused: {fault}", file=sys.stderr)
        refused += bool(faults)
        # The library as it chooses by itself, on the device as it is.
        if not faults and not any(report["environment"].get(name) for name in ("as", "impl", "tuning")):
            by_kind[report["kind"]].append((path, report))
    return by_kind, refused
