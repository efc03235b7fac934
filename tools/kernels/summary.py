#!/usr/bin/env python3
"""What a build compiled, by architecture and family of kernels.

    summary.py OUT_DIR [--kernels]

OUT_DIR is the build script's, with kernel-images.tsv and kernel-resources.tsv. A family is a kernel file; the files of the exact matrix
products are one together, and so are those of the int8 products. `image` is the bytes of cubins (or PTX, of which there are no other
figures: the driver compiles it), `code` those of machine code in them. With --kernels each kernel has a line of its own. Exit status: 0, or
2 where OUT_DIR holds no kernels.
"""
import argparse
import csv
import pathlib
import sys

COLUMNS = ["arch", "family", "kernels", "image", "code", "most registers", "most shared", "spilling", "spilled"]
OF_KERNELS = ["arch", "file", "kernel", "registers", "static_shared", "stack", "spill_stores", "spill_loads", "code"]


def family(file):
    for prefix in ("matmul_int8", "matmul"):
        if file.startswith(prefix + "_"):
            return prefix
    return file


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def spilled(kernel):
    return int(kernel["spill_stores"]) + int(kernel["spill_loads"])


def summary(images, kernels):
    """Rows of COLUMNS, and one for each architecture as a whole."""
    rows = []
    for arch in dict.fromkeys(image["arch"] for image in images):
        own = [image for image in images if image["arch"] == arch]
        names = list(dict.fromkeys(family(image["file"]) for image in own))
        for name in [*names, "all"]:
            of_name = lambda row: row["arch"] == arch and name in ("all", family(row["file"]))
            chosen = [image for image in own if of_name(image)]
            figures = [kernel for kernel in kernels if of_name(kernel)]
            row = [arch, name, sum(int(i["kernels"]) for i in chosen), sum(int(i["bytes"]) for i in chosen)]
            if figures:
                row += [sum(int(k["code"]) for k in figures), max(int(k["registers"]) for k in figures)]
                row += [max(int(k["static_shared"]) for k in figures)]
                row += [sum(spilled(k) > 0 for k in figures), sum(map(spilled, figures))]
            else:
                row += ["-"] * 5
            rows.append(row)
    return rows


def table(head, rows):
    rows = [list(map(str, row)) for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    words = [not any(row[i].isdigit() for row in rows[1:]) for i in range(len(head))]
    pad = lambda text, i: text.ljust(widths[i]) if words[i] else text.rjust(widths[i])
    return "".join("  ".join(pad(text, i) for i, text in enumerate(row)).rstrip() + "\n" for row in rows)


def main(arguments, out=sys.stdout):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, metavar="OUT_DIR")
    parser.add_argument("--kernels", action="store_true")
    options = parser.parse_args(arguments)
    try:
        images = read(options.folder / "kernel-images.tsv")
        kernels = read(options.folder / "kernel-resources.tsv")
    except FileNotFoundError as error:
        print(f"{error.filename}: not there; did this build compile kernels?", file=sys.stderr)
        return 2
    if options.kernels:
        out.write(table(OF_KERNELS, [[kernel[name] for name in OF_KERNELS] for kernel in kernels]) + "\n")
    out.write(table(COLUMNS, summary(images, kernels)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
