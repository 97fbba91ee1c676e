"""The tokenizer classes of the reference: what each is, as data, and what it builds, for crates/tokenization.

transformers 5.23.0. Run after golden_sentencepiece.py: python golden_classes.py ../../crates/tokenization

Writes `src/classes/definitions.json` (the pipelines of blank instances, and what else a class is), and the tests' golden
files: every class blank, with a vocabulary, and from a SentencePiece model.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import transformers
from golden_tokenization import TEXTS, write
from transformers import AddedToken
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

OUT = Path(sys.argv[1])
GOLDEN = OUT / "tests/golden/classes"
SPM = OUT / "tests/golden/sentencepiece"

CLASSES = """Albert Barthez Bert BigBird Blenderbot Camembert CLIP CodeLlama CodeGen Cohere Deberta DebertaV2 Esmc Funnel Gemma GPT2 GPTNeoX
Herbert Lasr LayoutLMv2 LayoutLMv3 LayoutXLM Llama Luke MBart MBart50 MLuke MPNet Nllb Nougat OpenAIGPT Pegasus Qwen2 Qwen3_5 Reformer RemBert Roberta
SeamlessM4T Siglip2 Splinter T5 Tipsv2 Udop VideoPrism Whisper XGLM XLMRoberta XLNet""".split()
# Other names of the same definition: those that differ only in the inputs of the model count.
ALIASES = {
    "Bert": "ConvBert DistilBert DPRContextEncoder DPRQuestionEncoder DPRReader Electra LayoutLM Lxmert MobileBert SqueezeBert",
    "Albert": "FNet", "Roberta": "Bart LED Longformer Mvp", "T5": "MT5", "Llama": "Phi3",
}
MARK = b"\x00" * 8


def build(name, **options):
    return getattr(transformers, f"{name}Tokenizer")(**options)


def state(tokenizer):
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    return {key: value for key, value in whole.items() if key not in ("version", "truncation", "padding")}


def flags(token):
    return {"content": token.content, **{key: True for key in ("single_word", "lstrip", "rstrip") if getattr(token, key)},
            "normalized": token.normalized, "special": token.special}


def added(tokenizer):
    """The added tokens in the order in which the class adds them."""
    known = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
    named = [str(token) for token in tokenizer._special_tokens_map.values() if token]
    order = list(dict.fromkeys(named + [str(token) for token in tokenizer._extra_special_tokens] + list(known)))
    return [flags(known[content]) for content in order if content in known]


def probe(tokenizer):
    """A small vocabulary in which the special tokens stand elsewhere, and some are missing."""
    tokens = ["x", "y", "xy", "▁", "Ġ", "##y", tokenizer.eos_token or "eos", str(tokenizer.unk_token), "z", tokenizer.cls_token or "cls"]
    return list(dict.fromkeys(tokens))


def given(name, tokenizer):
    tokens = probe(tokenizer)
    kind = state(tokenizer)["model"]["type"]
    if kind == "Unigram":
        return {"vocab": [(token, 0.0 if index > 5 else -float(index)) for index, token in enumerate(tokens)]}
    vocab = {token: index for index, token in enumerate(tokens)}
    return {"vocab": vocab, "merges": [("x", "y")]} if kind == "BPE" else {"vocab": vocab}


def definition(name, tokenizer):
    blank = state(tokenizer)
    model = {key: value for key, value in blank["model"].items() if key not in ("vocab", "merges")}
    vocab = blank["model"]["vocab"]
    result = {
        "aliases": [f"{alias}Tokenizer" for alias in ALIASES.get(name, "").split()],
        "file": tokenizer.vocab_files_names.get("vocab_file"),
        "model": model,
        "vocab": vocab if isinstance(vocab, list) else [token for token, index in sorted(vocab.items(), key=lambda item: item[1])],
        **{key: blank[key] for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder")},
        "special_tokens": {key: str(value) for key, value in tokenizer._special_tokens_map.items() if value},
        "extra_special_tokens": [str(token) for token in tokenizer._extra_special_tokens],
        "added_tokens": added(tokenizer),
        "padding_side": tokenizer.padding_side,
    }
    if model["type"] != "Unigram":
        ids = [index for _, index in sorted(vocab.items(), key=lambda item: item[1])]
        if ids != list(range(len(ids))):
            result["ids"] = ids
    else:
        inside = state(build(name, **given(name, tokenizer)))["model"]
        result["unk_by_name"] = inside["unk_id"] == [token for token, _ in inside["vocab"]].index(str(tokenizer.unk_token))
    try:
        mapped = state(build(name, _spm_precompiled_charsmap=spm_map(), **({"vocab": given(name, tokenizer)["vocab"]} if name == "Pegasus" else {})))
        text = json.dumps(mapped["normalizer"])
        if "Precompiled" in text:
            result["normalizer_with_map"] = unmap(mapped["normalizer"])
    except TypeError:
        pass
    return result


def spm_map():
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2.ModelProto.FromString((SPM / "unigram.model").read_bytes()).normalizer_spec.precompiled_charsmap


def unmap(normalizer):
    if isinstance(normalizer, dict):
        return {key: unmap(value) for key, value in normalizer.items() if key != "precompiled_charsmap"}
    return [unmap(entry) for entry in normalizer] if isinstance(normalizer, list) else normalizer


def compact(tokenizer):
    whole = state(tokenizer)
    whole["normalizer"] = unmap(whole["normalizer"])
    return whole


def from_spm(name, tokenizer, kind):
    file = tokenizer.vocab_files_names.get("vocab_file", "")
    if not file.endswith(".model"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        source = "unigram.model" if kind == "Unigram" else "bpe_bytes.model"
        shutil.copy(SPM / source, Path(folder, file))
        Path(folder, "config.json").write_text('{"model_type": "none"}')
        try:
            converted = getattr(transformers, f"{name}Tokenizer").from_pretrained(folder)
        except Exception as error:
            print(name, "from", source, type(error), str(error)[:200])
            return None
    whole = compact(converted)
    vocab = whole["model"].pop("vocab")
    whole["vocab"] = [token for token, _ in (vocab if isinstance(vocab, list) else sorted(vocab.items(), key=lambda item: item[1]))]
    if isinstance(vocab, list):
        whole["scores"] = [score for _, score in vocab]
    if "merges" in whole["model"]:
        whole["merges"] = [" ".join(merge) for merge in whole["model"].pop("merges")]
    whole["added_tokens"] = [[token["id"], token["content"], token["special"], token["normalized"]] for token in whole["added_tokens"]]
    texts = TEXTS[9:90:6]
    return {"source": source, **whole, "ids": [converted.backend_tokenizer.encode(text).ids for text in texts]}


definitions, cases = {}, {}
for name in CLASSES:
    try:
        tokenizer = build(name)
    except Exception as error:
        print(name, "blank", type(error), str(error)[:100])
        # Pegasus looks for its unknown token with a score of 0 and does not find it in its own vocabulary.
        tokenizer = build(name, vocab=[("<pad>", 0.0), ("<unk>", 0.0), ("</s>", 0.0), ("<mask_2>", 0.0)])
    definitions[f"{name}Tokenizer"] = definition(name, tokenizer)
    inside = build(name, **given(name, tokenizer))
    kind = state(tokenizer)["model"]["type"]
    case = {"blank": compact(tokenizer), "arguments": given(name, tokenizer), "given": compact(inside)}
    if case["given"]["model"]["vocab"] == case["blank"]["model"]["vocab"]:
        del case["given"]  # the class takes no vocabulary
    if converted := from_spm(name, tokenizer, kind):
        case["spm"] = converted
        extra = definitions[f"{name}Tokenizer"]["extra_special_tokens"]
        if extra and extra[-1] not in [content for _, content, *_ in converted["added_tokens"]]:
            definitions[f"{name}Tokenizer"]["spm_drops_extra"] = True
        if all(special for _, _, special, _ in converted["added_tokens"]) and "<tool>" in str(converted["added_tokens"]):
            definitions[f"{name}Tokenizer"]["spm_all_special"] = True
    processor = case["blank"]["post_processor"]
    if "cls" in processor and any(tokenizer.convert_tokens_to_ids(processor[key][0]) != processor[key][1] for key in ("cls", "sep")):
        definitions[f"{name}Tokenizer"]["fixed_post_processor"] = True
    cases[f"{name}Tokenizer"] = case

(OUT / "src/classes").mkdir(exist_ok=True)
for name, entry in definitions.items():
    # Long runs of made-up tokens are the same everywhere; the rest is short.
    entry["vocab"] = entry["vocab"]
write(OUT / "src/classes/definitions.json", definitions)
GOLDEN.mkdir(parents=True, exist_ok=True)
write(GOLDEN / "classes.json", cases)

from transformers.tokenization_utils_base import generate_merges

VOCABULARIES = [
    ({"h": 0, "e": 1, "l": 2, "o": 3, "he": 4, "ll": 5, "hell": 6, "hello": 7}, None, []),
    ({"a": 0, "b": 1, "ab": 2, "<s>": 3, "<": 4, "s>": 5, "aba": 6, "ba": 7}, None, ["<s>"]),
    ({"a": 0, "aa": 1, "aaa": 2, "aaaa": 3}, {"a": -1.0, "aa": -3.0, "aaa": -2.0, "aaaa": -2.0}, []),
    ({"é": 5, "éa": 9, "a": 7, "aé": 2, "éaé": 1}, None, []),
]
write(GOLDEN / "merges.json", [{"vocab": vocab, "scores": scores, "skip": skip, "merges": generate_merges(vocab, scores, skip)}
                               for vocab, scores, skip in VOCABULARIES])
known = set(definitions) | {alias for entry in definitions.values() for alias in entry["aliases"]}
general = {"TokenizersBackend", "SentencePieceBackend", "PythonBackend", "MistralCommonBackend", "PreTrainedTokenizer", "AutoTokenizer"}
named = {name.removesuffix("Fast") for name in dir(transformers) if name.endswith(("Tokenizer", "TokenizerFast"))}
named |= {name.removesuffix("Fast") for name in TOKENIZER_MAPPING_NAMES.values() if name}
coded = sorted(named - known - general)
write(OUT / "src/classes/coded.json", coded)
write(OUT / "src/classes/model_types.json", {model: name for model, name in TOKENIZER_MAPPING_NAMES.items() if name in known or name in coded})

# What classes make of the tokenizer.json of others: they take its words, and split and decode in their own way.
rebuilt = []
for name, folder in (("LlamaTokenizer", "sentence_piece"), ("GPT2Tokenizer", "byte_level"), ("LlamaTokenizer", "byte_level"), ("Qwen2Tokenizer", "byte_level"), ("BertTokenizer", "word_piece")):
    tokenizer = getattr(transformers, name).from_pretrained(OUT / "tests/golden" / folder)
    rows = [[text, ids := tokenizer(text)["input_ids"], tokenizer.decode(ids)] for text in TEXTS[9:90:6] + ["<s>a</s> [CLS]<|im_start|>"]]
    rebuilt.append({"class": name, "folder": folder, "size": len(tokenizer), "rows": rows})
write(GOLDEN / "rebuilt.json", rebuilt)
