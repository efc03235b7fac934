#!/usr/bin/env python3
"""Tables of result files, written into a page: tables.py [--results FOLDER] [--page FILE]. Refuses files that check_results.py refuses.

The page says where a table stands by a pair of comments, `<!-- table: h200/peers -->` and `<!-- end of table -->`, named by GPU folder and
result file; what lies between them is replaced. Each caption has the GPU, commit and date of its file. Rows in which we lose, or which
are furthest from the ceiling, come first; at most MOST_ROWS of them. What a newer file has measured again is left out.
"""

import argparse
import pathlib
import re
import sys
import textwrap

from rows import day, device, dtype_of, label, newest, read

MOST_ROWS = 25
BEGIN, END = "<!-- table: {} -->", "<!-- end of table -->"
PLACE = re.compile(r"<!-- table: (\S+) -->\n(.*?)<!-- end of table -->", re.DOTALL)


def number(value):
    """Three digits or more: 8.81, 14.3, 1,455."""
    return f"{value:,.{2 if value < 10 else 1 if value < 1000 else 0}f}"


def percent(fraction):
    """Two digits or more: 9.4%, 82%."""
    return "below 0.1%" if fraction < 0.001 else f"{100 * fraction:.{0 if fraction >= 0.0995 else 1}f}%"


def caption(path, environment, *more):
    """How and when the file was measured."""
    part = environment["sm_count"] < environment["device_sm_count"]
    lines = [f"{device(environment)}; commit {environment['commit'][:8]}, {day(environment)}",
             f"kernels for `{environment.get('archs', '?')}`", *(["a projection for small GPUs"] if part else []), *more]
    text = "; ".join(lines) + f" (`{path.parent.name}/{path.name}`)."
    return textwrap.fill(text, 160, break_long_words=False, break_on_hyphens=False)


def ceiling(report):
    return f"read ceiling {report['ceiling']['read_gb_s']:,.0f} GB/s"


def table(head, lines):
    """The first MOST_ROWS lines, and how many more there are."""
    text = [head, ["---"] * len(head), *lines[:MOST_ROWS]]
    out = "".join("| " + " | ".join(cells) + " |\n" for cells in text)
    return out + (f"\n{len(lines) - MOST_ROWS} more rows are in the file.\n" if len(lines) > MOST_ROWS else "")


def product(row):
    """"4096x2560 (attn_q), Q4_K packed"."""
    of = "" if row["name"] == "shape" else f" ({row['name']})"
    return f"{row['shape']['n']}x{row['shape']['k']}{of}, {dtype_of(row)}"


def model_table(path, report, peers):
    """Tokens a second, beside the peer that was measured against just these figures."""
    environment, seen, lines = report["environment"], set(), []
    sources = {}
    for row in report["results"]:
        what = (row["name"], str(row["shape"]), row["batch"])
        if what in seen:
            continue
        seen.add(what)
        theirs = next(((other, source) for other, source in peers if other["op"] == "model" and other.get("ratio")
                       and source["environment"]["commit"] == environment["commit"]
                       and other["ours_tokens_per_second"] == row["tokens_per_second"]), None)
        name = label(row).replace("behind 0 tokens", "at an empty context").replace("behind", "at")
        if row["name"] == "decode" and row["batch"] > 1:
            name = name.replace("decode", f"decode of {row['batch']} sequences")
        cells = [name, number(row["tokens_per_second"])]
        if theirs:
            sources[id(theirs[1])] = theirs[0]["peer"]
        cells += [number(theirs[0]["tokens_per_second"]), f"{theirs[0]['ratio']:.2f}"] if theirs else ["-", "-"]
        cells.append(number(row["tokens_per_joule"]) if row.get("tokens_per_joule") else "-")
        lines.append((theirs[0]["ratio"] if theirs else float("inf"), cells))
    lines.sort(key=lambda line: line[0])
    more = [f"peer: {name}" for name in dict.fromkeys(sources.values())]
    return caption(path, environment, *more) + "\n\n" + table(
        ["work", "ours, tok/s", "peer, tok/s", "ratio", "ours, tokens per joule"], [cells for _, cells in lines])


def one_row_table(path, report, rows):
    """Products of one row by their share of the read ceiling."""
    rows = sorted(rows, key=lambda row: row["read_ceiling_fraction"])
    return caption(path, report["environment"], ceiling(report)) + "\n\n" + table(
        ["one row of int8 products", "us", "GB/s", "share of the read ceiling", "bytes per clock and SM"],
        [[product(row), number(row["us"]), number(row["gb_s"]), percent(row["read_ceiling_fraction"]), f"{row['bytes_per_clock_sm']:.1f}"]
         for row in rows])


def several_rows_table(path, report, rows):
    """A line for each product, a column for each number of rows."""
    batches = sorted({row["batch"] for row in rows})
    lines = {}
    for row in rows:
        lines.setdefault(product(row), {})[row["batch"]] = row
    # By the share of the most rows that the product was measured with.
    order = sorted(lines.items(), key=lambda line: line[1][max(line[1])]["read_ceiling_fraction"])
    return caption(path, report["environment"], ceiling(report)) + "\n\n" + table(
        ["int8 products: us, share of the read ceiling", *(f"{batch} row" + "s" * (batch > 1) for batch in batches)],
        [[name, *(f"{number(of[batch]['us'])}, {percent(of[batch]['read_ceiling_fraction'])}" if batch in of else "-" for batch in batches)]
         for name, of in order])


def ops_table(path, report, rows):
    """Ops by their share of the read ceiling; of several types of one case the lowest."""
    lowest = {}
    for row in sorted(rows, key=lambda row: row["read_ceiling_fraction"]):
        lowest.setdefault((row["op"], row["name"], str(row["shape"])), row)
    rows = lowest.values()
    return caption(path, report["environment"], ceiling(report)) + "\n\n" + table(
        ["op, and of several types the furthest from the ceiling", "us", "GB/s", "share of the read ceiling"],
        [[label(row) + (f" ({row['name']})" if row["op"] == "attention_decode" else ""), number(row["us"]), number(row["gb_s"]),
          percent(row["read_ceiling_fraction"])] for row in rows])


def peers_tables(path, report, rows):
    """Products, a column for each type; and all else beside the fastest of its peers."""
    environment, lines, out = report["environment"], {}, []
    matmuls = [row for row in rows if row["op"] == "matmul"]
    peers = ", ".join(dict.fromkeys(row["peer"] for row in matmuls))
    dtypes = list(dict.fromkeys(row["dtype"] for row in matmuls))
    notes = dict.fromkeys(row.get("note", "") for row in matmuls)
    heads = dtypes
    if len(notes) > 1:
        heads = [f"{dtype} ({', '.join(dict.fromkeys(row['note'] for row in matmuls if row['dtype'] == dtype))})" for dtype in dtypes]
    more = [f"{peers}: {note}" for note in notes if note] if len(notes) == 1 else []
    for row in matmuls:
        of = "" if row["name"] == "shape" else f" ({row['name']})"
        lines.setdefault(f"{row['shape']['n']}x{row['shape']['k']}{of}, {row['batch']} row" + "s" * (row["batch"] > 1), {})[row["dtype"]] = row
    order = sorted(lines.items(), key=lambda line: min(row["ratio"] for row in line[1].values()))
    if order:
        out.append(table(
            [f"exact products: ours, {peers} in us; ratio", *heads],
            [[name, *(f"{number(of[dtype]['ours_us'])}, {number(of[dtype]['us'])}; {of[dtype]['ratio']:.2f}" if dtype in of else "-"
                      for dtype in dtypes)] for name, of in order]))
    best = {}
    for row in rows:
        if row["op"] not in ("matmul", "model"):
            best.setdefault(label(row), row)
            best[label(row)] = min(best[label(row)], row, key=lambda one: one["us"])
    if best:
        out.append(table(
            ["op", "ours, us", "fastest peer", "peer, us", "ratio"],
            [[name, number(row["ours_us"]), f"{row['peer']}" + (f" ({row['note']})" if row.get("note") else ""), number(row["us"]),
              f"{row['ratio']:.2f}"] for name, row in sorted(best.items(), key=lambda item: item[1]["ratio"])]))
    return caption(path, environment, "a ratio above 1 means that reflex-infer is faster", *more) + "\n\n" + "\n".join(out)


def tables(by_kind):
    """{name: text} of every file that has rows of its own left."""
    def on(report):
        return report["environment"]["gpu"], report["environment"]["sm_count"]

    def kept(kind, path, report):
        """The report's rows that no newer file has."""
        pairs = newest([other for _, other in by_kind[kind] if on(other) == on(report)])
        return [row for row, of in pairs if of is report and "error" not in row]

    out = {}
    for kind in ("peers", "model", "ops"):
        for path, report in by_kind[kind]:
            name = f"{path.parent.name}/{path.stem}"
            if kind == "model":
                peers = [(row, other) for _, other in by_kind["peers"] if on(other) == on(report) for row in other["results"]]
                out[name] = model_table(path, report, peers)
                continue
            rows = kept(kind, path, report)
            if kind == "peers":
                rows = [row for row in rows if row.get("ratio") and row["op"] != "model"]
                if rows:
                    out[name] = peers_tables(path, report, rows)
                continue
            products = [row for row in rows if row["op"] == "matmul" and row.get("compute") == "int8"]
            # Those of ours that stand beside a peer are in its table.
            beside = {(label(row), row.get("ours_us")) for _, other in by_kind["peers"] if on(other) == on(report) for row in other["results"]}
            others = [row for row in rows if row["op"] != "matmul" and (label(row), row.get("us")) not in beside]
            if products:
                write = several_rows_table if max(row["batch"] for row in products) > 1 else one_row_table
                out[name] = write(path, report, products)
            elif others:
                out[name] = ops_table(path, report, others)
    return out


def written(page, texts):
    """The page with its tables. ValueError where it names one that there is not, or one twice."""
    places = PLACE.findall(page)
    names = [name for name, _ in places]
    if len(places) != page.count("<!-- table:") or len(places) != page.count(END):
        raise ValueError("a table's comments do not come in pairs")
    for name in names:
        if name not in texts:
            raise ValueError(f"no result file gives a table {name}; there are {', '.join(sorted(texts))}")
        if names.count(name) > 1:
            raise ValueError(f"the table {name} is there twice")
    return PLACE.sub(lambda place: f"{BEGIN.format(place[1])}\n{texts[place[1]]}{END}", page)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=pathlib.Path, default=root / "benches/results")
    parser.add_argument("--page", type=pathlib.Path, default=root / "docs/performance.md")
    wanted = parser.parse_args()
    by_kind, refused = read(wanted.results)
    try:
        text = written(wanted.page.read_text(encoding="utf-8"), tables(by_kind))
    except ValueError as fault:
        print(f"tables.py: {wanted.page}: {fault}", file=sys.stderr)
        return 1
    wanted.page.write_text(text, encoding="utf-8")
    print(wanted.page)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
