"""Reads tokenizers that Rust saved, and compares their ids.

transformers 5.23.0. Run: SAVED_TOKENIZERS=DIR cargo test -p transformers-tokenization --test saving; python check_saved.py DIR
"""

import json
import sys
from pathlib import Path

from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from transformers import AutoTokenizer
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

wrong = 0
for folder in sorted(Path(sys.argv[1]).iterdir()):
    expected = json.loads((folder / "expected.json").read_text())
    mistral = [path for path in folder.iterdir() if path.name == "tekken.json" or ".model.v" in path.name]
    if mistral:
        inner = MistralTokenizer.from_file(mistral[0]).instruct_tokenizer.tokenizer
        ids = [inner.encode(text, bos=True, eos=False) for text in expected["texts"]]
        kind = "mistral-common"
    else:
        own = folder / "spiece.model"
        if own.exists():  # no class of the reference reads it without further rules
            tokenizer = SentencePieceBackend(vocab_file=str(own), unk_token="<unk>", bos_token="<s>", eos_token="</s>")
        else:
            tokenizer = AutoTokenizer.from_pretrained(folder)
        ids = [tokenizer(text)["input_ids"] for text in expected["texts"]]
        kind = type(tokenizer).__name__
        special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
        if not own.exists() and special != expected["special"]:
            print(folder.name, "special tokens", special, expected["special"])
            wrong += 1
    different = [text for text, ours, theirs in zip(expected["texts"], expected["ids"], ids) if ours != theirs]
    print(folder.name, kind, len(ids), "texts", f"{len(different)} different: {different[:3]}" if different else "equal")
    wrong += bool(different)
sys.exit(wrong)
