#!/usr/bin/env python3
"""Writes small random models of each architecture and what they have to continue a prompt with, computed here in f64 with numpy.

    pip install numpy==2.4.6 gguf==0.19.0
    python3 tools/gen_arch_golden.py tests/data

The trained fixture is a qwen3; these cover what it has not: biases, interleaved and partial rotation, frequency factors, linear scaling, an output
matrix of its own, BOS, and in `mixed` block formats beside plain ones in one layer, with widths that are no multiple of 64. Seeds are searched for one whose choices all have a wide margin, so that rounding cannot change the text.
"""
import json
import pathlib
import sys

import gguf
import gguf.quants
import numpy as np

HEADS, KV_HEADS, FFN, LAYERS, CONTEXT, EPS = 2, 1, 96, 2, 64, 1e-5
PROMPT, NEW_TOKENS, MARGIN = "Reflex: it's 2 < 3!", 24, 0.4

# Each product gets its x from another op, and some of them a plain weight beside, before or behind a block format.
MIXED = {
    "token_embd": "Q8_0",
    "blk.0.attn_q": "Q8_0", "blk.0.attn_k": "Q5_1", "blk.0.attn_v": "Q4_1", "blk.0.attn_output": "Q8_0",
    "blk.0.ffn_gate": "Q8_0", "blk.0.ffn_up": "Q5_0",
    "blk.1.attn_q": "Q8_0", "blk.1.attn_v": "Q8_0", "blk.1.ffn_gate": "Q8_0", "blk.1.ffn_down": "Q8_0",
    "blk.2.attn_output": "Q8_0", "blk.2.ffn_gate": "Q8_0", "blk.2.ffn_up": "Q8_0", "blk.2.ffn_down": "Q4_0",
}

MODELS = {
    "llama": dict(hidden=64, head_dim=64, arch="llama", pre="llama-bpe", neox=False, base=500000.0, rotary=64, scale=1.0, factors=True, bias=False, head_norm=False, tied=False, types={}),
    "llama-partial": dict(hidden=64, head_dim=64, arch="llama", pre="llama-bpe", neox=False, base=10000.0, rotary=32, scale=4.0, factors=False, bias=False, head_norm=False, tied=True, types={}),
    "qwen2": dict(hidden=64, head_dim=64, arch="qwen2", pre="qwen2", neox=True, base=1e6, rotary=64, scale=1.0, factors=False, bias=True, head_norm=False, tied=True, types={}),
    "qwen3": dict(hidden=64, head_dim=64, arch="qwen3", pre="qwen2", neox=True, base=1e6, rotary=64, scale=1.0, factors=False, bias=False, head_norm=True, tied=False, types={}),
    "mixed": dict(hidden=96, head_dim=48, arch="qwen3", pre="qwen2", neox=True, base=1e6, rotary=48, scale=1.0, factors=False, bias=False, head_norm=True, tied=True, types=MIXED),
}


def byte_alphabet():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(0x100 + i) for i, b in enumerate(rest)}}


# One merge, of two zero bytes: a file without any is not one that a tokenizer takes.
TOKENS = [byte_alphabet()[b] for b in range(256)] + ["<|bos|>", "<|endoftext|>", "ĀĀ"]
BOS, EOS = 256, 257


def layers(kind):
    return 3 if kind["types"] else LAYERS


def weights(kind, seed):
    """Values by name, and what the file holds in place of those that have a block format."""
    rng = np.random.default_rng(seed)
    hidden, head_dim = kind["hidden"], kind["head_dim"]
    f16 = lambda *shape, gain=1.0: (rng.standard_normal(shape) * gain / np.sqrt(shape[-1])).astype(np.float16)
    f32 = lambda n, mean, spread: (mean + spread * rng.standard_normal(n)).astype(np.float32)
    t = {"token_embd.weight": f16(len(TOKENS), hidden, gain=8.0), "output_norm.weight": f32(hidden, 1, 0.1)}
    if not kind["tied"]:
        t["output.weight"] = f16(len(TOKENS), hidden, gain=3.0)
    if kind["factors"]:
        t["rope_freqs.weight"] = np.linspace(1, 8, kind["rotary"] // 2).astype(np.float32)
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
    for name, kind_name in kind["types"].items():
        qtype = gguf.GGMLQuantizationType[kind_name]
        raw = gguf.quants.quantize(t[name + ".weight"].astype(np.float32), qtype)
        stored[name + ".weight"] = raw, qtype
        t[name + ".weight"] = gguf.quants.dequantize(raw, qtype)
    return t, stored


def forward(kind, t, ids):
    """Logits after the last of `ids`, the whole sequence at once: no cache, no batches."""
    w = {name: value.astype(np.float64) for name, value in t.items()}
    norm = lambda x, g: x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * g
    n, rotary, head_dim = len(ids), kind["rotary"], kind["head_dim"]
    freq = kind["base"] ** (-np.arange(0, rotary, 2) / rotary) / w.get("rope_freqs.weight", 1.0)
    angle = np.arange(n)[:, None] / kind["scale"] * freq[None, :]
    cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]

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
    return norm(x[-1], w["output_norm.weight"]) @ w.get("output.weight", w["token_embd.weight"]).T


def continuation(kind, t):
    """New ids, or None when a choice is too close, ends the text, or the text repeats itself."""
    ids = ([BOS] if kind["pre"] == "llama-bpe" else []) + list(PROMPT.encode())
    new = []
    for _ in range(NEW_TOKENS):
        logits = forward(kind, t, ids)
        second, first = np.sort(logits)[-2:]
        token = int(logits.argmax())
        if first - second < MARGIN or token >= 256:
            return None
        new.append(token)
        ids.append(token)
    return new if len(set(new)) > NEW_TOKENS // 2 else None


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
    if kind["scale"] != 1.0:
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(kind["scale"])
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
        for seed in range(100000):
            t, stored = weights(kind, seed)
            new = continuation(kind, t)
            if new:
                break
        print(f"{name}: seed {seed}")
        write(out / f"arch-{name}.gguf", kind, t, stored)
        cases.append({"model": f"arch-{name}.gguf", "prompt": PROMPT, "predict": NEW_TOKENS, "text_hex": (PROMPT.encode() + bytes(new)).hex()})
    (out / "arch_golden.json").write_text(json.dumps(cases, indent=1) + "\n")


main()
