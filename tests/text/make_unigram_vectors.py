#!/usr/bin/env python3
"""Writes tests/fixtures/text/unigram.jsonl: small unigram models and what sentencepiece makes of random texts.

The same form as tokenizers.jsonl: {"name", "model_b64" (a SentencePiece model) or "json" (a tokenizer.json), "cases"}.

    pip install sentencepiece protobuf && python make_unigram_vectors.py [FILE [CASES]]
"""
import base64
import io
import json
import random
import sys
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "fixtures/text/unigram.jsonl"
CASES = int(sys.argv[2]) if len(sys.argv) > 2 else 300
random.seed(11)

WORDS = """the quick brown fox jumps over a lazy dog then these there them and sleeping sleeper sleeps running runner runs
mixture experts of mixing expert routing router routes capacity capacities token tokens dropped drop drops""".split()
CORPUS = [" ".join(random.choice(WORDS) for _ in range(random.randint(3, 12))) for _ in range(600)] + [
    "naïve café Ångström ﬁne ½ ² ①", "안녕하세요 세계 안녕", "你好，世界。你好！", "def f(x): return x + 1", "It's 1234 or 56,789.01?"] * 5
ALPHABET = WORDS + [" ", "  ", " ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2581", "\u200b", "\u00ad", "\ufeff", "\u0000", "\u0007", "ﬁ", "½", "²", "①",
                    "Ａ", "ｂ", "１", "ｶﾞ", "é", "e\u0301", "a\u0308\u0323", "Å", "\u1100\u1161", "각", "안녕", "世界", "🦙", "👨\u200d👩\u200d👧", "İ", "Σς", "…", "™", "<s>",
                    "</s>", "<unk>", "<sep>", "<0x0A>", "word", "a", "b", "z", "Z", "aaaa", "0", "12", "345678", "?!", "--", "'s", "\U00010348", "\u0fff", "ﷺ", "\u0344"]


def texts():
    out = ["", " ", "  ", " a", "a ", "\n", "\u2581a", "\u3000", " \u00a0 a", "<s>", "ﷺ"]
    while len(out) < CASES:
        out.append("".join(random.choice(ALPHABET) + random.choice(["", "", " "]) for _ in range(random.randint(1, 16))))
    return out[:CASES]


def train(change=None, **options):
    sink = io.BytesIO()
    options = {"vocab_size": 420, "hard_vocab_limit": False, "normalization_rule_name": "identity", "character_coverage": 1.0, **options}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=sink, model_type="unigram", minloglevel=2, num_threads=1, **options)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(sink.getvalue())
    if change:
        change(proto)
    return proto


def cases(proto):
    sp = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    out = []
    for text in texts():
        ids = sp.encode(text)
        out.append({"text": text, "ids": ids, "decoded": sp.decode(ids)})
    return out


def model(name, change=None, **options):
    proto = train(change, **options)
    return {"name": name, "model_b64": base64.b64encode(proto.SerializeToString()).decode(), "cases": cases(proto)}


# The same model as a tokenizer.json; no decodes, as those of Hugging Face's differ.
def as_json(name, **options):
    proto = train(**options)
    vocab = [[piece.piece, piece.score] for piece in proto.pieces]
    special = {2: "unk", 3: "control"}
    added = [{"id": i, "content": p.piece, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, p in enumerate(proto.pieces) if p.type in special]
    table = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    root = {"version": "1.0", "added_tokens": added,
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": table}, {"type": "Strip", "strip_left": False, "strip_right": True},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}]},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                               "pair": [], "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
            "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            "model": {"type": "Unigram", "unk_id": proto.trainer_spec.unk_id, "vocab": vocab, "byte_fallback": True}}
    return {"name": name, "json": root, "cases": [{"text": c["text"], "ids": c["ids"]} for c in cases(proto)]}


def unused(proto):
    for piece in proto.pieces[300:360:3]:
        if piece.type == 1 and len(piece.piece) > 1:
            piece.type = 5


# Scores of a quarter make ties.
def ties(proto):
    for piece in proto.pieces:
        if piece.type == 1:
            piece.score = round(piece.score * 4) / 4


def all_models():
    t5 = dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1, byte_fallback=True, vocab_size=640)
    yield model("nfkc", normalization_rule_name="nmt_nfkc", **t5)
    yield as_json("json", normalization_rule_name="nmt_nfkc", **t5)
    yield model("identity", **t5)
    yield model("spaces_stay", remove_extra_whitespaces=False, **t5)
    yield model("no_prefix", add_dummy_prefix=False, remove_extra_whitespaces=False, **t5)
    yield model("unknown")
    yield model("user_defined", user_defined_symbols=["word", "  ", "\n\n", "<sep>", "12", "345", "ru"], remove_extra_whitespaces=False, **t5)
    yield model("unused", unused, **t5)
    yield model("ties", ties, **t5)
    yield model("across_words", split_by_whitespace=False, **t5)


with OUT.open("w", encoding="utf-8") as out:
    for one in all_models():
        out.write(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n")
print(OUT, OUT.stat().st_size)
