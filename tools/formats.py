"""The rows of kernels/formats.def, for Python."""

import collections
import pathlib
import re

PATH = pathlib.Path(__file__).resolve().parent.parent / "kernels/formats.def"
ROW = re.compile(r"^ *X\((?P<row>\w+(?:, \w+){6}), (?P<scales>(?:F16|E8M0)\(.*\))\)", re.MULTILINE)
SCALE = re.compile(r"(?P<kind>F16|E8M0)\((?P<at>\d+), (?P<value>[-.\d]+)\)")

# `scales`: (kind, byte, value) of each.
Format = collections.namedtuple("Format", "name type ggml elements bytes bits group scales")


def formats():
    """Every block format, in the order of the file."""
    found = []
    for row in ROW.finditer(PATH.read_text()):
        name, kind, *numbers = row["row"].split(", ")
        scales = [(s["kind"], int(s["at"]), float(s["value"])) for s in SCALE.finditer(row["scales"])]
        found.append(Format(name, kind, *map(int, numbers), scales))
    if not found:
        raise ValueError(f"{PATH}: no rows")
    return found
