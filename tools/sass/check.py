#!/usr/bin/env python3
"""Looks at the machine code of every kernel image of a build for instructions that it should not hold.

    check.py OUT_DIR --nvdisasm PROGRAM [--allowed FILE] [--counts]

OUT_DIR is the build script's, with kernel_images.rs and the images. Refused, unless FILE (allowed.txt beside this program) lists them with
a reason: calls (of routines: 64-bit divisions, instructions that an architecture emulates, such as int4 mma.sync from SM 9.0 on; of labels
of the kernel itself; of functions that were not inlined), double precision, local memory (spills and arrays on the stack), compare-and-swap (atomics that an architecture lacks), and
words that are no instruction. An instruction that is expanded in place, such as E4M3 mma.sync on SM 11.0, cannot be told from its parts here.
PTX images are left out: the driver compiles them. A line of FILE that names an architecture and allows nothing there is an error too. Exit status: 0 clean, 1 something was found, 2 wrong usage or no images.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zlib

IMAGE = re.compile(r'KernelImage \{ file: "(\w+)", sm: (\d+), suffix: "(\w*)", ptx: (true|false), size: (\d+), .*"/(image-\d+)"')
FUNCTION = re.compile(r"^\.text\.(\w+):")
INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)(.*)")
ROUTINE = re.compile(r"__cuda_\w+")
# Opcodes by what is wrong with them. F2F, F2I, I2F and MUFU are of doubles where they say so.
DOUBLE = re.compile(r"^(DADD|DMUL|DFMA|DSETP|DMNMX|DMMA)\b|^(F2F|F2I|I2F|FRND|MUFU)\b.*\.(F64|RCP64H|RSQ64H)")
LOCAL = re.compile(r"^(LDL|STL|LDLM)\b")
SWAP = re.compile(r"^(ATOM|ATOMG|ATOMS)\b.*\.CAS")


def images(folder):
    """(file, architecture, bytes) of each machine-code image."""
    for file, sm, suffix, ptx, size, name in IMAGE.findall((folder / "kernel_images.rs").read_text()):
        if ptx == "false":
            code = zlib.decompress((folder / name).read_bytes(), wbits=-15)
            if len(code) != int(size):
                raise ValueError(f"{folder / name}: {len(code)} bytes, the table says {size}")
            yield file, f"sm_{sm}{suffix}", code


def disassemble(program, code):
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        return subprocess.run([program, "-c", file.name], capture_output=True, text=True, check=False)


def called(operands):
    """What a CALL leads to: a routine of the compiler's by name, a label of the kernel itself, or a function that was not inlined."""
    if routine := ROUTINE.search(operands):
        return routine[0].removeprefix("__cuda_")
    return "label" if "(.L_" in operands else "function"


def findings(listing):
    """How often each kernel of a disassembly holds each thing: {(kernel, what): count}. Also the number of instructions."""
    found, kernel, count = collections.Counter(), "?", 0
    for line in listing.splitlines():
        if match := FUNCTION.match(line):
            kernel = match[1]
        elif match := INSTRUCTION.match(line):
            count += 1
            opcode, operands = match[1], match[2]
            if opcode.startswith("CALL"):
                found[kernel, called(operands)] += 1
            elif DOUBLE.search(opcode):
                found[kernel, "double"] += 1
            elif LOCAL.search(opcode):
                found[kernel, "local"] += 1
            elif SWAP.search(opcode):
                found[kernel, "swap"] += 1
    return found, count


def read_allowed(path):
    """Lines KERNEL WHAT ARCHITECTURE # REASON, each of the three a name, or a pattern with * in it."""
    lines = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text, _, reason = line.partition("#")
        fields = text.split()
        if not fields:
            continue
        if len(fields) != 3 or not reason.strip():
            raise ValueError(f"{path}:{number}: expected KERNEL WHAT ARCHITECTURE # REASON")
        patterns = [re.compile(".*".join(map(re.escape, field.split("*")))) for field in fields]
        lines.append((number, patterns, fields))
    return lines


def check(folder, program, allowed, out=sys.stdout, counts=False):
    """Number of problems, and of images."""
    rules = read_allowed(allowed)
    used, archs, problems, totals, seen = set(), set(), 0, collections.Counter(), 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        work = [(file, arch, pool.submit(disassemble, program, code)) for file, arch, code in images(folder)]
        for file, arch, job in work:
            seen += 1
            archs.add(arch)
            result = job.result()
            if result.returncode != 0 or not result.stdout:
                problems += 1
                print(f"{file} {arch}: no machine code, or words in it that are none: {result.stderr.strip()}", file=out)
                continue
            found, count = findings(result.stdout)
            totals[arch] += count
            for (kernel, what), times in sorted(found.items()):
                names = (kernel, what, arch)
                hits = [number for number, patterns, _ in rules if all(p.fullmatch(n) for p, n in zip(patterns, names))]
                used.update(hits)
                if not hits:
                    problems += 1
                    print(f"{kernel} ({file}.cu) {arch}: {what}, {times} times", file=out)
    for number, _, fields in rules:
        if number not in used and fields[2] in archs:
            problems += 1
            print(f"{allowed.name}:{number}: {' '.join(fields)} is in no image", file=out)
    if counts:
        for arch, count in sorted(totals.items()):
            print(f"{arch}: {count} instructions", file=out)
    return problems, seen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--nvdisasm", required=True)
    parser.add_argument("--allowed", type=pathlib.Path, default=pathlib.Path(__file__).with_name("allowed.txt"))
    parser.add_argument("--counts", action="store_true", help="say how many instructions each architecture has")
    options = parser.parse_args()
    problems, seen = check(options.folder, options.nvdisasm, options.allowed, counts=options.counts)
    if seen == 0:
        print(f"{options.folder}: no machine code to look at", file=sys.stderr)
        return 2
    print(f"{seen} images, {problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
