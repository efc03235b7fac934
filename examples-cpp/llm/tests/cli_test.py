#!/usr/bin/env python3
"""The program from outside: exit statuses, what goes to which stream, and hostile input. Usage: cli_test.py PROGRAM MODELS"""
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile

import checks
import gguf_edit
from checks import check
from gguf_edit import ARRAY, BOOL, F32, F64, I32, I64, STRING, U8, U16, U32, U64

PROGRAM, MODELS = sys.argv[1], pathlib.Path(sys.argv[2])
DATA = pathlib.Path(__file__).parent / "data"
MODEL = str(MODELS / "tiny-qwen3-q4_k_m.gguf")
BASE = ["-m", MODEL, "--backend", "cpu"]


def run(*arguments, stdin=b""):
    return checks.run(PROGRAM, *arguments, stdin=stdin)


def refused(status, part, *arguments):
    code, out, err = run(*arguments)
    check(code == status and out == b"" and part in err and len(err.strip().splitlines()) == 1, f"{arguments}: status {code}, expected {status} with {part!r} in one line: {err!r}")


def wrong_command_lines():
    refused(2, "--model FILE is needed")
    refused(2, 'unknown option "--nope"', *BASE, "-p", "x", "--nope")
    refused(2, "takes a whole number", *BASE, "-p", "x", "-n", "many")
    refused(2, "needs a value", *BASE, "-p")
    refused(2, "auto, cuda or cpu", "-m", MODEL, "-p", "x", "--backend", "tpu")
    code, out, err = run("--help")
    check(code == 0 and b"--perplexity" in out and err == "", "--help")
    refused(2, "--prompt is given more than once", *BASE, "-p", "x", "--prompt=y")
    refused(2, "--prompt and --file both give the prompt", *BASE, "-p", "x", "-f", "-")
    refused(2, "--perplexity does not go with --bench", *BASE, "--bench", "--perplexity", "x")
    refused(2, "--no-graph takes no value", *BASE, "-p", "x", "--no-graph=1")
    refused(2, "--threads takes a whole number from 0 to 1024", *BASE, "-p", "x", "--threads=1025")


def version():
    code, out, err = run("--version")
    lines = out.decode().splitlines()
    check(code == 0 and err == "" and len(lines) == 2, f"--version: {code} {out!r} {err}")
    check(lines[0].split()[0] == "reflex-llm" and lines[1].startswith("reflex-infer ") and all(line.split()[1].rstrip(",").count(".") == 2 for line in lines), f"--version: {lines}")
    for option in ("--help", "--version"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, option], stdout=full, stderr=subprocess.PIPE, timeout=60)
        check(done.returncode == 1 and b"cannot write to standard output" in done.stderr, f"{option} to a full device: {done}")
    check(run("--version", "-m", "absent")[0] == 0, "--version needs nothing else")


def failures_at_run_time(folder):
    refused(1, "No such file", "-m", str(folder / "absent.gguf"), "-p", "x")
    refused(1, "is not a regular file", "-m", str(folder), "-p", "x")
    empty = folder / "empty.gguf"
    empty.write_bytes(b"")
    refused(1, "is empty", "-m", str(empty), "-p", "x")
    noise = folder / "noise.gguf"
    noise.write_bytes(b"\x7fELF" * 100)
    refused(1, 'does not start with "GGUF"', "-m", str(noise), "-p", "x")
    cut = folder / "cut.gguf"
    cut.write_bytes(pathlib.Path(MODEL).read_bytes()[:1000000])
    refused(1, "the data section has", "-m", str(cut), "-p", "x")
    refused(1, "context", *BASE, "-p", "x", "--ctx", "513")
    refused(1, "prompt", *BASE, "-p", "word " * 600)
    refused(1, "prompt", *BASE, "-p", "")
    refused(1, "No such file", *BASE, "--perplexity", str(folder / "absent.txt"))
    short = folder / "short.txt"
    short.write_text("too short")
    refused(1, "chunk", *BASE, "--perplexity", str(short))


def memory_is_planned(folder):
    """A context of 2^26 tokens would take 206 GB: refused with figures, before anything is allocated."""
    available = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo") if line.startswith("MemAvailable"))
    if available > 200e9:
        print("skipped: this machine could hold the context that is to be refused")
        return
    data = bytearray(pathlib.Path(MODEL).read_bytes())
    key = b"qwen3.context_length"
    at = data.index(key) + len(key) + 4
    data[at : at + 4] = (1 << 26).to_bytes(4, "little")
    vast = folder / "vast.gguf"
    vast.write_bytes(data)
    refused(1, "does not fit: 206.", "-m", str(vast), "--backend", "cpu", "-p", "x", "--ctx", str(1 << 26))
    refused(1, "would fit", "-m", str(vast), "--backend", "cpu", "-p", "x", "--ctx", str(1 << 26))
    refused(1, "64 times 2000000 tokens", "-m", str(vast), "--backend", "cpu", "-p", "x", "--ctx", "2000000", "--parallel", "64")
    refused(1, "more than 2^31 - 1", "-m", str(vast), "--backend", "cpu", "-p", "x", "--ctx", str(1 << 26), "--parallel", "64")
    check(run("-m", str(vast), "--backend", "cpu", "-p", "x", "-n", "1", "--ctx", "512")[0] == 0, "the same file with a small context")


def text_and_table(folder):
    prompt = "A workspace is a set of packages"
    code, out, err = run(*BASE, "-p", prompt, "-n", "8")
    check(code == 0 and out.startswith(prompt.encode()) and len(out) > len(prompt) + 8, f"generation: {out!r} {err!r}")
    for word in ("backend", "device", "model", "prefill", "decode", "first token", "memory"):
        check(word in err, f"the table lacks {word!r}: {err}")
    check(prompt not in err, "text on standard error")
    path = folder / "prompt.txt"
    path.write_text(prompt)
    check("bandwidth floor" not in err, f"the table of the CPU compares with a bandwidth: {err}")
    check(run(*BASE, "-f", str(path), "-n", "8")[1] == out, "--file and --prompt differ")
    check(run(*BASE, "-f", "-", "-n", "8", stdin=prompt.encode())[1] == out, "a prompt from standard input")
    check(run(*BASE, "--file=/dev/stdin", "-n", "8", stdin=prompt.encode())[1] == out, "a prompt from a pipe by name")
    check(run(f"--model={MODEL}", "--backend=cpu", f"--prompt={prompt}", "--n-predict=8", "--temp=0")[1] == out, "--name=value")
    check(run(*BASE, "--prompt=a=b", "-n", "0")[1] == b"a=b", "a value with an equals sign")
    for threads in ("1", "3"):
        code, same, err = run(*BASE, "-p", prompt, "-n", "8", "--threads", threads)
        check(code == 0 and same == out and f" {threads} thread" in err, f"--threads {threads}: {code} {same!r} {err}")
    refused(1, "the prompt has no tokens", *BASE, "-f", "-")
    refused(1, "Is a directory", *BASE, "-f", str(folder))
    check(run(*BASE, "-f", str(path), "-n", "8", "--batch", "3")[1] == out, "a small batch changes the text")
    check(run(*BASE, "-f", str(path), "-n", "8", "--no-graph")[1] == out, "--no-graph changes the text")
    check(run(*BASE, "-p", prompt, "-n", "0")[1] == prompt.encode(), "-n 0 gives the prompt alone")
    code, out, err = run(*BASE, "-p", prompt, "-n", "-1", "--ctx", "40")
    check(code == 0 and "context is full" in err, f"a full context ends the text: {code} {err}")
    code, out, err = run(*BASE, "-p", "word " * 500 + "é", "-n", "2", "--ctx", "512")
    check(code in (0, 1), f"a prompt near the context: {code} {err}")


def small_chunks(folder):
    """Every size of chunk and batch, and the value does not depend on the batch. Where it failed: batches of few rows."""
    text = folder / "text.txt"
    text.write_text((MODELS / "parity.txt").read_text()[:1500])
    for context in (3, 5, 32, 100):
        values = []
        for batch in (1, 7, 31, 33, 512):
            code, out, err = run(*BASE, "--compute", "exact", "--perplexity", str(text), "--ctx", str(context), "--batch", str(batch))
            check(code == 0, f"--perplexity --ctx {context} --batch {batch}: {code} {err}")
            values.append(float(out) if code == 0 else 0)
        check(max(values) - min(values) < 1e-3 * max(values), f"perplexities of batches differ: {context} {values}")
    code, out, err = run(*BASE, "--perplexity", "-", "--ctx", "32", stdin=text.read_bytes())
    check(code == 0 and float(out) > 1, f"--perplexity of standard input: {code} {err}")
    refused(1, "too small a chunk", *BASE, "--perplexity", str(text), "--ctx", "2")


def interrupts(folder):
    """Ctrl-C ends a text, and the table is printed."""
    model = arch("llama").set("llama.context_length", U32, 1 << 20)
    # Without a logit for the tokens that end a text, which are behind those of the bytes, it never ends.
    shape, kind, data = model.tensors["output.weight"]
    model.tensors["output.weight"] = shape, kind, data[: 256 * 2 * shape[0]] + bytes((shape[1] - 256) * 2 * shape[0])
    endless = model.write(folder / "endless.gguf")
    for extra in ([], ["--parallel", "2"]):
        command = [PROGRAM, "-m", str(endless), "--backend", "cpu", "-p", "The", "-n", "200000", "--ctx", "200010", "--threads", "1", *extra]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if extra:
            # Nothing is printed before the end: when it has used some time, the program is past loading.
            while process.poll() is None and cpu_ticks(process.pid) < 30:
                pass
        else:
            process.stdout.read(8)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        err = err.decode()
        check(process.returncode == 130, f"{extra}: status after an interrupt: {process.returncode} {err}")
        check("stopped by           an interrupt" in err and "peak memory" in err, f"{extra}: the table after an interrupt: {err}")
    # One batch of a prompt, a chunk, a test: none is waited for, and none is counted.
    long = folder / "long.txt"
    long.write_text("word and place " * 170)
    for arguments, table in ((["-f", str(long)], "prefill              0 tokens"), (["--perplexity", str(long), "--ctx", "500"], "perplexity           -"), (["--bench"], "fastest  runs")):
        process = subprocess.Popen([PROGRAM, *BASE, "--compute", "exact", "--threads", "1", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and cpu_ticks(process.pid) < 20:
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        out, err = out.decode(), err.decode()
        check(process.returncode == 130 and table in err and "nan" not in out + err, f"{arguments[0]}: an interrupt at work: {process.returncode} {out} {err}")
        if arguments[0] != "-f":
            check(out == "" and err.rstrip().endswith(table) == (arguments[0] == "--bench"), f"{arguments[0]}: figures after an interrupt: {out} {err}")
    # The second one is not waited for: a prompt that takes long.
    process = subprocess.Popen([PROGRAM, "-m", MODEL, "--backend", "cpu", "-p", "word " * 250, "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None and cpu_ticks(process.pid) < 10:
        pass
    for _ in range(2):
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    check(process.returncode in (130, -signal.SIGINT), f"two interrupts: {process.returncode}")


def cpu_ticks(pid):
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 1 << 30
    return int(fields[11]) + int(fields[12])


def arch(name):
    return gguf_edit.Gguf(DATA / f"arch-{name}.gguf")


def text_of(path, *extra):
    code, out, err = run("-m", str(path), "--backend", "cpu", "-p", "Reflex", "-n", "16", *extra)
    check(code == 0, f"{path.name} {extra}: {code} {err}")
    return out


def split(path, folder, name, parts, numbers=U16):
    """Writes the model in parts as gguf-split does: metadata in the first, tensors dealt out in order."""
    model = gguf_edit.Gguf(path)
    names = list(model.tensors)
    paths = []
    for i in range(parts):
        part = gguf_edit.Gguf(path)
        if i > 0:
            part.keys = {}
        part.set("split.no", numbers, i).set("split.count", numbers, parts).set("split.tensors.count", I32, len(names))
        part.tensors = {n: model.tensors[n] for n in names[len(names) * i // parts : len(names) * (i + 1) // parts]}
        paths.append(part.write(folder / f"{name}-{i + 1:05}-of-{parts:05}.gguf"))
    return paths


def split_models(folder):
    whole = DATA / "arch-llama.gguf"
    want = text_of(whole)
    # As many parts as tensors leave the first one some; with more of them it has none.
    for parts, numbers in ((2, U16), (3, U64), (30, U8)):
        paths = split(whole, folder, f"of{parts}", parts, numbers)
        for weights in ("mapped", "copied", "packed"):
            check(text_of(paths[0], "--weights", weights) == want, f"{parts} parts, {weights}: another text")
        refused(1, f"{paths[1].name}: model: this is part 2 of {parts} of a split model; give the first one, {paths[0].name}", "-m", str(paths[1]), "-p", "x")
    paths = split(whole, folder, "bad", 3)
    moved = paths[2].rename(folder / "elsewhere")
    refused(1, "part 3 of 3 of the model is missing: cannot open", "-m", str(paths[0]), "-p", "x")
    paths[2].write_bytes(paths[1].read_bytes())
    refused(1, "bad-00003-of-00003.gguf: model: this is not part 3 of 3", "-m", str(paths[0]), "-p", "x")
    paths[2].write_bytes(b"GGUF" + bytes(100))
    refused(1, "bad-00003-of-00003.gguf: GGUF: version 0", "-m", str(paths[0]), "-p", "x")
    moved.rename(paths[2])
    other = split(DATA / "arch-qwen2.gguf", folder, "other", 3)
    paths[1].write_bytes(other[1].read_bytes())
    refused(1, "occurs in two parts", "-m", str(paths[0]), "-p", "x")
    renamed = other[0].rename(folder / "renamed.gguf")
    refused(1, "renamed.gguf: model: this is part 1 of 3 of a split model, so its name must end with -00001-of-00003.gguf", "-m", str(renamed), "-p", "x")
    alone = arch("llama").set("split.count", U16, 1).set("split.no", U16, 0).write(folder / "alone.gguf")
    check(text_of(alone) == want, "a model split into one part")


def no_models(folder):
    def one(name, part, change):
        model = arch("llama")
        change(model)
        path = model.write(folder / name)
        refused(1, f"{name}: ", "-m", str(path), "--backend", "cpu", "-p", "x")
        refused(1, part, "-m", str(path), "--backend", "cpu", "-p", "x")

    def drop_tensors(model):
        model.tensors = {}

    def retype(number):
        def change(model):
            shape, _, data = model.tensors["blk.0.attn_q.weight"]
            model.tensors["blk.0.attn_q.weight"] = shape, number, data
        return change

    one("adapter.gguf", "is a LoRA adapter, not a model", lambda m: m.set("general.type", STRING, "adapter").set("adapter.type", STRING, "lora"))
    one("mmproj.gguf", "projector of a multimodal model", lambda m: m.set("general.architecture", STRING, "clip"))
    one("vocab.gguf", "has a vocabulary and no weights", drop_tensors)
    one("other.gguf", "only llama, qwen2 and qwen3", lambda m: m.set("general.architecture", STRING, "gemma3"))
    one("removed.gguf", 'tensor "blk.0.attn_q.weight" has type number 31 (Q4_0_4_4), which was removed from GGUF', retype(31))
    one("newer.gguf", 'tensor "blk.0.attn_q.weight" has type number 57, which this program does not know: the file was written by a newer GGUF tool', retype(57))
    one("window.gguf", "llama.attention.sliding_window is 16: this changes what the model computes", lambda m: m.set("llama.attention.sliding_window", U32, 16))
    one("scale.gguf", "llama.residual_scale is 0.22: this changes what the model computes", lambda m: m.set("llama.residual_scale", F64, 0.22))


def head_sizes(folder):
    """What the library has no kernels for is said as the model's limit."""
    for head in (36, 260, 512):
        model = arch("llama")
        for key in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
            model.set("llama." + key, U32, head)
        del model.tensors["rope_freqs.weight"]
        for name in list(model.tensors):
            shape, kind, _ = model.tensors[name]
            new = {"attn_q": (64, 2 * head), "attn_k": (64, head), "attn_v": (64, head), "attn_output": (2 * head, 64)}.get(name.split(".")[-2], shape)
            size = 2 if kind == 1 else 4
            for n in new:
                size *= n
            model.tensors[name] = new, kind, bytes(size)
        path = model.write(folder / f"head{head}.gguf")
        refused(1, f"head{head}.gguf: model: head size {head} (2 heads, 1 of keys and values) is not supported: attention: ", "-m", str(path), "--backend", "cpu", "-p", "x")


def unneeded_metadata(folder):
    """The same model, written in other ways: the same text."""
    want = text_of(DATA / "arch-llama.gguf")
    model = arch("llama")
    for name, kind, content in (
        ("context_length", U64, 64), ("embedding_length", F32, 64.0), ("block_count", U8, 2), ("feed_forward_length", ARRAY, (I32, [96, 96])),
        ("attention.head_count", ARRAY, (U32, [2, 2])), ("attention.head_count_kv", ARRAY, (I64, [1, 1])), ("attention.key_length", F64, 64.0),
        ("rope.dimension_count", I64, 64), ("rope.freq_base", U32, 500000), ("attention.layer_norm_rms_epsilon", F64, 1e-5),
        ("attention.scale", F32, 0.125), ("vocab_size", U32, 77), ("expert_count", U32, 0), ("expert_used_count", U32, 0), ("attention.causal", BOOL, True),
        ("attention.sliding_window", U32, 64), ("rope.scaling.type", STRING, "none"), ("rope.scaling.factor", F32, 8.0), ("note", STRING, "x"),
    ):
        model.set("llama." + name, kind, content)
    model.set("general.name", ARRAY, (STRING, ["a"])).set("general.alignment", U64, 32)
    check(text_of(model.write(folder / "types.gguf")) == want, "numbers of other types change the text")
    # A tensor that cannot be read in place is named, with its file; without --weights mapped it is copied.
    narrow = arch("llama").set("general.alignment", U32, 8)
    head = 24 + sum(8 + len(n) + len(raw) for n, raw in narrow.keys.items()) + sum(24 + len(n) + 8 * len(shape) for n, (shape, _, _) in narrow.tensors.items())
    # The tensors' data begins where it did: the header is a multiple of 32 bytes as it is.
    odd = narrow.set("pad", STRING, "x" * (-(head + 8 + 3 + 4 + 8) % 32)).write(folder / "odd.gguf")
    data = bytearray(odd.read_bytes())
    at = data.index(b"output_norm.weight") + len(b"output_norm.weight") + 4 + 8 + 4
    model_bytes = arch("llama")
    body = model_bytes.tensors["output_norm.weight"][2]
    section = len(data) - sum(len(d) + -len(d) % 32 for _, _, d in model_bytes.tensors.values())
    # Its bytes go to the end of the file, eight further than a multiple of sixteen.
    place = len(data) + 8
    data += bytes(8) + body
    struct.pack_into("<Q", data, at, place - section)
    odd.write_bytes(data)
    refused(1, f"odd.gguf: --weights mapped: tensor output_norm.weight F32 [64] lies at byte {place}, must be a multiple of 16; leave --weights out or give copied or packed", "-m", str(odd), "--backend", "cpu", "-p", "x", "--weights", "mapped")
    check(text_of(odd) == want and text_of(odd, "--weights", "copied") == want, "a tensor on a multiple of 8")
    # EOS is for whole texts, and a prompt is none: it does not close what is to be continued.
    closing = arch("llama").set("tokenizer.ggml.add_eos_token", BOOL, True).write(folder / "closing.gguf")
    check(text_of(closing) == want, "add_eos_token ends the prompt")
    # Weights in one place: the output matrix is the embedding.
    tied = arch("llama")
    tied.tensors["output.weight"] = tied.tensors["token_embd.weight"]
    apart = text_of(tied.write(folder / "apart.gguf"))
    for weights in ("mapped", "copied", "packed"):
        check(text_of(tied.write(folder / "tied.gguf", ("token_embd.weight", "output.weight")), "--weights", weights) == apart, f"tied weights, {weights}")
    check((folder / "tied.gguf").stat().st_size < (folder / "apart.gguf").stat().st_size, "the tied file holds the matrix twice")
    # attention.scale is applied: another one gives another text.
    check(text_of(arch("llama").set("llama.attention.scale", F32, 0.03).write(folder / "scale.gguf")) != want, "attention.scale is passed over")
    # Scaling by 0.5 in the first way to write it is the same in the others.
    old = text_of(arch("llama").set("llama.rope.scale_linear", F32, 2.0).write(folder / "old.gguf"))
    check(old != want and old == text_of(arch("llama").set("llama.rope.scaling.factor", F32, 2.0).write(folder / "bare.gguf")), "rope.scale_linear")
    # Sampling does not reach rows beyond the vocabulary either, which are the likeliest by far: the text has tokens of the vocabulary alone.
    hot = ["--temp", "1", "--top-k", "0", "--top-p", "1", "--min-p", "0"]
    for name in ("linear", "longrope-long"):
        for extra in ([], ["--parallel", "3"]):
            out = text_of(DATA / f"arch-{name}.gguf", *hot, *extra)
            check(len(out) >= 6 + 16 - 4, f"{name} {extra}: tokens without a text are drawn: {out!r}")


def sampling():
    hot = [*BASE, "-p", "The", "-n", "24", "--temp", "1.5", "--top-k", "0", "--top-p", "1", "--min-p", "0"]
    first = run(*hot, "--seed", "1")
    check(first[0] == 0 and len(first[1]) > 24, f"sampling: {first}")
    check(run(*hot, "--seed", "1")[1] == first[1], "the same seed gives the same text")
    check(run(*hot, "--seed", "1", "--no-graph")[1] == first[1], "the graph changes a sampled text")
    others = {run(*hot, "--seed", str(seed))[1] for seed in range(2, 6)}
    check(len(others) > 1, "four seeds give four times the same text")
    greedy = run(*BASE, "-p", "The", "-n", "24")[1]
    check(run(*BASE, "-p", "The", "-n", "24", "--temp", "1", "--top-k", "1")[1] == greedy, "top-k 1 is greedy")


def modes():
    prompt = "A workspace is a set of packages"
    want = run(*BASE, "-p", prompt, "-n", "24", "--compute", "exact")[1]
    for compute in ("int8", "exact"):
        for weights, said in (("packed", "packed for matmuls"), ("copied", "copied to the device"), ("mapped", "where the file is mapped")):
            code, out, err = run(*BASE, "-p", prompt, "-n", "24", "--compute", compute, "--weights", weights)
            check(code == 0 and out == want, f"{compute}, {weights}: {code} {out!r} {err}")
            check(said in err and f"{compute}: " in err and ("5 a layer" if compute == "int8" else "7 a layer") in err, f"{compute}, {weights}: the table says {err}")


def texts_of(out):
    """What --parallel printed, one text each."""
    return [part.split(b" ===\n", 1)[1].removesuffix(b"\n") for part in (b"\n" + out).split(b"\n=== ")[1:]]


def parallel():
    prompt = "A workspace is a set of packages"
    one = run(*BASE, "-p", prompt, "-n", "24")[1]
    for extra in ([], ["--no-graph"], ["--compute", "exact"], ["--weights", "packed"], ["--batch", "2"]):
        code, out, err = run(*BASE, "-p", prompt, "-n", "24", "--parallel", "3", *extra)
        check(code == 0 and texts_of(out) == [one] * 3, f"three sequences, {extra}: {code} {out!r} {err}")
    check("3 sequences" in err, f"the table does not say how many: {err}")
    # The texts end before the limit.
    ends = "You can’t use the #[should_panic]"
    check(texts_of(run(*BASE, "-p", ends, "-n", "120", "--parallel", "2")[1]) == [run(*BASE, "-p", ends, "-n", "120")[1]] * 2, "sequences that end")
    # Hot sequences part. The first draws what it draws alone, whatever the others do beside it.
    hot = [*BASE, "-p", "The", "-n", "32", "--temp", "1.5", "--top-k", "0", "--top-p", "1", "--min-p", "0", "--seed", "7", "--compute", "exact"]
    alone, texts = run(*hot)[1], texts_of(run(*hot, "--parallel", "4")[1])
    check(len(set(texts)) == 4 and texts[0] == alone, f"four sampled sequences: {texts}, alone {alone!r}")


def bench(folder):
    path = folder / "bench.json"
    code, out, err = run(*BASE, "--bench", "--bench-json", str(path))
    check(code == 0 and out == b"" and "tok/s" in err, f"--bench: {code} {err}")
    check("floor" not in err and "bandwidth" not in err, f"--bench on the CPU compares with a bandwidth: {err}")
    report = json.loads(path.read_text())
    check(report["backend"] == "cpu" and all(row["tokens_per_second"] > 0 for row in report["results"]), f"bench JSON: {report}")
    check({row["test"] for row in report["results"]} == {"prefill", "decode"}, "bench JSON lacks a test")
    check(report["graph_nodes"] == 6 * report["graph_nodes_per_layer"] + 3 and report["graph_nodes_per_layer"] == 5, f"launches: {report}")
    check(report["compute"] == "int8" and report["weights"] == "mapped", f"modes: {report}")
    code, out, err = run(*BASE, "--bench", "--bench-json", str(path), "--parallel", "4", "--ctx", "64")
    rows = json.loads(path.read_text())["results"] if code == 0 else []
    check(rows and all(row["sequences"] == (4 if row["test"] == "decode" else 1) for row in rows), f"--bench --parallel: {code} {rows} {err}")


with tempfile.TemporaryDirectory() as name:
    wrong_command_lines()
    version()
    failures_at_run_time(pathlib.Path(name))
    memory_is_planned(pathlib.Path(name))
    text_and_table(pathlib.Path(name))
    small_chunks(pathlib.Path(name))
    interrupts(pathlib.Path(name))
    split_models(pathlib.Path(name))
    no_models(pathlib.Path(name))
    head_sizes(pathlib.Path(name))
    unneeded_metadata(pathlib.Path(name))
    sampling()
    modes()
    parallel()
    bench(pathlib.Path(name))
sys.exit(checks.summary())
