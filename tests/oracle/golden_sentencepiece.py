"""Pieces of the C++ SentencePiece library, for the tests of crates/tokenization.

sentencepiece 0.2.3. Run: python golden_sentencepiece.py ../../crates/tokenization/tests/golden/sentencepiece [MODEL …]

Trains small models of every kind; further `.model` files are recorded beside them.
"""

import json
import sys
import tempfile
from pathlib import Path

import sentencepiece
from golden_tokenization import PROSE, TEXTS, write

OUT = Path(sys.argv[1])

# A few rules of NFKC, so that the character map stays small: from, to, as code points.
RULES = {"ﬁ": "fi", "ﬂ": "fl", "½": "1/2", "Ｆ": "F", "ｕ": "u", "ｌ": "l", "e\u0301": "é", "\u00a0": " ", "\t": " ", "\n": " ",
         "…": "...", "\u200b": "", "\u3000": "  ", "A\u030a": "Å", "İ": "i\u0307", "²": "2"}

MODELS = {
    "unigram": dict(model_type="unigram", vocab_size=150, user_defined_symbols=["<tool>", "ab▁cd", "the"], control_symbols=["<mask>"]),
    "unigram_bytes": dict(model_type="unigram", vocab_size=420, byte_fallback=True, split_digits=True, remove_extra_whitespaces=False),
    "unigram_suffix": dict(model_type="unigram", vocab_size=150, treat_whitespace_as_suffix=True, unk_surface="?"),
    "bpe": dict(model_type="bpe", vocab_size=200, user_defined_symbols=["<tool>", "don't", "  "], pad_id=3),
    "bpe_bytes": dict(model_type="bpe", vocab_size=440, byte_fallback=True, remove_extra_whitespaces=False,
                      allow_whitespace_only_pieces=True, split_digits=True),
    "bpe_bare": dict(model_type="bpe", vocab_size=200, add_dummy_prefix=False, remove_extra_whitespaces=False),
    "word": dict(model_type="word", vocab_size=80),
    "char": dict(model_type="char", vocab_size=70, user_defined_symbols=["<tool>", "ing"]),
}

MORE_TEXTS = [
    "the the  the   the", "ab cd ab▁cd abcd", "don't  don't", " a  b   c ", "  ", "▁▁x", "x ▁ y", "</s> <s> <unk> <mask> <0x41>", "ｌｕＦ",
    "a\u3000b\u3000", "…", "the…", "0123456789 2024", "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbb", "é e\u0301 ê", "\u0301", "zzz日本zzz語zz", "🙂🙂 🙂",
]


def train(name, options):
    with tempfile.TemporaryDirectory() as folder:
        rules, corpus = Path(folder, "rules.tsv"), Path(folder, "corpus.txt")
        points = lambda text: " ".join(f"{ord(character):X}" for character in text)
        rules.write_text("".join(f"{points(old)}\t{points(new)}\n" for old, new in RULES.items()))
        corpus.write_text("\n".join(PROSE[:7] * 3))
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=f"{folder}/m", normalization_rule_tsv=str(rules), hard_vocab_limit=False, minloglevel=2,
            num_threads=1, **options)
        return Path(folder, "m.model").read_bytes()


def unused(model):
    """The same model with some of its joined pieces marked as not to be used."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    for index, piece in enumerate(proto.pieces):
        if piece.type == 1 and len(piece.piece) > 1 and index % 3 == 0:
            piece.type = 5
    return proto.SerializeToString()


def record(name, model):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    rows = []
    texts = TEXTS + MORE_TEXTS if name in ("unigram", "bpe_bytes") else TEXTS[::3] + MORE_TEXTS
    for text in texts:
        pieces = processor.encode(text, return_type="proto").pieces
        ids = processor.encode(text)
        surface = [[piece.id, piece.piece, piece.begin, piece.end] for piece in pieces]
        assert ids == [piece.id for piece in pieces]
        rows.append([text, surface, processor.decode(ids)])
    write(OUT / f"{name}.json", rows)
    size = processor.get_piece_size()
    odd = [[index] for index in range(min(size, 10))] + [list(range(3, size, 7)), list(range(size - 1, 0, -5))]
    special = [processor.bos_id(), processor.eos_id(), processor.unk_id(), processor.pad_id()]
    write(OUT / f"{name}.decoded.json", {"special": special, "decoded": [[ids, processor.decode(ids)] for ids in odd]})


for name, options in MODELS.items():
    model = train(name, options)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.model").write_bytes(model)
    record(name, model)
    if name in ("unigram", "bpe"):
        (OUT / f"{name}_unused.model").write_bytes(unused(model))
        record(f"{name}_unused", unused(model))
for path in map(Path, sys.argv[2:]):
    (OUT / path.name).with_suffix(".model").write_bytes(path.read_bytes())
    record(path.stem, path.read_bytes())
