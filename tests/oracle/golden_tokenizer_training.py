"""Tokenizers that the reference trains on a book, for the tests of crates/tokenization.

transformers 5.23.0. Run: python golden_tokenizer_training.py ../../crates/tokenization/tests/golden [botchan.txt]

The text is `botchan.txt` of the sentencepiece distribution (Natsume Sōseki's Botchan in English, in the public domain); it is
copied where it is given, and else read from the folder.
"""

import json
import shutil
import sys
from pathlib import Path

import transformers
from golden_tokenization import write
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AddedToken, TokenizersBackend

OUT = Path(sys.argv[1]) / "training"
OUT.mkdir(parents=True, exist_ok=True)
if len(sys.argv) > 2:
    shutil.copy(sys.argv[2], OUT / "botchan.txt")
LINES = (OUT / "botchan.txt").read_text(encoding="utf-8").splitlines()


def word_level():
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[UNK]", "[PAD]"])
    return TokenizersBackend(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")


CASES = {
    "GPT2Tokenizer": {"vocab_size": 600},
    "LlamaTokenizer": {"vocab_size": 400},
    "RobertaTokenizer": {"vocab_size": 500, "new_special_tokens": ["<new>"], "special_tokens_map": {"<mask>": "<blank>", "</s>": "<end>"}},
    "T5Tokenizer": {"vocab_size": 400},
    "XLMRobertaTokenizer": {"vocab_size": 300, "lines": 600, "special_tokens_map": {"<s>": "<begin>"}},
    "BertTokenizer": {"vocab_size": 400},
    "WordLevel": {"vocab_size": 300, "new_special_tokens": ["[NEW]"]},
    "Qwen2Tokenizer": {"vocab_size": 500, "min_frequency": 50},
}


def train(name, options):
    options = dict(options)
    lines = LINES[:options.pop("lines", None)]
    blank = word_level() if name == "WordLevel" else getattr(transformers, name)()
    blank = blank.train_new_from_iterator([lines[start:start + 500] for start in range(0, len(lines), 500)], show_progress=False, **options)
    state = json.loads(blank.backend_tokenizer.to_str())
    model = state["model"]
    vocab = model["vocab"]
    result = {
        "vocab": vocab if isinstance(vocab, list) else [token for token, _ in sorted(vocab.items(), key=lambda item: item[1])],
        "merges": [" ".join(merge) for merge in model.get("merges", [])],
        "added_tokens": [[token["id"], token["content"], token["special"]] for token in state["added_tokens"]],
        "post_processor": state["post_processor"],
        "unk": model.get("unk_id", model.get("unk_token")),
        "special_tokens": {name: str(token) for name, token in blank.special_tokens_map.items()},
        "extra": [str(token) for token in blank.extra_special_tokens],
    }
    ids = [blank.backend_tokenizer.encode(line).ids for line in LINES[200:260:6]]
    return result, ids


cases = {}
for name, options in CASES.items():
    case, ids = train(name, options)
    again, _ = train(name, options)
    tokens = lambda case: [token[0] if isinstance(token, list) else token for token in case["vocab"]]
    case["deterministic"] = tokens(case) == tokens(again) and case["merges"] == again["merges"]
    case["same_set"] = sorted(tokens(case)) == sorted(tokens(again))
    print(name, len(case["vocab"]), case["deterministic"], case["same_set"])
    cases[name] = {"options": options, **case, **({"ids": ids} if case["deterministic"] else {})}
write(OUT / "trained.json", cases)
