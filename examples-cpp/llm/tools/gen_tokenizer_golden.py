#!/usr/bin/env python3
"""Writes the tokenizer's golden vectors with independent oracles: the PyPI packages `tokenizers` and `sentencepiece`.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 gguf==0.19.0 numpy==2.4.6
    python3 tools/gen_tokenizer_golden.py models/tiny-qwen3-q4_k_m.gguf src/unicode_tables.inc tests/data

split.tsv      hex of the text, then for each group of families that split it alike: their names, a colon, the byte lengths of the pieces
encode.tsv     hex of the text, the ids, for the vocabulary of the model given
vocab-*.gguf   small vocabularies of each kind, trained here
vocab-*.tsv    for the vocabulary of that name: hex of the text, the ids without special tokens, the ids with BOS and control tokens read in the text

The expressions are those of the models' own tokenizer.json files, one list for each family.
"""
import io
import pathlib
import random
import re
import sys

import gguf
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

C = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
HEAD = C + r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = HEAD + r"\p{N}" + TAIL
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = lambda end, numbers: rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{end}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{end}|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*" + SPACES
DEEPSEEK = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"""
HAN_KANA, HAN_HANGUL = "[一-龥\u3040-ゟ゠-ヿ]+", "[一-龥ࠀ-一가-\ud7ff]+"
CASE = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼ"
    "ℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
FAMILIES = {
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "llama3": [HEAD + r"\p{N}{1,3}" + TAIL],
    "minicpm5": [r"\p{N}{1,3}", HEAD + r"\p{N}+" + TAIL],
    "jais-2": [HEAD + r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|" + "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)) + r"|\s{1,2}(?!\S)|\s{1}"],
    "qwen2": [QWEN2],
    "qwen35": [C + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + SPACES],
    "ufakzeka": [r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL],
    "laguna": [r"[^\n]+|[\n]+", QWEN2],
    "seed-coder": [HEAD + r"\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + SPACES],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "gpt-4o": [CASED(C + "?", r"\p{N}{1,3}")],
    "tekken": [CASED("", r"\p{N}")],
    "youtu": ["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + HAN_KANA, CASED(C + "?", r"\p{N}")],
    "deepseek-llm": [r"[\r\n]", rf"\s?[{CASE}]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", HAN_HANGUL, r"\p{N}+"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN_HANGUL, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", HAN_KANA, DEEPSEEK + r"[\r\n]*" + SPACES],
    "spark2_5": [r"\p{N}{1,3}", HAN_KANA, DEEPSEEK + r"|[\r\n]|\s+(?!\S)|\s+", r"\p{N}"],
    "bloom": [" ?[^(\\s|[.,!?…。，、।۔،])]+"],
    "viking": [" ?[^(\\s|[.,!?…。，、।۔،])]+", r"\p{N}"],
}

AWKWARD = [
    "", " ", "  ", "\n", "\r\n", "\t", "a", " a", "  a", "a ", "a  ", " \n ", "\n\n\n", "a\r\n\r\nb", "a \r\n b", "a\n  b", "    let x = 5;\n", "\t\tif x {\n\t}\n\n",
    "I'm you're he's we've she'll they'd don't", "I'M YOU'RE HE'S WE'VE SHE'LL THEY'D DON'T", "'s's'S'\u017f'\u017ft 'l 'r 'v 'll'lL'Ll", "''s '' ' 'x 's", "it\u2019s \u2018quoted\u2019 \u02bcs \uff07s",
    "1234567890", "12 345 6789 3.14159 1e-9 0x7F", "\u0661\u0662\u0663 \u00bd \u2167 \u3007 \u4e00\u4e8c", "v1.2.3-rc4", "#[should_panic]", "Result<T, E>", "&'a str", "fn main() { println!(\"{x:?}\"); }",
    "caf\u00e9 cafe\u0301 \u1e0b\u0323 \u0e01\u0e33 \u0939\u093f\u0928\u094d\u0926\u0940", "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8", "\ud55c\uad6d\uc5b4", "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\U0001f600\U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea", "a\U00010330b\U0001d7d8c", "\u00a0\u00a0x\u2003\u2003y\u3000z\u200bw\ufeff", "\u2028\u2029\u0085\u000b\u000c\u001c\u001f", "x\u0000y\u0001z\u007f",
    "!!!???...", " !!!\n\n", "a!\r\n\r\nb", "---\n---\n", "=" * 77, "a" * 300, " " * 200, " " * 200 + "x", "\n" * 50 + " " * 9 + "\n" + " " * 3 + "x", "ab" * 500,
    "\ufffd\uffff\U0010ffff\ue000\ud7fb", "\u02bcs \u0149 \ufb06 \u212a \u00df\u1e9e", "na\u00efve fa\u00e7ade \u0130stanbul \u03a3\u03c3\u03c2", "1\u0300 a\u0300 !\u0300  \u0300", "\u1680x \u180e y\u205f z\u202f",
    "camelCaseWords XMLHttpRequest iPhoneSE ABCdefGHI", "\u01c5ungla \u01c8ubav \u02b0\u02b7 A\u02b0b\u4e2dC\u4e2dd", "path/to/file.rs:12 a// //\n\n/ http://x.y/z?q=1", "\u4e2d\u65871\u4e2d\u6587a \u30ab\u30bf \ub9d0 a\ub9d0b\u4e2d",
    "   12   345  ", "1.000,5 100% \u20ac5 +1-1=0 <|x|> ^~`", "\u3000\uff01\uff5e\u2018\u201f\u3001\u3002", "(a|b) [c] {d} e,f.g!h?i\u2026j", "\u0915\u093e\u0964 \u06d4\u060c\u0627",
]

SOUP = ["a", "Z", "the", " the", "ing", " ", "  ", "\n", "\r", "\t", "'", "'s", "'LL", "1", "23", ".", ",", "!?", "\u00e9", "e\u0301", "\u4e16", "\u0662", "\u00a0", "\u3000", "\U0001f680", "_", "\u017f", "\u2019", "::", "->", "\u0000", "Ab", "\u0130", "/", "\u02b0", "\uac00"]


def boundary_texts(table, rng):
    """Texts of the code points at and before every edge of the class table."""
    points = set()
    for first in re.findall(r"\{0x([0-9A-F]+), ", table):
        points |= {max(int(first, 16) - 1, 0), int(first, 16)}
    points = [p for p in sorted(points) if not 0xD800 <= p < 0xE000]
    rng.shuffle(points)
    return ["".join(map(chr, points[i : i + 128])) for i in range(0, len(points), 128)]


def sequence(expressions, *more):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(e), "isolated") for e in expressions] + list(more))


def write_splits(path, texts):
    splits = {name: sequence(expressions) for name, expressions in FAMILIES.items()}
    with open(path, "w") as f:
        for text in texts:
            groups = {}
            for name, split in splits.items():
                lengths = " ".join(str(len(piece.encode())) for piece, _ in split.pre_tokenize_str(text))
                groups.setdefault(lengths, []).append(name)
            f.write("\t".join([text.encode().hex()] + [",".join(names) + ":" + lengths for lengths, names in groups.items()]) + "\n")


def write_vocabulary(path, model, tokens, types, **keys):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for key, value in keys.items():
        getattr(writer, "add_" + key)(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_vectors(path, texts, plain, special, bos):
    """`plain` reads no control token; `special` does, and gets BOS before it unless that is there."""
    with open(path, "w") as f:
        for text in texts:
            marked = special(text)
            if bos is not None and marked[:1] != [bos]:
                marked = [bos] + marked
            f.write("\t".join([text.encode().hex(), " ".join(map(str, plain(text))), " ".join(map(str, marked))]) + "\n")


def with_tokens(tokenizer, user, control):
    out = Tokenizer.from_str(tokenizer.to_str())
    out.add_tokens([AddedToken(t, normalized=False) for t in user])
    out.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in control])
    return lambda text: out.encode(text, add_special_tokens=False).ids


CONTROL, USER = ["<|begin|>", "<|turn|>", "<|im_end|>"], ["<tool>", "<tool>>"]
MARKED = ["<|begin|>Hello", "<|begin|><|begin|> x", "a<tool>b<tool>> c", " <|turn|> user\nHi<|im_end|>\n", "<|tur", "<tool", "<tool><tool>>>", "<|im_end|>"]


def byte_level(out, name, family, corpus, texts, missing="", whole_words=False):
    """A byte-level vocabulary that lacks the bytes `missing` (in the byte alphabet), merges trained on the texts."""
    trained = Tokenizer(models.BPE())
    splits = [*FAMILIES[family]]
    trained.pre_tokenizer = sequence(splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=700, initial_alphabet=sorted(alphabet), show_progress=False))
    import json

    model = json.loads(trained.to_str())["model"]
    merges = [tuple(m) for m in model["merges"] if not any(c in missing for c in "".join(m))]
    kept = sorted(model["vocab"], key=model["vocab"].get)
    kept = [t for t in kept if not any(c in missing for c in t)]
    # A word that no merge makes.
    kept += ["Ġwhole", "xyzzy"]
    vocab = {t: i for i, t in enumerate(kept)}
    bpe = Tokenizer(models.BPE(vocab, merges, ignore_merges=whole_words))
    bpe.pre_tokenizer = trained.pre_tokenizer
    tokens = kept + USER + CONTROL
    types = [1] * len(kept) + [4] * len(USER) + [3] * len(CONTROL)
    bos = tokens.index(CONTROL[0])
    write_vocabulary(out / f"vocab-{name}.gguf", "gpt2", tokens, types, tokenizer_pre=family, token_merges=[" ".join(m) for m in merges], bos_token_id=bos, add_bos_token=True)
    all_texts = texts + ["whole xyzzy whole", "a whole\n"] + MARKED
    write_vectors(out / f"vocab-{name}.tsv", all_texts, with_tokens(bpe, USER, []), with_tokens(bpe, USER, CONTROL), bos)


def with_unused(proto, ids):
    """The model with the type UNUSED for these pieces: fields of number 1 are the pieces, in each of them number 3 is the type."""

    def varint(value):
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    out, at, index = b"", 0, 0
    while at < len(proto):
        tag, size, shift = proto[at], 0, 0
        at += 1
        while True:
            size |= (proto[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if proto[at - 1] < 128:
                break
        body = proto[at : at + size]
        at += size
        if tag == 1 << 3 | 2:
            body += bytes([3 << 3, 5]) if index in ids else b""
            index += 1
        out += bytes([tag]) + varint(len(body)) + body
    return out


def scored(out, name, corpus, texts, prefix, byte_fallback=True, symbols=(), unused=0):
    """A SentencePiece vocabulary. Both oracles have to agree, but where one of them cannot say it."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, model_type="bpe", vocab_size=700 if byte_fallback else 450, byte_fallback=byte_fallback, normalization_rule_name="identity",
        add_dummy_prefix=prefix, remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, character_coverage=0.99, user_defined_symbols=list(symbols), minloglevel=2, num_threads=1,
    )
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    size = sp.get_piece_size()
    pieces, scores = [sp.id_to_piece(i) for i in range(size)], [sp.get_score(i) for i in range(size)]
    if unused:
        # Of the pieces of some length, every third: merges go through them, and they come apart again.
        dropped = [i for i, p in enumerate(pieces) if len(p) > 2 and not p.startswith("<")][::3][:unused]
        sp = sentencepiece.SentencePieceProcessor(model_proto=with_unused(model.getvalue(), dropped))
    types = [2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 5 if unused and sp.is_unused(i) else 4 if pieces[i] in symbols else 1 for i in range(size)]
    bos = pieces.index("<s>")
    entries = [p.replace("\u2581", " ") if t == 4 else p for p, t in zip(pieces, types)]
    write_vocabulary(out / f"vocab-{name}.gguf", "llama", entries, types, token_scores=scores, bos_token_id=bos, add_space_prefix=prefix)

    rank = {p: s for p, s, t in zip(pieces, scores, types) if t in (1, 4, 5)}
    merges = sorted(((p[:i], p[i:]) for p in rank for i in range(1, len(p)) if p[:i] in rank and p[i:] in rank), key=lambda m: (-rank["".join(m)], len(m[0])))
    bpe = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback))
    bpe.normalizer = normalizers.Sequence(([normalizers.Prepend("\u2581")] if prefix else []) + [normalizers.Replace(" ", "\u2581")])
    bare = [s for s in symbols if "\u2581" not in s]
    plain, special = with_tokens(bpe, bare, []), with_tokens(bpe, bare, ["<unk>", "<s>", "</s>"])
    differ = 0
    rows = []
    for text in texts:
        by_sp, by_bpe = sp.encode(text), plain(text)
        # A prefix before a symbol: SentencePiece has one for the whole text, the converted tokenizers one for each stretch of it.
        apart = prefix and any(s in text for s in symbols)
        if by_sp != by_bpe and not apart:
            differ += 1
        rows.append((text, by_bpe if apart else by_sp))
    print(f"{name}: {size} pieces, {differ} of {len(texts)} texts differ between the oracles (SentencePiece counts)")
    answers = dict(rows)
    marked = ["<s>Hello", "<s><s> x", "a</s> b", "</s>", "<s", "x <unk> y"] if not unused and not any("\u2581" in s for s in symbols) else []
    for text in marked:
        answers[text] = plain(text)
    write_vectors(out / f"vocab-{name}.tsv", list(answers), answers.get, lambda text: special(text) if text in marked else answers[text], bos)


def main():
    model, table, out = sys.argv[1], pathlib.Path(sys.argv[2]).read_text(), pathlib.Path(sys.argv[3])
    reader = gguf.GGUFReader(model)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    bpe = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens) if types[i] == 1}, merges))
    bpe.pre_tokenizer = sequence(FAMILIES["qwen2"], pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))

    rng = random.Random(20)
    soup = ["".join(rng.choices(SOUP, k=rng.randrange(1, 40))) for _ in range(300)]
    texts, edges = AWKWARD + soup, boundary_texts(table, rng)
    with open(out / "encode.tsv", "w") as f:
        for text in texts + edges[:4]:
            f.write(text.encode().hex() + "\t" + " ".join(map(str, bpe.encode(text, add_special_tokens=False).ids)) + "\n")
    write_splits(out / "split.tsv", AWKWARD + soup[:150] + edges)

    corpus = [line for line in pathlib.Path(model).with_name("parity.txt").read_text().split("\n") if line][:200] + AWKWARD[14:35]
    some = AWKWARD + soup[:60] + edges[:1]
    byte_level(out, "llama3", "llama3", corpus, some, whole_words=True)
    byte_level(out, "sparse", "smollm", corpus, some, missing="ĀāĂăÀÁéõöZq")
    scored(out, "sentencepiece", corpus, some, prefix=True)
    scored(out, "sentencepiece-plain", corpus, some, prefix=False, symbols=["\n\n", "\u2581\u2581", "\u2581\u2581\u2581", "\t\t", "<table>"])
    scored(out, "sentencepiece-no-bytes", corpus, some, prefix=True, byte_fallback=False, symbols=["<tool>"])
    scored(out, "sentencepiece-unused", corpus, some, prefix=True, unused=60)


main()
