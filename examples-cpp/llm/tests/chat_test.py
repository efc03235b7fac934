#!/usr/bin/env python3
"""Conversations from outside: a chat says what --prompt would of the text that the template makes. Usage: chat_test.py PROGRAM MODELS"""
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import checks
import gguf_edit
from checks import check
from gguf_edit import STRING

PROGRAM, MODELS = sys.argv[1], pathlib.Path(sys.argv[2])
DATA = pathlib.Path(__file__).parent / "data"
EXACT = ["--backend", "cpu", "--compute", "exact"]
# Contents alone, one behind the other, and a mark where the answer begins.
PLAIN = "{% for m in messages %}{{ m.content }}{% endfor %}"
TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"


def run(*arguments, stdin=b""):
    return checks.run(PROGRAM, *arguments, stdin=stdin)


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
    refused(model(folder, "broken", "{% for m in messages %}"), "broken.gguf: the model's chat template: ")
    path = model(folder, "plain", PLAIN)
    code, out, err = run("-m", path, *EXACT, "--chat", "--ctx", "24", stdin=b"A workspace is a set\nmore\n")
    check(code == 0 and "the context is full" in err, f"a context that an answer fills: {code} {err}")


def failed_turns(folder):
    """A turn that cannot be rendered or does not fit is left out; the others are as without it, the table comes, and the status is 1."""
    def failed(path, part, said, count, *extra, stdin):
        code, out, err = run("-m", path, *EXACT, "--chat", "-n", "12", *extra, stdin=stdin)
        check(code == 1 and out == said and err.count("the turn is left out: " + part) == count and "stopped by           the end of the input" in err, f"{part}: {code} {out!r} {err!r}")

    picky, empty = (model(folder, name, text) for name, text in (("picky", "{{ raise_exception('only in pairs') }}"), ("empty", "{# nothing #}")))
    failed(picky, f"{picky}: the model's chat template: only in pairs (line 1 of the template)", b"", 2, stdin=b"x\ny\n")
    failed(empty, f"{empty}: the model's chat template gives an empty text", b"", 1, stdin=b"x\n")
    first, second = "A workspace is a set", " When the vector"
    want = chat(model(folder, "plain", PLAIN), first, second)[0].encode()
    path = model(folder, "some", "{% for m in messages %}{% if 'bad' in m.content %}{{ raise_exception('no') }}{% endif %}{{ m.content }}{% endfor %}")
    failed(path, f"{path}: the model's chat template: no", want, 3, stdin=f"bad\n{first}\nso bad\n{second}\nbad\n".encode())
    failed(path, f"{path}: the model's chat template: no", want, 1, "-p", "bad", stdin=f"{first}\n{second}\n".encode())
    long = "word " * 80
    failed(path, "the conversation has", want, 2, "--ctx", "72", stdin=f"{long}\n{first}\n{long}\n{second}\n".encode())


def ill_formed(folder):
    """What is no UTF-8 is U+FFFD in the conversation: of the user, and of an answer that ends within a character."""
    path = model(folder, "plain", PLAIN)
    check(run("-m", path, *EXACT, "--chat", "-n", "12", stdin=b"a\xff\xe2\x96b\n")[1] == continued(path, "a\ufffd\ufffdb").encode() + b"\n", "a turn that is no UTF-8")
    system = [PROGRAM, "-m", path, *EXACT, "--chat", "-n", "12", "--system", b"\xf0\x9f"]
    check(subprocess.run(system, capture_output=True, input=b"x\n", timeout=300).stdout == continued(path, "\ufffdx").encode() + b"\n", "a system message that is no UTF-8")
    # A model of random weights, whose tokens are bytes.
    bytes_model = gguf_edit.Gguf(DATA / "arch-llama.gguf").set("tokenizer.chat_template", STRING, PLAIN).write(folder / "bytes.gguf")
    def go(*arguments, stdin=b""):
        code, out, err = run("-m", str(bytes_model), *EXACT, "-n", "3", *arguments, stdin=stdin)
        check(code == 0, f"{arguments}: {code} {err}")
        return out

    found = 0
    for first in "abcdefgh":
        answer = go("-p", first)[1:]
        heard = answer.decode(errors="replace")
        found += heard.encode() != answer
        text = (first + heard + "x").encode()
        check(go("--chat", stdin=f"{first}\nx\n".encode()) == answer + b"\n" + go("-p", text)[len(text) :] + b"\n", f"after {answer!r}")
    check(found > 2, f"{found} answers are no UTF-8")


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
        for test in (turns, control_tokens, refusals, failed_turns, ill_formed, interrupt):
            test(folder)
    return checks.summary(least=21)


sys.exit(main())
