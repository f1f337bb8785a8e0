#!/usr/bin/env python3
"""Writes tests/fixtures/text/tokenizers.jsonl: small tokenizers and what the reference libraries make of texts.

One tokenizer a line: {"name", "json" (a tokenizer.json) or "model_b64" (a SentencePiece model), "cases"}, each case
{"text", "ids"} (added with "special": true where special tokens are parsed) or {"ids", "decoded"}.

    pip install tokenizers sentencepiece protobuf && python make_tokenizer_vectors.py [FILE [CASES]]
"""
import base64
import io
import json
import random
import sys
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers as pre, trainers

OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "fixtures/text/tokenizers.jsonl"
CASES = int(sys.argv[2]) if len(sys.argv) > 2 else 40
random.seed(7)

CORPUS = [
    "The quick brown fox jumps over the lazy dog. The dog sleeps; the fox doesn't.", "It's 1234 or 56,789.01? They'll say 7!",
    "def f(x):\n    return x + 1\n\n\nclass A:\n\tpass\n", "안녕하세요 세계 안녕", "你好，世界。你好！", "naïve café Ångström ﬁne ½ ² ①",
    "the the the them then there these those  and   and    and", "Hello World HELLO hello HeLLo", "a-b_c d/e (f) [g] {h} <i>",
]
ALPHABET = ["the", "The", " ", "  ", "\n", "\t", "\r\n", "a", "b", "xyz", "ing", "12", "345678", "'s", "'LL", "don't", ".", "?!", "--", "é", "e\u0301", "ﬁ", "½",
            "안녕", "世界", "🦙", "\u2581", "\u00a0", "\u3000", "İ", "ǅ", "Σς", "<s>", "</s>", "<sep>", "[X]", "word", "<0x0A>", "foo", "\u180e", "_", "a\u0308"]


def texts(n):
    out = ["", " ", "  ", " a", "a ", "Hello World", "\n", "a\n\n b", "\u2581a", "🦙🦙", "<s>", " <s> a", "a<sep>b <sep> c", "aword word wordy word"]
    while len(out) < n:
        out.append("".join(random.choice(ALPHABET) for _ in range(random.randint(1, 12))))
    return out[:n]


def train(normalizer, pre_tokenizer, byte_level, byte_fallback=False, unk=None, **kwargs):
    tok = Tokenizer(models.BPE(unk_token=unk, byte_fallback=byte_fallback, **kwargs))
    if normalizer:
        tok.normalizer = normalizer
    if pre_tokenizer:
        tok.pre_tokenizer = pre_tokenizer
    special = ([unk] if unk else []) + ["<s>", "</s>"] + ([f"<0x{i:02X}>" for i in range(256)] if byte_fallback else [])
    trainer = trainers.BpeTrainer(vocab_size=len(special) + (256 if byte_level else 60) + 120, special_tokens=special, show_progress=False,
                                  initial_alphabet=pre.ByteLevel.alphabet() if byte_level else [])
    tok.train_from_iterator(CORPUS, trainer)
    data = json.loads(tok.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(data))


def hugging_face(name, tok):
    data = json.loads(tok.to_str())
    # What the caller did not ask for: special tokens, and markup that the file does not call special.
    markup = lambda t: t["special"] or (len(t["content"]) > 2 and t["content"][0] + t["content"][-1] in ("<>", "[]"))
    plain = dict(data, added_tokens=[t for t in data["added_tokens"] if not markup(t)])
    plain = Tokenizer.from_str(json.dumps(plain))
    cases = []
    for text in texts(CASES):
        # Leaving tokens out has renumbered the others.
        ids = [tok.token_to_id(plain.id_to_token(i)) for i in plain.encode(text, add_special_tokens=False).ids]
        cases.append({"text": text, "ids": ids, "decoded": tok.decode(ids, skip_special_tokens=False)})
        cases.append({"text": text, "ids": tok.encode(text, add_special_tokens=False).ids, "special": True})
    size = tok.get_vocab_size()
    for _ in range(CASES // 2):
        ids = [random.randrange(size) for _ in range(random.randint(1, 8))]
        cases.append({"ids": ids, "decoded": tok.decode(ids, skip_special_tokens=False)})
    return {"name": name, "json": data, "cases": cases}


def sentence_piece(name, change=None, **options):
    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS * 3), model_writer=sink, model_type="bpe", vocab_size=options.pop("vocab_size", 450),
                                             normalization_rule_name="identity", minloglevel=2, **options)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(sink.getvalue())
    if change:
        change(proto)
    model = proto.SerializeToString()
    sp = sentencepiece.SentencePieceProcessor(model_proto=model)
    cases = []
    for text in texts(CASES):
        ids = sp.encode(text)
        cases.append({"text": text, "ids": ids, "decoded": sp.decode(ids)})
    for _ in range(CASES // 2):
        ids = [random.randrange(sp.vocab_size()) for _ in range(random.randint(1, 8))]
        cases.append({"ids": ids, "decoded": sp.decode(ids)})
    return {"name": name, "model_b64": base64.b64encode(model).decode(), "cases": cases}


def all_tokenizers():
    gpt2 = lambda **k: pre.ByteLevel(add_prefix_space=False, **k)
    plain = lambda **k: train(None, gpt2(), True, **k)

    tok = plain()
    tok.decoder = decoders.ByteLevel()
    yield hugging_face("gpt2", tok)
    tok = train(None, pre.ByteLevel(add_prefix_space=True), True)
    tok.decoder = decoders.ByteLevel()
    yield hugging_face("prefix_space", tok)
    data = json.loads(plain().to_str())
    data["model"]["ignore_merges"] = True
    data["decoder"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    for token in ["Hello", "ĠWorld", "xyz"]:    # words that their merges do not lead to
        data["model"]["vocab"].setdefault(token, len(data["model"]["vocab"]))
    yield hugging_face("ignore_merges", Tokenizer.from_str(json.dumps(data)))

    for form in ["NFC", "NFD", "NFKC", "NFKD"]:
        tok = train(normalizers.Sequence([getattr(normalizers, form)(), normalizers.Lowercase()]), gpt2(), True)
        tok.decoder = decoders.ByteLevel()
        yield hugging_face(form, tok)
    tok = train(normalizers.Sequence([normalizers.Strip(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Replace("ing", "ed")]), gpt2(), True)
    tok.decoder = decoders.ByteLevel()
    yield hugging_face("strip_replace", tok)

    splits = {
        "isolated": [pre.Split(Regex(r"\p{N}{1,3}"), "isolated")], "removed": [pre.Split(Regex(r"\s"), "removed")],
        "merged_with_previous": [pre.Split(Regex(r"[\p{P}\s]"), "merged_with_previous")], "merged_with_next": [pre.Split(Regex(r"[\p{P}\s]"), "merged_with_next")],
        "contiguous": [pre.Split(Regex(r"[\p{P}\s]"), "contiguous")], "invert": [pre.Split(Regex(r"\p{L}+"), "removed", invert=True)],
        "text": [pre.Split("a", "isolated"), pre.Split(" ", "merged_with_next")],
        "digits": [pre.Digits(individual_digits=True)], "digit_runs": [pre.Digits(), pre.Punctuation("contiguous")],
        "whitespace": [pre.Whitespace()], "whitespace_split": [pre.WhitespaceSplit(), pre.Punctuation()],
        "line_ends": [pre.Split(Regex(r"[\r\n]"), "isolated"), pre.Split(Regex(r"\s+$"), "isolated"), pre.Split(Regex(r"\s?\p{L}+"), "isolated")],
    }
    for name, steps in splits.items():
        tok = train(None, pre.Sequence(steps + [gpt2(use_regex=False)]), True)
        tok.decoder = decoders.ByteLevel()
        yield hugging_face("split_" + name, tok)
    tok = train(None, pre.Sequence([pre.Punctuation("contiguous"), gpt2(), pre.Digits(), pre.Split(Regex("[0-9][0-9][0-9]"), "isolated")]), True)
    tok.decoder = decoders.ByteLevel()
    yield hugging_face("splits_after_bytes", tok)

    # Llama's two ways: a normaliser that prepends, or Metaspace
    fallback = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tok = train(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None, False, byte_fallback=True, unk="<unk>", fuse_unk=True)
    tok.decoder = fallback
    yield hugging_face("prepend", tok)
    for scheme in ["always", "first", "never"]:
        for split in [True, False]:
            tok = train(None, pre.Metaspace("▁", scheme, split), False, byte_fallback=True, unk="<unk>", fuse_unk=True)
            tok.decoder = fallback
            yield hugging_face(f"metaspace_{scheme}_{split}", tok)
    for fuse in [True, False]:
        tok = train(None, pre.Metaspace(), False, unk="<unk>", fuse_unk=fuse)
        tok.decoder = decoders.Metaspace()
        yield hugging_face(f"unknown_{fuse}", tok)
    tok = train(None, pre.Metaspace(), False)
    tok.decoder = decoders.Metaspace(prepend_scheme="never")
    yield hugging_face("no_unknown", tok)

    # added tokens of every kind
    tok = train(normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]), gpt2(), True)
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken("<sep>", lstrip=True, rstrip=True, normalized=False), AddedToken("<0x0A>", rstrip=True, normalized=False)])
    tok.add_tokens([AddedToken("word", single_word=True, normalized=False), AddedToken("foo", normalized=True), AddedToken("fine", normalized=True), AddedToken("[X]", normalized=False),
                    AddedToken("  ", normalized=False), AddedToken("   ", normalized=False), AddedToken("12", lstrip=True, normalized=False), AddedToken("345", normalized=False)])
    yield hugging_face("added", tok)

    def unused(proto):
        for piece in proto.pieces[300:360:3]:
            if piece.type == 1 and len(piece.piece) > 1:
                piece.type = 5

    common = dict(character_coverage=1.0, byte_fallback=True, vocab_size=550)
    yield sentence_piece("spm", remove_extra_whitespaces=False, **common)
    yield sentence_piece("spm_extra_whitespaces", **common)
    yield sentence_piece("spm_no_prefix", add_dummy_prefix=False, remove_extra_whitespaces=False, **common)
    yield sentence_piece("spm_user_defined", user_defined_symbols=["word", "  ", "\n\n", "[X]", "<sep>", "12", "123"], remove_extra_whitespaces=False, **common)
    yield sentence_piece("spm_user_defined_collapse", user_defined_symbols=["word", "  ", "\n\n", " a"], **common)
    yield sentence_piece("spm_unused", unused, remove_extra_whitespaces=False, **common)
    yield sentence_piece("spm_unknown", remove_extra_whitespaces=False, vocab_size=250)
    yield sentence_piece("spm_across_words", split_by_whitespace=False, remove_extra_whitespaces=False, vocab_size=250)
    yield sentence_piece("spm_ids", remove_extra_whitespaces=False, pad_id=0, bos_id=2, eos_id=1, unk_id=3, unk_surface="?", vocab_size=250)


with OUT.open("w", encoding="utf-8") as out:
    for tokenizer in all_tokenizers():
        out.write(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n")
print(OUT, OUT.stat().st_size)
