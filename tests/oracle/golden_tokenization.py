"""Ids, texts and rendered conversations of the reference, for the tests of crates/tokenization.

transformers 5.23.0, tokenizers 0.23.2, jinja2 as pinned. Run: python golden_tokenization.py ../../crates/tokenization/tests/golden

Trains three small tokenizers (byte-level BPE, WordPiece, SentencePiece-like BPE with byte fallback), writes them as
`tokenizer.json` folders and the two BPE ones as GGUF files too, and records what the reference makes of them. The chat
templates are read from `templates/` of the same folder.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from gguf import GGUFWriter
from tokenizers import (
    AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers,
)
from transformers import TokenizersBackend

OUT = Path(sys.argv[1])

PROSE = [
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness.",
    "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, I thought I "
    "would sail about a little and see the watery part of the world.",
    "All happy families are alike; every unhappy family is unhappy in its own way.",
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind; it's asleep, isn't it?",
    "What is the capital of France? The capital of France is Paris. Where's the sea? They've seen it.",
    "We're going to the river, and I'll tell you what they'd say: don't be late, you're always late!",
    "def main(args):\n    for i in range(10):\n        print(i, args[i])\n    return None\n",
    "Ein Fluß fließt über die Brücke; ça va très bien, señor. Привет, мир! 你好，世界。 こんにちは 🙂",
]

TEXTS = [
    "", " ", "  ", "\n", "\t", "\r\n", " \n \n", "a", "A", "Hello", " Hello", "Hello ", "  Hello  world  ",
    "Hello, world!", "hello world", "HELLO WORLD", "HeLLo", "What is the capital of France?",
    "The capital of France is Paris.", "It's, isn't it? They've we're I'll you'd I'm", "IT'S ISN'T THEY'VE", "don’t",
    "can't've", "'s", "' s", "it ' s", "a 'm b", "do n't", "hello . world ! yes , no ?", "(parentheses) [brackets] {braces}",
    "1", "12", "123", "1234", "12345678", "3.14159", "1,000,000", "2024-07-26", "12:30", "x1y2z3", "a 1", "a  1", "a   12 3",
    " 1", "  1", "1 ", "½ ⅓ ² ³", "٣٤٥", "Ⅷ", "100%", "$5.00", "#hashtag @user", "user@example.com",
    "https://example.com/a?b=c&d=e#f", "snake_case camelCase PascalCase kebab-case", "path/to/file.txt",
    "def f(x):\n    return x + 1\n", "for (int i = 0; i < n; i++) { a[i] = b[i]; }", "\tindented\n\t\ttwice",
    "line one\nline two\n\nline four", "trailing spaces   \nnext", "a\u00a0b", "a\u2003b", "zero\u200bwidth", "tab\tsep",
    "café", "cafe\u0301", "naïve façade", "Ångström", "ÅNGSTRÖM", "straße", "İstanbul", "ﬁne ﬂow", "Ｆｕｌｌ ｗｉｄｔｈ",
    "Привет, мир!", "Ελληνικά", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "ภาษาไทย", "မြန်မာ", "አማርኛ",
    "你好，世界。", "日本語のテキスト", "こんにちは", "한국어 텍스트", "中文English混合", "。、！？", "🙂", "👩‍👩‍👧‍👦", "🇫🇷🇩🇪", "❤️", "👍🏽",
    "emoji 🙂 inside 🎉 text", "𝕳𝖊𝖑𝖑𝖔", "\ufeffbom", "a\u0000b", "\u001b[0m", "\ufffd", "a\ufffdb", "e\u0301\u0302\u0303",
    "aaaaaaaaaaaaaaaaaaaaaaaa", "hahahahaha", "----------", "==========", "....", "!!!???", "<s>", "</s>", "<|im_start|>",
    "<|im_start|>user\nHi<|im_end|>\n", "a<|im_end|>b", "<|im_end|> b", "x<|im_start|", "[MASK]", "the [MASK] of [UNK]", "a[SEP]b",
    "<tool>", "a <tool> b", "<unk>", "▁", "▁a ▁b", "Ġ", "Ġhello", "##ing", "supercalifragilisticexpialidocious",
    "the " * 30, "antidisestablishmentarianism " * 3, "x" * 120,
]

PAIRS = [
    ("What is the sea?", "The sea is a part of the world."), ("", "only the second"), ("only the first", ""), ("a", "b"),
    ("The quick brown fox jumps over the lazy dog.", "Asleep."), ("Yes.", "It was the age of wisdom, it was the age of foolishness."),
]

# Keyword arguments of the reference's __call__.
CALLS = [
    {}, {"add_special_tokens": False}, {"padding": True}, {"padding": True, "padding_side": "left"},
    {"padding": "max_length", "max_length": 12}, {"padding": "max_length", "max_length": 12, "truncation": True},
    {"truncation": True, "max_length": 7}, {"truncation": True, "max_length": 6, "add_special_tokens": False},
    {"truncation": True, "max_length": 5, "padding": True, "padding_side": "left"},
    {"padding": True, "pad_to_multiple_of": 8}, {"truncation": True, "max_length": 16, "padding": True, "pad_to_multiple_of": 8},
    {"truncation": True}, {"padding": "max_length"}, {"truncation": True, "padding": "max_length"},
]
PAIR_CALLS = CALLS + [
    {"truncation": "only_first", "max_length": 16}, {"truncation": "only_second", "max_length": 16},
    {"truncation": "longest_first", "max_length": 9, "padding": True},
]

CHATML = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}"


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    line = lambda value: json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        text = "[\n" + ",\n".join(map(line, value)) + "\n]\n"
    else:
        text = "{\n" + ",\n".join(f"{line(key)}: {line(entry)}" for key, entry in value.items()) + "\n}\n"
    path.write_text(text, encoding="utf-8")


def folder(name, tokenizer, config, **files):
    """A folder as an older version would have left it: everything that has to be read, spelled in several ways."""
    path = OUT / name
    path.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path / "tokenizer.json"), pretty=False)
    write(path / "tokenizer_config.json", config)
    for file, content in files.items():
        file = path / file.replace("__", "/").replace("_json", ".json").replace("_jinja", ".jinja")
        file.parent.mkdir(exist_ok=True)
        if isinstance(content, str):
            file.write_text(content)
        else:
            write(file, content)
    return TokenizersBackend.from_pretrained(path)


def byte_level(split=True):
    """Without `split`, merges go across words, digits and signs, so that every way to split shows in the ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC() if split else None
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400 if split else 700, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(PROSE if split else TEXTS + TEXTS, trainer)
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    return tokenizer


def word_piece():
    """With a counted vocabulary: the library's trainer orders equal pieces differently in each run."""
    normalizer, pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = [word for text in PROSE for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))]
    characters = sorted(set("".join(words)))
    pieces = Counter(piece for word in words for cut in range(1, len(word) + 1) for piece in (word[:cut], "##" + word[cut:])
                     if len(piece) > 3)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = special + characters + ["##" + character for character in characters]
    vocab += sorted(pieces, key=lambda piece: (-pieces[piece] * len(piece), piece))
    vocab = list(dict.fromkeys(vocab))[:300]
    tokenizer = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(vocab)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    # As sentence-transformers leaves them: the reference follows neither unless a call asks.
    tokenizer.enable_truncation(10)
    tokenizer.enable_padding(length=10, pad_token="[PAD]", direction="left")
    return tokenizer


def sentence_piece():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    split = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=True)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=special, limit_alphabet=60, show_progress=False)
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = split
    trained.train_from_iterator(PROSE[:6], trainer)
    state = json.loads(trained.to_str())
    state["model"].update(unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    state["added_tokens"] = [token for token in state["added_tokens"] if not token["content"].startswith("<0x")]
    whole = json.loads(tokenizer.to_str())
    whole["model"], whole["added_tokens"] = state["model"], state["added_tokens"]
    tokenizer = Tokenizer.from_str(json.dumps(whole))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


def texts_of(tokenizer, texts=TEXTS):
    """Per text: ids with and without special tokens, and what the former decode to with and without them."""
    rows = []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        rows.append([
            text, ids, tokenizer(text, add_special_tokens=False)["input_ids"],
            tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=True),
        ])
    return rows


def calls_of(tokenizer):
    batch = ["What is the sea?", "It", "", "The quick brown fox jumps over the lazy dog."]
    fields = ("input_ids", "attention_mask", "token_type_ids")
    def run(arguments, *texts):
        try:
            result = tokenizer(*texts, return_token_type_ids=True, **arguments)
        except Exception as error:  # nothing that may be removed is left
            return {"options": arguments, "error": str(error)}
        return {"options": arguments, **{field: result[field] for field in fields}}
    first, second = (list(side) for side in zip(*PAIRS))
    return {
        "texts": batch, "calls": [run(arguments, batch) for arguments in CALLS],
        "pairs": PAIRS, "pair_calls": [run(arguments, first, second) for arguments in PAIR_CALLS],
    }


def attributes_of(tokenizer):
    return {
        "vocab_size": len(tokenizer), "padding_side": tokenizer.padding_side, "truncation_side": tokenizer.truncation_side,
        "model_max_length": tokenizer.model_max_length if tokenizer.model_max_length < 1e20 else None,
        "special_tokens": {name: [token, tokenizer.convert_tokens_to_ids(token)]
                           for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)},
        "added_tokens": sorted(tokenizer.get_added_vocab().items(), key=lambda item: item[1]),
    }


def record(name, tokenizer):
    write(OUT / name / "texts.json", texts_of(tokenizer))
    write(OUT / name / "calls.json", calls_of(tokenizer))
    write(OUT / name / "attributes.json", attributes_of(tokenizer))


def gguf(name, tokenizer, kind, pre, types, **flags):
    """The vocabulary of `tokenizer` as GGUF metadata; no tensors."""
    state = json.loads(tokenizer.to_str())
    tokens = [tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size())]
    writer = GGUFWriter(OUT / name, "llama")
    writer.add_uint32("llama.block_count", 1)
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([types(*entry) for entry in enumerate(tokens)])
    if kind == "gpt2":
        writer.add_token_merges([" ".join(merge) for merge in state["model"]["merges"]])
    else:  # as SentencePiece has them: the earlier merged, the better
        writer.add_token_scores([-float(index) for index in range(len(tokens))])
    for key, value in flags.items():
        getattr(writer, f"add_{key}")(value)
    writer.add_chat_template(CHATML)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def from_gguf(name, metadata):
    """The reference's tokenizer of a GGUF file, with some metadata replaced."""
    from transformers.integrations.gguf import reader

    original = reader.read_gguf_metadata
    def changed(*arguments, **options):
        read, tensors = original(*arguments, **options)
        return {**read, **metadata}, tensors
    reader.read_gguf_metadata = changed
    try:
        return TokenizersBackend.from_pretrained(OUT, gguf_file=name)
    finally:
        reader.read_gguf_metadata = original


def gguf_texts(tokenizer):
    return [[text, tokenizer(text)["input_ids"], tokenizer.decode(tokenizer(text)["input_ids"])] for text in TEXTS[8:75]]


def tokenization():
    bpe = byte_level()
    record("byte_level", folder(
        "byte_level", bpe,
        {
            "tokenizer_class": "GPT2Tokenizer", "bos_token": "<|im_start|>", "eos_token": {"__type": "AddedToken", "content": "<|im_end|>",
            "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}, "unk_token": "<|endoftext|>",
            "pad_token": "<|im_end|>", "padding_side": "left", "model_max_length": 1e30, "image_token": "<image>",
            "additional_special_tokens": ["<|im_start|>", "<extra>"], "add_bos_token": True,
            "chat_template": [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": "tools: {{ tools | tojson }}"}],
            "added_tokens_decoder": {str(bpe.token_to_id("<tool>")): {"content": "<tool>", "lstrip": True, "normalized": False,
            "rstrip": True, "single_word": False, "special": False}},
        },
    ))
    record("word_piece", folder(
        "word_piece", word_piece(),
        {"tokenizer_class": "BertTokenizer", "model_max_length": 16, "clean_up_tokenization_spaces": True, "chat_template": "not this one"},
        special_tokens_map_json={"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": {"content": "[UNK]"}, "pad_token": "[PAD]",
                                 "mask_token": {"content": "[MASK]", "lstrip": True}},
        chat_template_jinja="{{ messages[0].content }} {{ cls_token }}", additional_chat_templates__loud_jinja="{{ messages[0].content | upper }}",
    ))
    spm = sentence_piece()
    record("sentence_piece", folder(
        "sentence_piece", spm, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>", "truncation_side": "left"},
    ))

    def byte_level_type(index, token):
        return 4 if token == "<tool>" else 3 if index < 3 else 1
    unsplit = byte_level(split=False)
    gguf("byte_level.gguf", unsplit, "gpt2", "smollm", byte_level_type, bos_token_id=1, eos_token_id=2, unk_token_id=0, pad_token_id=2,
         add_bos_token=False, add_space_prefix=False)
    def sentence_piece_type(index, token):
        return 2 if token == "<unk>" else 3 if token in ("<s>", "</s>") else 6 if token.startswith("<0x") else 1
    gguf("sentence_piece.gguf", spm, "llama", "default", sentence_piece_type, bos_token_id=1, eos_token_id=2, unk_token_id=0)

    cases = []
    for name in ("byte_level.gguf", "sentence_piece.gguf"):
        variants = [{}]
        if name.startswith("byte"):
            variants = [{"tokenizer.ggml.pre": pre} for pre in ("gpt-2", "llama-bpe", "qwen2", "qwen35", "tekken", "gpt-4o", "unheard-of")]
            variants += [{"tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": True}]
        else:
            variants += [{"general.architecture": architecture} for architecture in ("gemma3", "phi3")]
            variants += [{"tokenizer.ggml.add_bos_token": False}]
        for variant in variants:
            tokenizer = from_gguf(name, variant)
            cases.append({"file": name, "metadata": variant, "texts": gguf_texts(tokenizer)})
    # The reference does not know `smollm`; the vocabulary's own pipeline splits off each digit (see split.rs).
    expected = Tokenizer.from_str(unsplit.to_str())
    expected.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    texts = [[text, ids := expected.encode(text).ids, expected.decode(ids, skip_special_tokens=False)] for text in TEXTS[8:75]]
    cases.append({"file": "byte_level.gguf", "metadata": {}, "texts": texts})
    for index, case in enumerate(cases):
        write(OUT / "gguf" / f"{index:02}.json", case)


WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather <now> & here.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "Which city, e.g. “Zürich”"}, "days": {
    "type": "array", "items": {"type": "integer"}}, "scale": {"enum": ["celsius", None, 1.5, 1e-7]}}, "required": ["city"]}}}
CLOCK = {"type": "function", "function": {"name": "now", "parameters": {}}}


def user(content, **more):
    return {"role": "user", "content": content, **more}


def system(content, **more):
    return {"role": "system", "content": content, **more}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def call(name, arguments, **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


CONVERSATIONS = {
    "one turn": {"messages": [user("What is the capital of France?")]},
    "system": {"messages": [system("  You are terse.\n"), user("Hi.")]},
    "turns": {"messages": [user("Hello"), assistant("Hello! How can I help?"), user("Tell me a joke."), assistant("No."), user("Why?")]},
    "answered": {"messages": [system("Be kind."), user("What's 2+2?"), assistant("4")], "add_generation_prompt": False},
    "unicode": {"messages": [system("日本語 🙂"), user("Ünïcödé “quotes” 'single' \\ back\tslash\u2028 \u0007")]},
    "empty": {"messages": [system(""), user(""), assistant(""), user(" ")]},
    "spaces": {"messages": [user("\n\n  leading and trailing  \n\n"), assistant("  yes \n"), user("\t")]},
    "null": {"messages": [user("Call it."), assistant("", tool_calls=None, name=None), user("Thanks")], "documents": None},
    "tools": {"messages": [user("Weather in Paris?")], "tools": [WEATHER, CLOCK]},
    "tool call": {"messages": [system("Use tools."), user("Weather in Zürich & Genf?"), assistant("", tool_calls=[
        call("get_weather", {"city": "Zürich", "days": [1, 2], "deep": {"a": None, "b": True, "c": 1.0}})]),
        {"role": "tool", "content": "{\"temp\": 21.5}"}, assistant("21.5 °C."), user("Thanks!")], "tools": [WEATHER]},
    "tool calls": {"messages": [user("Both?"), assistant("Let me look.", tool_calls=[call("get_weather", {"city": "Bern"}), call("now", "{}")]),
        {"role": "tool", "content": "rain"}, {"role": "tool", "content": "12:00"}], "tools": [WEATHER, CLOCK]},
    "thinking": {"messages": [user("Think."), assistant("<think>\nHm.\n</think>\n\nDone."), user("Again."),
        assistant("Done again.", reasoning_content="Well.\n")], "add_generation_prompt": False},
    "reasoning": {"messages": [user("Think."), assistant("Yes.", reasoning="Because <x>.")], "add_generation_prompt": False},
    "no thinking": {"messages": [user("Quick!")], "enable_thinking": False},
    "own variables": {"messages": [user("Now?")], "tools": [CLOCK], "date_string": "1 Jan 2025", "tools_in_user_message": False, "bos_token": "<B>"},
    "builtin": {"messages": [user("Search."), assistant("", tool_calls=[call("search", {"query": "rust", "n": 3})]),
        {"role": "tool", "content": ["r1", "ré2"]}], "builtin_tools": ["search", "code_interpreter"]},
    "parts": {"messages": [system([{"type": "text", "text": " Parts. "}]), user([{"type": "image"}, {"type": "text", "text": "What is this? "}])]},
    "bad part": {"messages": [user([{"type": "video"}])]},
    "only system": {"messages": [system("Nobody asks.")], "tools": [CLOCK]},
    "many": {"messages": [user("a"), assistant("b")] * 6 + [user("c")]},
    "continued": {"messages": [user("Count."), assistant("One, two, ")], "add_generation_prompt": False, "continue_final_message": True},
    "continued text": {"messages": [user("Count."), assistant("  One,\n")], "add_generation_prompt": False, "continue_final_message": True},
    "continued part": {"messages": [user("Count."), assistant([{"type": "text", "text": "One"}, {"type": "image"}])],
        "add_generation_prompt": False, "continue_final_message": True},
    "documents": {"messages": [user("What do they say?")], "documents": [{"title": "One", "text": "First. é"}, {"title": "Two", "text": "Second."}],
        "controls": {"citations": True}, "thinking": True},
    "ids": {"messages": [system("Use tools."), user("Both?"), assistant("", tool_calls=[call("get_weather", {"city": "Bern", "days": [1]}, id="abcdefghi"),
        call("now", {}, id="123456789")]), {"role": "tool", "content": "rain", "name": "get_weather", "tool_call_id": "abcdefghi"},
        {"role": "tool", "content": "12:00", "name": "now", "tool_call_id": "123456789"}, assistant("Rain at noon."), user("Thanks.")], "tools": [WEATHER, CLOCK]},
    "no role": {"messages": [{"content": "Who says this?"}]},
    "no content": {"messages": [user("Hi."), {"role": "assistant"}, user("Well?")]},
    "other role": {"messages": [{"role": "critic", "content": "Bad."}, user("Why?")]},
    "out of turn": {"messages": [user("One."), user("Two."), assistant("Three.")], "add_generation_prompt": False},
    "system text in parts": {"messages": [system([{"type": "text", "text": "Be kind."}]), user([{"type": "text", "text": "Hi "}, {"type": "text", "text": "there."}]),
        assistant([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Yes."}]), user("And?")]},
    "switch": {"messages": [system("Be kind. /no_think"), user("Hi."), assistant("\nHello."), user("Why?")], "xml_tools": [CLOCK], "python_tools": ["def now(): ..."]},
    "continued reasoning": {"messages": [user("Count."), assistant("", reasoning_content="One, two, ")], "add_generation_prompt": False,
        "continue_final_message": "reasoning_content"},
    "continued thinking": {"messages": [user("Count."), assistant("Three.", thinking="One, two,  ")], "add_generation_prompt": False,
        "continue_final_message": "thinking"},
    "continued name": {"messages": [user("Count."), assistant("Three.", name="x")], "add_generation_prompt": False, "continue_final_message": "name"},
    "continued nothing": {"messages": [user("Count."), {"role": "assistant"}], "add_generation_prompt": False, "continue_final_message": True},
}

# python.jinja and filters.jinja write much the same for all.
PYTHON_CONVERSATIONS = ("one turn", "answered", "unicode", "empty", "tool call", "many", "continued text")


def mistral_templates():
    """The templates that mistral-common generates for its versions."""
    from mistral_common.integrations.chat_templates.template_generator import TemplateConfig, build_chat_template
    from mistral_common.tokens.tokenizers.base import TokenizerVersion

    for name, options in {
        "v1": {"spm": True}, "v3": {"spm": True}, "v7": {"image_support": True}, "v11": {"plain_thinking_support": True}, "v13": {"thinking_support": True},
        "v15": {"thinking_support": True, "image_support": True, "reasoning_effort_values": ("none", "high"), "reasoning_effort_default": "high"},
    }.items():
        config = TemplateConfig(version=TokenizerVersion(name), use_special_token_variables=True, **options)
        (OUT / "templates" / f"mistral_{name}.jinja").write_text(build_chat_template(config))


def chats():
    mistral_templates()
    tokenizer = TokenizersBackend.from_pretrained(OUT / "byte_level")
    for template in sorted((OUT / "templates").glob("*.jinja")):
        tokenizer.chat_template = template.read_text()
        cases = []
        for name, conversation in CONVERSATIONS.items():
            if template.stem in ("python", "filters") and name not in PYTHON_CONVERSATIONS:
                continue
            arguments = {"add_generation_prompt": True, **conversation}
            messages = arguments.pop("messages")
            try:
                result = {"rendered": tokenizer.apply_chat_template(messages, tokenize=False, **arguments)}
            except Exception as error:  # whatever the template does wrong with this conversation
                result = {"error": type(error).__name__, "message": str(error)}
            cases.append({"name": name, **result})
        write(OUT / "chat" / f"{template.stem}.json", cases)
    write(OUT / "chat" / "conversations.json", CONVERSATIONS)


if __name__ == "__main__":
    tokenization()
    chats()
