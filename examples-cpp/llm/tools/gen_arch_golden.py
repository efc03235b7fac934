#!/usr/bin/env python3
"""Writes small random models of each architecture and what they have to continue a prompt with, computed here in f64 with numpy.

    pip install numpy==2.4.6 gguf==0.19.0
    python3 tools/gen_arch_golden.py tests/data

The trained fixture is a qwen3; these cover what it has not: biases, interleaved and partial rotation, frequency factors, linear, YaRN and
LongRoPE scaling beyond the original context, an output matrix of its own, rows beyond the vocabulary, vectors in F16 and BF16, BOS, and in `mixed` block formats beside plain ones in one layer, with widths that are no multiple of 64. Seeds are searched for one whose choices all have a wide margin, so that rounding cannot change the text.
"""
import json
import pathlib
import sys

import gguf
import gguf.quants
import numpy as np

HEADS, KV_HEADS, FFN, LAYERS, CONTEXT, EPS = 2, 1, 96, 2, 64, 1e-5
PROMPT, NEW_TOKENS, MARGIN = "Reflex: it's 2 < 3!", 24, 0.4
# Two chunks of a context. What the test allows is far below LEAST_CHANGE.
SCORED, LEAST_CHANGE = b"Streams, events and graphs have small helpers, so an engine builds without a toolkit. Every call can be captured in a graph, too.", 0.03

# Each product gets its x from another op, and some of them a plain weight beside, before or behind a block format.
MIXED = {
    "token_embd": "Q8_0",
    "blk.0.attn_q": "Q8_0", "blk.0.attn_k": "Q5_1", "blk.0.attn_v": "Q4_1", "blk.0.attn_output": "Q8_0",
    "blk.0.ffn_gate": "Q8_0", "blk.0.ffn_up": "Q5_0",
    "blk.1.attn_q": "Q8_0", "blk.1.attn_v": "Q8_0", "blk.1.ffn_gate": "Q8_0", "blk.1.ffn_down": "Q8_0",
    "blk.2.attn_output": "Q8_0", "blk.2.ffn_gate": "Q8_0", "blk.2.ffn_up": "Q8_0", "blk.2.ffn_down": "Q4_0",
}

# As the keys under <arch>.rope. say it. The original context of the scaled models is far shorter than prompt and text.
YARN = dict(type="yarn", factor=4.0, original=12)
LONGROPE = dict(type="longrope", original=12, attn_factor=1.19)

# Where the search begins: the seeds that it found, for the models here.
SEEDS = {"llama": 9453, "llama-partial": 293, "qwen2": 5, "qwen3": 37816, "mixed": 4235, "linear": 93, "yarn": 693, "yarn-all": 99, "longrope-short": 7, "longrope-long": 390}

MODELS = {
    "llama": dict(hidden=64, head_dim=64, arch="llama", pre="llama-bpe", neox=False, base=500000.0, rotary=64, scaling={}, factors=True, bias=False, head_norm=False, tied=False, types={}),
    "llama-partial": dict(hidden=64, head_dim=64, arch="llama", pre="llama-bpe", neox=False, base=10000.0, rotary=32, scaling=dict(type="linear", factor=4.0), factors=False, bias=False, head_norm=False, tied=True, types={}),
    "qwen2": dict(hidden=64, head_dim=64, arch="qwen2", pre="qwen2", neox=True, base=1e6, rotary=64, scaling={}, factors=False, bias=True, head_norm=False, tied=True, types={}),
    "qwen3": dict(hidden=64, head_dim=64, arch="qwen3", pre="qwen2", neox=True, base=1e6, rotary=64, scaling={}, factors=False, bias=False, head_norm=True, tied=False, types={}),
    "mixed": dict(hidden=96, head_dim=48, arch="qwen3", pre="qwen2", neox=True, base=1e6, rotary=48, scaling={}, factors=False, bias=False, head_norm=True, tied=True, types=MIXED),
    # One layer each: linear scaling without a type and with a magnitude, YaRN in both ways to pair, with everything it can be given, and LongRoPE.
    "linear": dict(hidden=64, head_dim=64, arch="qwen2", pre="qwen2", neox=True, base=10000.0, rotary=64, scaling=dict(factor=8.0, attn_factor=1.25), factors=False, bias=True, head_norm=False, tied=True, types={}, layers=1, new=14, plain="BF16", spare_rows=13),
    "yarn": dict(hidden=64, head_dim=64, arch="qwen3", pre="qwen2", neox=True, base=10000.0, rotary=64, scaling=YARN, factors=False, bias=False, head_norm=True, tied=True, types={}, layers=1, new=14),
    "yarn-all": dict(hidden=64, head_dim=64, arch="llama", pre="llama-bpe", neox=False, base=500000.0, rotary=32, scaling=dict(YARN, attn_factor=1.1, ext=0.75, beta_fast=0.2, beta_slow=0.01, log_mul=0.5), factors=True, bias=False, head_norm=False, tied=True, types={}, layers=1, new=14, plain="F16"),
    "longrope-short": dict(hidden=64, head_dim=64, arch="llama", pre="llama-bpe", neox=False, base=10000.0, rotary=64, scaling=dict(LONGROPE, original=CONTEXT), factors=False, bias=False, head_norm=False, tied=True, types={}, layers=1, new=14),
    "longrope-long": dict(hidden=64, head_dim=64, arch="llama", pre="llama-bpe", neox=False, base=10000.0, rotary=64, scaling=LONGROPE, factors=False, bias=False, head_norm=False, tied=False, types={}, layers=1, new=14, spare_rows=5),
}


def byte_alphabet():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(0x100 + i) for i, b in enumerate(rest)}}


# One merge, of two zero bytes: a file without any is not one that a tokenizer takes.
TOKENS = [byte_alphabet()[b] for b in range(256)] + ["<|bos|>", "<|endoftext|>", "ĀĀ"]
BOS, EOS = 256, 257


def layers(kind):
    return kind.get("layers", 3 if kind["types"] else LAYERS)


def weights(kind, seed):
    """Values by name, and what the file holds in place of those that have a block format."""
    rng = np.random.default_rng(seed)
    hidden, head_dim = kind["hidden"], kind["head_dim"]
    f16 = lambda *shape, gain=1.0: (rng.standard_normal(shape) * gain / np.sqrt(shape[-1])).astype(np.float16)
    f32 = lambda n, mean, spread: (mean + spread * rng.standard_normal(n)).astype(np.float32)
    # Rows beyond the vocabulary are loud, so that a choice among them would be theirs.
    rows = len(TOKENS) + kind.get("spare_rows", 0)
    loud = np.where(np.arange(rows) < len(TOKENS), 1, 16)[:, None].astype(np.float16)
    t = {"token_embd.weight": f16(rows, hidden, gain=8.0) * loud, "output_norm.weight": f32(hidden, 1, 0.1)}
    if not kind["tied"]:
        t["output.weight"] = f16(rows, hidden, gain=3.0) * loud
    if kind["factors"]:
        t["rope_freqs.weight"] = np.linspace(1, 8, kind["rotary"] // 2).astype(np.float32)
    if kind["scaling"].get("type") == "longrope":
        t["rope_factors_short.weight"] = np.linspace(1, 3, kind["rotary"] // 2).astype(np.float32)
        t["rope_factors_long.weight"] = np.linspace(1, 40, kind["rotary"] // 2).astype(np.float32)
    for i in range(layers(kind)):
        b = f"blk.{i}."
        t[b + "attn_norm.weight"], t[b + "ffn_norm.weight"] = f32(hidden, 1, 0.1), f32(hidden, 1, 0.1)
        widths = {"attn_q": HEADS * head_dim, "attn_k": KV_HEADS * head_dim, "attn_v": KV_HEADS * head_dim}
        for name, width in widths.items():
            t[b + name + ".weight"] = f16(width, hidden, gain=2.0)
            if kind["bias"]:
                t[b + name + ".bias"] = f32(width, 0, 0.5)
        if kind["head_norm"]:
            t[b + "attn_q_norm.weight"], t[b + "attn_k_norm.weight"] = f32(head_dim, 1, 0.2), f32(head_dim, 1, 0.2)
        t[b + "attn_output.weight"] = f16(hidden, HEADS * head_dim, gain=2.0)
        t[b + "ffn_gate.weight"], t[b + "ffn_up.weight"] = f16(FFN, hidden, gain=1.5), f16(FFN, hidden, gain=1.5)
        t[b + "ffn_down.weight"] = f16(hidden, FFN, gain=2.0)
    stored = {}
    kinds = {name + ".weight": kind_name for name, kind_name in kind["types"].items()}
    if "plain" in kind:
        kinds.update({name: kind["plain"] for name, value in t.items() if value.ndim == 1})
    for name, kind_name in kinds.items():
        qtype = gguf.GGMLQuantizationType[kind_name]
        raw = gguf.quants.quantize(t[name].astype(np.float32), qtype)
        stored[name] = raw, qtype
        t[name] = gguf.quants.dequantize(raw, qtype)
    return t, stored


def rotation(kind, t, context=CONTEXT):
    """Frequencies and magnitude by the papers' formulas: https://arxiv.org/abs/2309.00071 for YaRN, https://arxiv.org/abs/2402.13753 for LongRoPE."""
    s, dim = kind["scaling"], kind["rotary"]
    factor, how = s.get("factor", 1.0), s.get("type", "linear")
    i = np.arange(dim // 2)
    freq = kind["base"] ** (-2 * i / dim)
    if how == "longrope":
        name = "long" if context > s["original"] else "short"
        return freq / t[f"rope_factors_{name}.weight"].astype(np.float64), s["attn_factor"]
    freq = freq / t.get("rope_freqs.weight", np.ones(dim // 2)).astype(np.float64)
    magnitude = s.get("attn_factor", 1.0)
    if how == "linear":
        return freq / factor, magnitude
    # The pair that turns r times within the original context: base^(2i/dim) = original / (2 pi r).
    pair = lambda turns: dim * np.log(s["original"] / (2 * np.pi * turns)) / (2 * np.log(kind["base"]))
    low, high = max(np.floor(pair(s.get("beta_fast", 32.0))), 0), min(np.ceil(pair(s.get("beta_slow", 1.0))), dim - 1)
    kept = (1 - np.clip((i - low) / max(high - low, 0.001), 0, 1)) * s.get("ext", 1.0)
    scale = lambda m: 0.1 * m * np.log(factor) + 1
    magnitude *= scale(1) / (scale(s["log_mul"]) if "log_mul" in s else 1)
    return freq / factor * (1 - kept) + freq * kept, magnitude


def forward(kind, t, ids):
    """Logits after each of `ids`, the whole sequence at once: no cache, no batches. Of the vocabulary alone."""
    w = {name: value.astype(np.float64) for name, value in t.items()}
    norm = lambda x, g: x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * g
    n, rotary, head_dim = len(ids), kind["rotary"], kind["head_dim"]
    freq, magnitude = rotation(kind, t)
    angle = np.arange(n)[:, None] * freq[None, :]
    cos, sin = magnitude * np.cos(angle)[:, None, :], magnitude * np.sin(angle)[:, None, :]

    def rope(x):
        head, rest = x[..., :rotary].copy(), x[..., rotary:]
        a, b = (head[..., : rotary // 2], head[..., rotary // 2 :]) if kind["neox"] else (head[..., 0::2], head[..., 1::2])
        ra, rb = a * cos - b * sin, a * sin + b * cos
        out = np.concatenate([ra, rb], -1) if kind["neox"] else np.stack([ra, rb], -1).reshape(head.shape)
        return np.concatenate([out, rest], -1)

    x = w["token_embd.weight"][ids]
    for i in range(layers(kind)):
        b = f"blk.{i}."
        h = norm(x, w[b + "attn_norm.weight"])
        q, k, v = ((h @ w[b + f"attn_{c}.weight"].T + w.get(b + f"attn_{c}.bias", 0)).reshape(n, -1, head_dim) for c in "qkv")
        if kind["head_norm"]:
            q, k = norm(q, w[b + "attn_q_norm.weight"]), norm(k, w[b + "attn_k_norm.weight"])
        q, k = rope(q), np.repeat(rope(k), HEADS // KV_HEADS, 1)
        v = np.repeat(v, HEADS // KV_HEADS, 1)
        score = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(head_dim) + np.where(np.tri(n), 0, -np.inf)
        p = np.exp(score - score.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + np.einsum("hij,jhd->ihd", p, v).reshape(n, -1) @ w[b + "attn_output.weight"].T
        h = norm(x, w[b + "ffn_norm.weight"])
        g = h @ w[b + "ffn_gate.weight"].T
        x = x + (g / (1 + np.exp(-g)) * (h @ w[b + "ffn_up.weight"].T)) @ w[b + "ffn_down.weight"].T
    return norm(x, w["output_norm.weight"]) @ w.get("output.weight", w["token_embd.weight"])[: len(TOKENS)].T


def start(kind):
    return [BOS] if kind["pre"] == "llama-bpe" else []


def perplexity(kind, t, text):
    """By llama.cpp's definition, of chunks of a whole context: the predictions made from its middle to its last but one token."""
    ids, losses = start(kind) + list(text), []
    for at in range(0, len(ids) - CONTEXT + 1, CONTEXT):
        chunk = ids[at : at + CONTEXT]
        logits = forward(kind, t, start(kind) + chunk[len(start(kind)) :])
        for row in range(CONTEXT // 2, CONTEXT - 1):
            top = logits[row].max()
            losses.append(np.log(np.exp(logits[row] - top).sum()) + top - logits[row][chunk[row + 1]])
    return float(np.exp(np.mean(losses)))


def sensitive(kind, t, text):
    """Whether other scalings would show: each of these has to change the perplexity by more than the test allows."""
    want = perplexity(kind, t, text)
    s = kind["scaling"]
    others = [{k: v for k, v in s.items() if k in keep} for keep in ((), ("type", "factor", "original"))] if s.get("type") != "longrope" else []
    others += [dict(s, **{k: v}) for k, v in dict(attn_factor=1.0, ext=1.0, beta_fast=32.0, beta_slow=1.0, log_mul=1e-9, factor=2.0, original=CONTEXT + 1 if s.get("original") != CONTEXT else 12).items() if k in s and s[k] != v]
    others = [o for o in others if o != s]
    changes = [abs(perplexity(dict(kind, scaling=o), t, text) / want - 1) for o in others]
    return want, min(changes, default=1)


def continuation(kind, t):
    """New ids, or None when a choice is too close, ends the text, or the text repeats itself."""
    ids = start(kind) + list(PROMPT.encode())
    new = []
    count = kind.get("new", NEW_TOKENS)
    for _ in range(count):
        logits = forward(kind, t, ids)[-1]
        second, first = np.sort(logits)[-2:]
        token = int(logits.argmax())
        if first - second < MARGIN or token >= 256:
            return None
        new.append(token)
        ids.append(token)
    return new if len(set(new)) > count // 2 else None


def write(path, kind, t, stored):
    arch = kind["arch"]
    w = gguf.GGUFWriter(path, arch)
    w.add_name(path.stem)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(kind["hidden"])
    w.add_block_count(layers(kind))
    w.add_feed_forward_length(FFN)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_key_length(kind["head_dim"])
    w.add_value_length(kind["head_dim"])
    w.add_rope_dimension_count(kind["rotary"])
    w.add_rope_freq_base(kind["base"])
    w.add_layer_norm_rms_eps(EPS)
    s = kind["scaling"]
    if "type" in s:
        w.add_rope_scaling_type(gguf.RopeScalingType(s["type"]))
    adders = dict(factor=w.add_rope_scaling_factor, original=w.add_rope_scaling_orig_ctx_len, attn_factor=w.add_rope_scaling_attn_factors, ext=w.add_rope_scaling_yarn_ext_factor, beta_fast=w.add_rope_scaling_yarn_beta_fast, beta_slow=w.add_rope_scaling_yarn_beta_slow, log_mul=w.add_rope_scaling_yarn_log_mul)
    for name, add in adders.items():
        if name in s:
            add(s[name])
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(kind["pre"])
    w.add_token_list(TOKENS)
    w.add_token_types([1] * 256 + [3, 3, 1])
    w.add_token_merges(["Ā Ā"])
    w.add_bos_token_id(BOS)
    w.add_eos_token_id(EOS)
    for name, value in t.items():
        raw, qtype = stored.get(name, (value, None))
        w.add_tensor(name, raw, raw_dtype=qtype)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    out = pathlib.Path(sys.argv[1])
    cases = []
    for name, kind in MODELS.items():
        for seed in range(SEEDS.get(name, 0), 100000):
            t, stored = weights(kind, seed)
            new = continuation(kind, t)
            if new:
                text = PROMPT.encode() + bytes(new)
                score, change = sensitive(kind, t, SCORED)
                if change > LEAST_CHANGE:
                    break
        print(f"{name}: seed {seed}, perplexity {score:.4f}, other scalings change it by {change:.1%} or more")
        write(out / f"arch-{name}.gguf", kind, t, stored)
        cases.append({"model": f"arch-{name}.gguf", "prompt": PROMPT, "predict": len(new), "text_hex": text.hex(), "scored": SCORED.decode(), "perplexity": round(score, 4)})
    (out / "arch_golden.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
