#!/usr/bin/env python3
"""Keeps a summary of a GPU parity report: summary.py REPORT --results FOLDER. Prints the file that it wrote.

REPORT is what run.sh of the GPU bundle writes; it names each of some thousand tests. The summary has its header, the counts of each
suite and of each op (the part of a test's name before `::`, the first word of a descriptor), and the names of all tests that failed or
were skipped. It becomes
FOLDER/<gpu>/parity.json, or parity-<archs>.json where the bundle was built for other architectures than the default.
"""

import argparse
import json
import pathlib
import re
import sys

HEADER = ("gpu", "driver", "compute_capability", "bundle", "version", "archs", "nvrtc", "commit", "tree", "time", "seconds",
          "passed", "failed", "skipped")
COUNTS = {"ok": "passed", "failed": "failed", "skipped": "skipped"}


def counts_of(statuses):
    out = dict.fromkeys(COUNTS.values(), 0)
    for status in statuses:
        out[COUNTS[status]] += 1
    return out


def summary_of_suite(suite):
    tests = suite["tests"]
    ops = {}
    for name, status in tests.items():
        # A descriptor of cases/, `norm rows=3`, or a test of its own, `norm::of_something`.
        op = re.match("([a-z_]+)(::| [a-z_]+=)", name)
        if op:
            ops.setdefault(op[1], []).append(status)
    out = {"name": suite["name"], **counts_of(tests.values())}
    # A test that is named twice is counted twice in the report, and one of the two results is hidden.
    for name in COUNTS.values():
        if out[name] != suite[name]:
            raise ValueError(f"suite {suite['name']} counts {suite[name]} {name} and names {out[name]}")
    if ops:
        out["ops"] = {op: counts_of(ops[op]) for op in sorted(ops)}
    for status in ("failed", "skipped"):
        out[f"{status}_tests"] = sorted(name for name, of in tests.items() if of == status)
    return out


def summary_of(report):
    """The summary; ValueError where the report is none of run.sh, or contradicts itself."""
    for field in (*HEADER, "suites"):
        if field not in report:
            raise ValueError(f'no field "{field}"; is it a report of run.sh?')
    if any("tests" not in suite for suite in report["suites"]):
        raise ValueError("a suite names no tests; is it a summary already?")
    if report.get("tier") == "smoke":
        raise ValueError("a report of the smoke tier; one of all tests is kept")
    suites = [summary_of_suite(suite) for suite in report["suites"]]
    for name in COUNTS.values():
        if report[name] != sum(suite[name] for suite in suites):
            raise ValueError(f"the report counts {report[name]} {name}, its suites {sum(suite[name] for suite in suites)}")
    return {**{field: report[field] for field in HEADER}, "suites": suites}


def path_of(report):
    gpu = re.sub("[^a-z0-9]+", "-", report["gpu"].lower().removeprefix("nvidia")).strip("-")
    suffix = "" if report["bundle"] == "default" else "-" + re.sub("[^A-Za-z0-9-]", "_", report["bundle"])
    return pathlib.Path(gpu, f"parity{suffix}.json")


def text_of(summary):
    """JSON with a field a line, so that `./dev test` finds the tree's hash, and the counts of an op on one line."""
    text = json.dumps(summary, indent=2, ensure_ascii=False)
    return re.sub(r'\{\s*"passed": (\d+),\s*"failed": (\d+),\s*"skipped": (\d+)\s*\}',
                  r'{ "passed": \1, "failed": \2, "skipped": \3 }', text) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path, required=True)
    wanted = parser.parse_args()
    try:
        summary = summary_of(json.loads(wanted.report.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        print(f"{wanted.report}: {error}", file=sys.stderr)
        return 1
    path = wanted.results / path_of(summary)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(summary), encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
