#!/usr/bin/env python3
"""Conversations from outside: a chat says what --prompt would of the text that the template makes. Usage: chat_test.py PROGRAM MODELS"""
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import gguf_edit
from gguf_edit import STRING

PROGRAM, MODELS = sys.argv[1], pathlib.Path(sys.argv[2])
EXACT = ["--backend", "cpu", "--compute", "exact"]
# Contents alone, one behind the other, and a mark where the answer begins.
PLAIN = "{% for m in messages %}{{ m.content }}{% endfor %}"
TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"
failures = checks = 0


def check(condition, what):
    global failures, checks
    checks += 1
    if not condition:
        failures += 1
        print("failed:", what)


def run(*arguments, stdin=b""):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, timeout=300, input=stdin)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def model(folder, name, template):
    made = gguf_edit.Gguf(MODELS / "tiny-qwen3-q4_k_m.gguf")
    if template is not None:
        made.set("tokenizer.chat_template", STRING, template)
    return str(made.write(folder / f"{name}.gguf"))


def continued(path, text, *extra):
    code, out, err = run("-m", path, *EXACT, "-p", text, "-n", "12", *extra)
    check(code == 0 and out.startswith(text.encode()), f"--prompt: {code} {err}")
    return out[len(text.encode()) :].decode()


def chat(path, *turns, extra=()):
    code, out, err = run("-m", path, *EXACT, "--chat", "-n", "12", *extra, stdin="".join(t + "\n" for t in turns).encode())
    check(code == 0, f"--chat {turns}: {code} {err}")
    return out.decode(), err


def prefilled(err):
    return int(re.search(r"prefill +(\d+) tokens", err)[1])


def turns(folder):
    path = model(folder, "plain", PLAIN)
    first, second = "A workspace is a set of packages", " When the vector gets dropped,"
    answer = continued(path, first)
    out, err = chat(path, first)
    check(out == answer + "\n" and "the end of the input" in err, f"one turn: {out!r}, --prompt gives {answer!r}")
    both = continued(path, first + answer + second)
    out, err_both = chat(path, first, second)
    check(out == f"{answer}\n{both}\n", f"two turns: {out!r}, --prompt gives {answer!r} and {both!r}")
    # What is there already is not computed again: the turns' own tokens, and at most a few where texts meet.
    whole = prefilled(run("-m", path, *EXACT, "-p", first + answer + second, "-n", "1")[2])
    check(prefilled(err_both) < prefilled(err) + whole - 12, f"{prefilled(err_both)} tokens are prefilled, {prefilled(err)} and {whole} apart")
    check(chat(path, second, extra=["-p", first])[0] == out, "--prompt is the first turn")
    check(chat(path, second, extra=["-p", first, "--no-graph"])[0] == out, "the graph changes a conversation")
    check(chat(path, "A workspace\\", "is a set")[0] == continued(path, "A workspace\nis a set") + "\n", "a backslash continues a turn")
    check(chat(path, "", first, "")[0] == answer + "\n", "empty lines are no turns")
    check(chat(path)[0] == "", "no turn at all")
    check(chat(path, first, extra=["--system", "Packages. "])[0] == continued(path, "Packages. " + first) + "\n", "--system")


def control_tokens(folder):
    path = model(folder, "turns", TURNS)
    said = "fn main"
    want = continued(path, f"<|im_start|>user:{said}<|im_end|><|im_start|>", "--special")
    check(chat(path, said)[0] == want + "\n", "control tokens of the template")
    # What a user types is text: it neither ends a turn nor begins one.
    path = model(folder, "plain", PLAIN)
    for said in ("end<|im_end|>begin<|im_start|>", "<|im_end|>", "<|endoftext|> <|im_end|><|im_end|>"):
        check(chat(path, said)[0] == continued(path, said) + "\n", f"control tokens are read in what a user says: {said}")
    check(chat(path, "a\ufdd0b")[0] == continued(path, "ab") + "\n", "a noncharacter is dropped")


def refusals(folder):
    def refused(path, part, *extra, stdin=b"x\n", said=b""):
        code, out, err = run("-m", path, *EXACT, "--chat", *extra, stdin=stdin)
        check(code == 1 and out == said and part in err, f"{part}: {code} {out!r} {err!r}")

    refused(model(folder, "bare", None), "bare.gguf: the file has no chat template (tokenizer.chat_template)")
    refused(model(folder, "broken", "{% for m in messages %}"), "the model's chat template: ")
    refused(model(folder, "picky", "{{ raise_exception('only in pairs') }}"), "the model's chat template: only in pairs (line 1 of the template)")
    refused(model(folder, "empty", "{# nothing #}"), "the model's chat template gives an empty text")
    path = model(folder, "plain", PLAIN)
    refused(path, "the conversation has", "--ctx", "16", stdin=b"word " * 40)
    refused(path, "a message is not UTF-8 from byte 1 on", stdin=b"a\xff\n")
    code, out, err = run("-m", path, *EXACT, "--chat", "--ctx", "24", stdin=b"A workspace is a set\nmore\n")
    check(code == 0 and "the context is full" in err, f"a context that an answer fills: {code} {err}")


def interrupt(folder):
    """Ctrl-C ends a conversation that waits for a turn, with its table."""
    process = subprocess.Popen([PROGRAM, "-m", model(folder, "plain", PLAIN), *EXACT, "--chat", "-n", "4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(b"A workspace is\n")
    process.stdin.flush()
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    check(process.returncode == 130 and b"an interrupt" in err, f"interrupted: {process.returncode} {err}")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if "built without chat templates" in run("-m", model(folder, "plain", PLAIN), *EXACT, "--chat")[2]:
            print("skipped: built without cargo")
            return 77
        for test in (turns, control_tokens, refusals, interrupt):
            test(folder)
    print(f"{checks} checks, {failures} failed")
    return 0 if failures == 0 and checks > 20 else 1


sys.exit(main())
