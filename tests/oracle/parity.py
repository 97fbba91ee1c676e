"""What the reference makes of thousands of texts, for crates/tokenization/tests/parity.rs to compare with.

Run: python parity.py OUT [TOKENIZER …]    (cargo xtask parity does, and compares)

A TOKENIZER is a folder with a tokenizer.json, vocab.txt, or encoder.json and vocab.bpe; a .gguf file; a SentencePiece
model, alone or as CLASS=MODEL; a tekken file; or a .tiktoken file. For each, OUT gets NAME.jsonl: a first line that says
how to read it, and a line for each text, list of ids, or pair. Without a TOKENIZER, those of the golden folder are
recorded on a sample of the texts, which is committed.
"""

import argparse
import json
import os
import random
import shutil
import tempfile
from pathlib import Path

import parity_corpus
import transformers
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, TokenizersBackend

GOLDEN = Path(__file__).parents[2] / "crates/tokenization/tests/golden"
COMMITTED = [f"{GOLDEN}/{name}" for name in ("byte_level", "word_piece", "sentence_piece", "auto/bert_cased", "sentencepiece/bpe_bytes.model")]
COMMITTED += [f"{name}={GOLDEN}/sentencepiece/{model}.model" for name, model in (("T5Tokenizer", "unigram"), ("LlamaTokenizer", "bpe_bytes"))]
SAMPLE = 24


def encoded(encoding):
    """Everything that an encoding says, in short."""
    return {
        "ids": encoding.ids, "offsets": [place for pair in encoding.offsets for place in pair],
        "words": encoding.word_ids, "types": encoding.type_ids, "special": encoding.special_tokens_mask,
    }


class Reference:
    """A tokenizer of the reference."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.tokens = list(dict.fromkeys([*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()]))[:60]
        self.size = len(tokenizer)

    def text(self, text):
        batch = self.tokenizer(text)
        return {**encoded(batch.encodings[0]), "bare": self.tokenizer(text, add_special_tokens=False)["input_ids"]}

    def pair(self, first, second):
        return encoded(self.tokenizer([first], [second]).encodings[0])  # by itself, an empty second text would be left out

    def words(self, words):
        return encoded(self.tokenizer(words, is_split_into_words=True).encodings[0])

    def decode(self, ids):
        return {"shown": self.tokenizer.decode(ids), "skipped": self.tokenizer.decode(ids, skip_special_tokens=True)}


class SentencePiece:
    def __init__(self, path):
        import sentencepiece

        self.model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.size = self.model.get_piece_size()
        self.tokens = [self.model.id_to_piece(index) for index in range(self.size)
                       if self.model.is_control(index) or self.model.is_unknown(index)][:20]
        self.tokens += ["<0x41>"]

    def text(self, text):
        pieces = self.model.encode(text, return_type="proto").pieces
        return {"ids": [piece.id for piece in pieces], "offsets": [place for piece in pieces for place in (piece.begin, piece.end)]}

    def decode(self, ids):
        return {"shown": self.model.decode(ids)}


class Tekken:
    def __init__(self, path):
        from mistral_common.tokens.tokenizers.tekken import SpecialTokenPolicy, Tekkenizer

        self.model = Tekkenizer.from_file(str(path))
        self.policies = SpecialTokenPolicy.KEEP, SpecialTokenPolicy.IGNORE
        self.size = self.model.n_words
        self.tokens = self.model.vocab()[:20]

    def text(self, text):
        return {"ids": self.model.encode(text, bos=True, eos=False)}

    def decode(self, ids):
        shown, skipped = (self.model.decode(ids, special_token_policy=policy) for policy in self.policies)
        return {"shown": shown, "skipped": skipped}


def copy(out, name, **files):
    """A folder with these files under the names that both sides look for."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, source in files.items():
        file = folder / file.replace("_", ".")
        if isinstance(source, Path):
            shutil.copyfile(source, file)
        else:
            file.write_text(json.dumps(source))
    return folder


def open_tokenizer(out, argument):
    """Its name, how Rust reads it, and the reference's."""
    if "=" in argument:
        name, path = argument.split("=", 1)
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = getattr(transformers, name).from_pretrained(copy(Path(folder), "files", tokenizer_model=Path(path)))
        return f"{name}-{Path(path).stem}", {"class": name, "path": str(Path(path).resolve())}, Reference(tokenizer)
    path = Path(argument)
    name = "-".join(path.resolve().parts[-3:]).removesuffix(".gguf").replace(" ", "_")
    if path.suffix == ".gguf":
        tokenizer = TokenizersBackend.from_pretrained(path.parent, gguf_file=path.name)
        if "smollm" in name.lower():  # split as its tokenizer.json says, and not as the reference reads GGUF files
            split = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
        return name, {"path": path}, Reference(tokenizer)
    if path.suffix == ".tiktoken":
        path = copy(out, f"{name}-files", tiktoken_model=path)
        return name, {"path": path}, Reference(AutoTokenizer.from_pretrained(path))
    if "tekken" in path.name:
        return name, {"path": copy(out, f"{name}-files", tekken_json=path)}, Tekken(path)
    if ".model" in path.name:
        return name, {"sentencepiece": True, "path": path}, SentencePiece(path)
    if (path / "encoder.json").exists():
        path = copy(out, f"{name}-files", vocab_json=path / "encoder.json", merges_txt=path / "vocab.bpe", config_json={"model_type": "gpt2"})
        return name, {"path": path}, Reference(AutoTokenizer.from_pretrained(path))
    if (path / "tokenizer_config.json").exists() and not (path / "tokenizer.json").exists():
        return name, {"path": path}, Reference(AutoTokenizer.from_pretrained(path))
    if not (path / "tokenizer.json").exists():
        path = copy(out, f"{name}-files", vocab_txt=path / "vocab.txt", config_json={"model_type": "bert"})
        return name, {"path": path}, Reference(AutoTokenizer.from_pretrained(path))
    return name, {"path": path}, Reference(TokenizersBackend.from_pretrained(path))


def rows(reference, texts, sample):
    draw = random.Random(parity_corpus.SEED)
    texts = list(texts)
    some = [text for text in texts if len(text) < 400]
    own = list(parity_corpus.with_tokens(draw, reference.tokens)) if reference.tokens else []
    texts += draw.sample(own, sample // 4) if sample else own
    lists = [[draw.randrange(reference.size + 3 if hasattr(reference, "pair") else reference.size) for _ in range(draw.choice([1, 2, 3, 8, 30]))]
             for _ in range(sample // 4 if sample else 600)]
    for ids in lists:
        decoded = reference.decode(ids)
        yield {"decode": ids, **decoded}
        texts.append(decoded["shown"])
    for text in texts:
        row = reference.text(text)
        yield {"text": text, **row, **reference.decode(row["ids"])}
    if hasattr(reference, "pair"):
        for _ in range(sample // 8 if sample else 200):
            first, second = draw.choice(some), draw.choice(some)
            yield {"pair": [first, second], **reference.pair(first, second)}
            words = draw.choice(some).split()
            if words:
                yield {"split": words, **reference.words(words)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("tokenizers", nargs="*")
    parser.add_argument("--committed", action="store_true", help="the committed tokenizers too, on all texts")
    arguments = parser.parse_args()
    sample = None if arguments.tokenizers or arguments.committed else SAMPLE
    tokenizers = arguments.tokenizers + (COMMITTED if sample or arguments.committed else [])
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    texts = parity_corpus.texts(sample)
    for argument in tokenizers:
        name, how, reference = open_tokenizer(out, argument)
        how["path"] = os.path.relpath(Path(how["path"]).resolve(), out)
        count = 0
        with open(out / f"{name}.jsonl", "w", encoding="utf-8") as file:
            file.write(json.dumps(how) + "\n")
            for row in rows(reference, texts, sample):
                file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
                count += 1
        print(f"{name}: {count} rows", flush=True)


main()
