"""Folders with older vocabulary files, and what the reference's AutoTokenizer makes of them, for crates/tokenization.

transformers 5.23.0. Run after golden_classes.py: python golden_auto.py ../../crates/tokenization/tests/golden
"""

import base64
import json
import shutil
import sys
from pathlib import Path

from golden_tokenization import TEXTS, write
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

GOLDEN = Path(sys.argv[1])
OUT = GOLDEN / "auto"


def folder(name, **files):
    path = OUT / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    for file, content in files.items():
        file = path / file.replace("_txt", ".txt").replace("_json", ".json").replace("_model", ".model").replace("_bpe", ".bpe")
        if isinstance(content, Path):
            shutil.copy(content, file)
        else:
            file.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))


def model(name):
    return json.loads((GOLDEN / name / "tokenizer.json").read_text())["model"]


bpe, pieces = model("byte_level"), model("word_piece")
merges = "#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in bpe["merges"])
byte = {character: value for value, character in bytes_to_unicode().items()}
ranks = [token for token, _ in sorted(bpe["vocab"].items(), key=lambda item: item[1]) if token not in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
ranks = "".join(f"{base64.b64encode(bytes(byte[character] for character in token)).decode()} {rank}\n" for rank, token in enumerate(ranks))
added = lambda content: {"content": content, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
count = ranks.count("\n")
spm = GOLDEN / "sentencepiece"

folder("gpt2", vocab_json=bpe["vocab"], merges_txt=merges, tokenizer_config_json={"tokenizer_class": "GPT2Tokenizer", "pad_token": "<pad>", "model_max_length": 99})
folder("gpt2_space", vocab_json=bpe["vocab"], merges_txt=merges, tokenizer_config_json={"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": True, "eos_token": "<|im_end|>"})
folder("roberta", vocab_json=bpe["vocab"], merges_txt=merges, config_json={"model_type": "roberta"}, special_tokens_map_json={"mask_token": {**added("<mask>"), "lstrip": True}})
folder("qwen", vocab_json=bpe["vocab"], merges_txt=merges, tokenizer_config_json={"tokenizer_class": "Qwen2Tokenizer", "additional_special_tokens": ["<|im_start|>", "<new>"]})
folder("legacy", vocab_json=bpe["vocab"], merges_txt=merges, added_tokens_json={"<newer> ": 401, "<new>": 400, "<pad>": 402},
       special_tokens_map_json={"pad_token": "<pad>", "eos_token": "<|im_end|>"}, tokenizer_config_json={"tokenizer_class": "GPT2Tokenizer"})
vocabulary = "".join(token + "\n" for token, _ in sorted(pieces["vocab"].items(), key=lambda item: item[1]))
folder("bert", vocab_txt=vocabulary, tokenizer_config_json={"tokenizer_class": "BertTokenizer"})
folder("bert_cased", vocab_txt=vocabulary, tokenizer_config_json={"do_lower_case": False, "strip_accents": False, "tokenizer_class": "BertTokenizer"}, config_json={"model_type": "bert"})
folder("distilbert", vocab_txt=vocabulary, config_json={"model_type": "distilbert"})
folder("llama", tokenizer_model=spm / "bpe_bytes.model", tokenizer_config_json={"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "pad_token": "</s>"})
folder("llama_ends", tokenizer_model=spm / "bpe_bytes.model", tokenizer_config_json={"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": True})
folder("t5", spiece_model=spm / "unigram.model", tokenizer_config_json={"tokenizer_class": "T5Tokenizer"})
folder("xlm_roberta", sentencepiece_bpe_model=spm / "unigram.model", config_json={"model_type": "xlm-roberta"})
folder("tiktoken", tiktoken_model=ranks, tokenizer_config_json={
    "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|end|>",
    "added_tokens_decoder": {str(count): added("<|begin|>"), str(count + 3): added("<|end|>")}})

for path in sorted(OUT.iterdir()):
    if not path.is_dir():
        continue
    tokenizer = AutoTokenizer.from_pretrained(path)
    rows = []
    for text in TEXTS[8:100:3] + TEXTS[-12:] + ["a<new>b<newer> c<pad>"]:
        ids = tokenizer(text)["input_ids"]
        rows.append([text, ids, tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=True)])
    special = {name: [str(token), tokenizer.convert_tokens_to_ids(str(token))] for name, token in tokenizer.special_tokens_map.items()}
    pair = tokenizer("a b", "c")["input_ids"]
    print(path.name, type(tokenizer).__name__, len(tokenizer), special)
    write(OUT / f"{path.name}.json", {"texts": rows, "size": len(tokenizer), "special": special, "pair": pair, "class": type(tokenizer).__name__,
                                      "extra": [str(token) for token in tokenizer.extra_special_tokens], "padding_side": tokenizer.padding_side})
