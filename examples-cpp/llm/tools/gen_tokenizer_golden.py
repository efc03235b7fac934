#!/usr/bin/env python3
"""Writes the tokenizer's golden vectors with an independent oracle: the PyPI package `tokenizers`.

    pip install tokenizers==0.23.3 gguf==0.19.0
    python3 tools/gen_tokenizer_golden.py models/tiny-qwen3-q4_k_m.gguf src/unicode_tables.inc tests/data

encode.tsv: hex of the UTF-8 text, tab, the ids (vocabulary of the model given). split.tsv: pattern, tab, hex of the text, tab, the
byte lengths of the pieces.
"""
import pathlib
import random
import re
import sys

from gguf import GGUFReader
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {"qwen2": HEAD + r"\p{N}" + TAIL, "llama-bpe": HEAD + r"\p{N}{1,3}" + TAIL}

AWKWARD = [
    "", " ", "  ", "\n", "\r\n", "\t", "a", " a", "  a", "a ", "a  ", " \n ", "\n\n\n", "a\r\n\r\nb", "a \r\n b", "a\n  b", "    let x = 5;\n", "\t\tif x {\n\t}\n\n",
    "I'm you're he's we've she'll they'd don't", "I'M YOU'RE HE'S WE'VE SHE'LL THEY'D DON'T", "'s's'S'\u017f'\u017ft 'l 'r 'v 'll'lL'Ll", "''s '' ' 'x 's", "it\u2019s \u2018quoted\u2019",
    "1234567890", "12 345 6789 3.14159 1e-9 0x7F", "\u0661\u0662\u0663 \u00bd \u2167 \u3007 \u4e00\u4e8c", "v1.2.3-rc4", "#[should_panic]", "Result<T, E>", "&'a str", "fn main() { println!(\"{x:?}\"); }",
    "caf\u00e9 cafe\u0301 \u1e0b\u0323 \u0e01\u0e33 \u0939\u093f\u0928\u094d\u0926\u0940", "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8", "\ud55c\uad6d\uc5b4", "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\U0001f600\U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea", "a\U00010330b\U0001d7d8c", "\u00a0\u00a0x\u2003\u2003y\u3000z\u200bw\ufeff", "\u2028\u2029\u0085\u000b\u000c\u001c\u001f", "x\u0000y\u0001z\u007f",
    "!!!???...", " !!!\n\n", "a!\r\n\r\nb", "---\n---\n", "=" * 77, "a" * 300, " " * 200, " " * 200 + "x", "\n" * 50 + " " * 9 + "\n" + " " * 3 + "x", "ab" * 500,
    "\ufffd\uffff\U0010ffff\ue000\ud7fb", "\u02bcs \u0149 \ufb06 \u212a \u00df\u1e9e", "na\u00efve fa\u00e7ade \u0130stanbul \u03a3\u03c3\u03c2", "1\u0300 a\u0300 !\u0300  \u0300", "\u1680x \u180e y\u205f z\u202f",
]

SOUP = ["a", "Z", "the", " the", "ing", " ", "  ", "\n", "\r", "\t", "'", "'s", "'LL", "1", "23", ".", ",", "!?", "\u00e9", "e\u0301", "\u4e16", "\u0662", "\u00a0", "\u3000", "\U0001f680", "_", "\u017f", "\u2019", "::", "->", "\u0000"]


def boundary_texts(table, rng):
    """Texts of the code points at and beside every edge of the class tables."""
    points = set()
    for a, b in re.findall(r"\{0x([0-9A-F]+), 0x([0-9A-F]+)\}", table):
        points |= {int(a, 16) - 1, int(a, 16), int(b, 16), int(b, 16) + 1}
    points = [p for p in sorted(points) if p < 0x110000 and not 0xD800 <= p < 0xE000]
    rng.shuffle(points)
    return ["".join(map(chr, points[i : i + 128])) for i in range(0, len(points), 128)]


def main():
    model, table, out = sys.argv[1], pathlib.Path(sys.argv[2]).read_text(), pathlib.Path(sys.argv[3])
    reader = GGUFReader(model)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    bpe = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens) if types[i] == 1}, merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    splits = {name: pre_tokenizers.Split(Regex(p), "isolated") for name, p in PATTERNS.items()}
    bpe.pre_tokenizer = pre_tokenizers.Sequence([splits["qwen2"], byte_level])

    rng = random.Random(20)
    texts = AWKWARD + ["".join(rng.choices(SOUP, k=rng.randrange(1, 40))) for _ in range(300)]
    with open(out / "encode.tsv", "w") as f:
        for text in texts + boundary_texts(table, rng)[:4]:
            f.write(text.encode().hex() + "\t" + " ".join(map(str, bpe.encode(text, add_special_tokens=False).ids)) + "\n")
    with open(out / "split.tsv", "w") as f:
        for text in texts + boundary_texts(table, rng):
            for name, split in splits.items():
                lengths = [len(piece.encode()) for piece, _ in split.pre_tokenize_str(text)]
                f.write(name + "\t" + text.encode().hex() + "\t" + " ".join(map(str, lengths)) + "\n")


main()
