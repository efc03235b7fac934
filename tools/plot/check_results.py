#!/usr/bin/env python3
"""Refuses result files that do not say how they were measured: check_results.py FILE_OR_FOLDER...

Every file of reflex-bench names GPU, driver, toolkit, architecture, clocks, power mode, temperature, commit and time, and each result
in it shape, dtype, batch and context; of `tune` each number what was tried and how long its cases took. Parity reports (parity*.json) are another kind of file and are passed over.
"""

import json
import math
import pathlib
import sys

SCHEMA = "reflex-bench/1"
KINDS = {"ops", "ceiling", "model", "peers", "tune"}
TEXTS = ("gpu", "driver", "toolkit", "arch", "power_mode", "commit", "time")
ROW = ("op", "shape", "dtype", "batch", "context")


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def faults_of_environment(environment):
    if not isinstance(environment, dict):
        return ["environment is missing"]
    out = []
    for name in TEXTS:
        value = environment.get(name)
        if not isinstance(value, str) or value.strip() in ("", "none", "unknown", "NVRTC"):
            out.append(f"environment.{name} is missing or unknown")
    if environment.get("backend") == "cpu":
        out.append("measured on the CPU backend, which is no measurement")
    if str(environment.get("commit", "")).endswith("-dirty"):
        out.append("environment.commit is dirty: nobody can build what was measured")
    clocks = environment.get("clocks")
    clocks = clocks if isinstance(clocks, dict) else {}
    for name in ("sm_mhz", "memory_mhz"):
        if not is_number(clocks.get(name)) or clocks[name] <= 0:
            out.append(f"environment.clocks.{name} is missing or unknown")
    if not is_number(environment.get("temperature_c")):
        out.append("environment.temperature_c is missing or unknown")
    if not is_number(environment.get("sm_count")):
        out.append("environment.sm_count is missing")
    return out


def faults_of_row(row):
    if not isinstance(row, dict):
        return ["is no object"]
    out = [f"{name} is missing" for name in ROW if row.get(name) in (None, "", {})]
    if not isinstance(row.get("shape"), dict):
        out.append("shape is no object")
    if "error" not in row and not any(is_number(row.get(name)) and row[name] > 0 for name in ("us", "tokens_per_second")):
        out.append("neither us nor tokens_per_second")
    return out


def faults_of_tuned(row):
    if not isinstance(row, dict):
        return ["is no object"]
    out = [f"{name} is missing" for name in ("parameter", "tried", "cases") if not row.get(name)]
    return out + [f"{name} is missing" for name in ("before", "after", "spread") if not is_number(row.get(name))]


def faults_of(report):
    """What the report lacks, one line each; nothing where it is fit to be published."""
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        return [f"schema is not {SCHEMA}"]
    if report.get("kind") not in KINDS:
        return [f"kind is none of {', '.join(sorted(KINDS))}"]
    out = faults_of_environment(report.get("environment"))
    if report["kind"] == "ceiling":
        ceiling = report.get("ceiling")
        if not isinstance(ceiling, dict) or not is_number(ceiling.get("read_gb_s")):
            out.append("ceiling.read_gb_s is missing")
        return out
    if report["kind"] == "tune":
        rows = report.get("parameters")
        if not isinstance(rows, list) or not rows:
            return out + ["parameters is missing or empty"]
        return out + [f"parameters[{number}]: {fault}" for number, row in enumerate(rows) for fault in faults_of_tuned(row)]
    rows = report.get("results")
    if not isinstance(rows, list) or not rows:
        return out + ["results is missing or empty"]
    for number, row in enumerate(rows):
        out += [f"results[{number}]: {fault}" for fault in faults_of_row(row)]
    return out


def result_files(paths):
    for path in map(pathlib.Path, paths):
        found = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        yield from (p for p in found if not p.name.startswith("parity"))


def check(path):
    """The report and its faults."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return None, [str(error)]
    return report, faults_of(report)


def main(paths):
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    missing = [path for path in paths if not pathlib.Path(path).exists()]
    refused = checked = 0
    for path in result_files(set(paths) - set(missing)):
        checked += 1
        _, faults = check(path)
        refused += bool(faults)
        for fault in faults[:10]:
            print(f"{path}: {fault}", file=sys.stderr)
        if len(faults) > 10:
            print(f"{path}: and {len(faults) - 10} more", file=sys.stderr)
    for path in missing:
        print(f"{path}: no such file or folder", file=sys.stderr)
    print(f"{checked} result files, {refused} refused")
    return 1 if refused or missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
