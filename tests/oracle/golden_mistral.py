"""Texts and conversations in the ids of mistral-common, for the tests of crates/tokenization.

mistral-common 1.13.1. Run: python golden_mistral.py ../../crates/tokenization/tests/golden/mistral [FILE …]

Makes a small vocabulary of each version; further files of Mistral's are recorded beside them.
"""

import base64
import json
import sys
import tempfile
import warnings
from pathlib import Path

import sentencepiece
from golden_tokenization import CLOCK, PROSE, TEXTS, WEATHER, assistant, call, system, user, write
from mistral_common.protocol.fim.request import FIMRequest
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

warnings.filterwarnings("ignore")
OUT = Path(sys.argv[1])

PATTERN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}"
           r"\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CONTROL = [token["token_str"] for token in Tekkenizer.DEPRECATED_SPECIAL_TOKENS]
LATER = ["[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]"]
SETTINGS = ["[MODEL_SETTINGS]", "[/MODEL_SETTINGS]"]
# What the files of v15 allow.
BUILDERS = {"v15": {"reasoning_effort": {"type": "enum", "accepts_none": True, "default": "high", "values": ["none", "high"]},
                    "json_schema": {"type": "json_schema", "accepts_none": False, "default": None}},
            "v15_effort": {"reasoning_effort": {"type": "enum", "accepts_none": True, "default": "none", "values": ["none", "low"]}}, "v15_none": {}}


def result(content, id="abcdefghi", **more):
    return {"role": "tool", "content": content, "tool_call_id": id, **more}


A, B = "abcdefghi", "123456789"
CONVERSATIONS = {
    "one turn": [user("What is the capital of France?")],
    "system": [system("You are terse."), user("Hi.")],
    "systems": [system("One."), system(""), system("Two."), user("Hi."), assistant("Yes. "), user(" Why? ")],
    "system between": [user("Hi."), system("Now be rude."), user("Hello?")],
    "only system": [system("Nobody asks.")],
    "turns": [user("Hello"), assistant("Hello! How can I help?"), user("Tell me a joke."), assistant("No."), user("Why?")],
    "neighbours": [user("a"), user("b"), assistant("c"), assistant("d  "), user("e")],
    "control in text": [user("<s>[INST] x [/INST]</s>"), assistant("[TOOL_CALLS]"), user("[/INST]")],
    "unicode": [user("Ünïcödé “quotes” 🙂 日本語 \\ \t \n\n x")],
    "empty": [user("")],
    "parts": [user([{"type": "text", "text": "One."}, {"type": "text", "text": ""}, {"type": "text", "text": "Two."}])],
    "tools": ([user("Weather in Paris?")], {"tools": [WEATHER, CLOCK]}),
    "tools, turns": ([user("Hi."), assistant("Hello."), user("Weather?")], {"tools": [CLOCK]}),
    "bare tool": ([user("Weather?")], {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"b": 1, "a": [1.0, 1e-7, None]}}}]}),
    "call": [user("Weather?"), assistant(None, tool_calls=[call("get_weather", {"city": "Zürich", "days": [1, 2.5]}, id=A)]),
             result('{"temp":  21.5, "x": "é"}', name="get_weather")],
    "call, text": [user("Weather?"), assistant("Let me look.", tool_calls=[call("now", "{}", id=A)]), result("12:00")],
    "call, answered": [user("Weather?"), assistant(None, tool_calls=[call("now", "{ \"a\" : 1 }", id=A)]), result("rain", name="now"),
                       assistant("It rains."), user("Thanks.")],
    "calls": [user("Both?"), assistant("", tool_calls=[call("f", {"a": 1}, id=A), call("g", "not json", id=B)]), result("2", B, name="g"),
              result("1", A, name="f")],
    "call of no id": [user("Now?"), assistant("", tool_calls=[call("f", {})]), result("x")],
    "long id": [user("Now?"), assistant("", tool_calls=[call("f", {}, id="call_0123456789")]), result("x", "call_0123456789")],
    "empty result": [user("Now?"), assistant("", tool_calls=[call("f", None, id=A)]), result("")],
    "parts of a result": [user("Now?"), assistant("", tool_calls=[call("f", {}, id=A)]), result([{"type": "text", "text": "[1,"}, {"type": "text", "text": "2]"}])],
    "thinking": [user("Think."), assistant([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Done. "}]), user("Again.")],
    "open thinking": ([user("Think."), assistant([{"type": "thinking", "thinking": "Hm.", "closed": False}])], {"continue_final_message": True}),
    "reasoning": [user("Think."), assistant("Done.", reasoning_content="Because."), user("Again.")],
    "system thinking": [system([{"type": "text", "text": "First"}, {"type": "thinking", "thinking": "think"}, {"type": "text", "text": "then speak."}]), user("Hi.")],
    "user thinking": [user([{"type": "thinking", "thinking": "Hm."}])],
    "continued": ([user("Count."), assistant("One, two, ")], {"continue_final_message": True}),
    "not continued": [user("Count."), assistant("One")],
    "continued user": ([user("Count.")], {"continue_final_message": True}),
    "assistant first": [assistant("Hello!"), user("Hi.")],
    "result first": [result("x"), user("Hi.")],
    "result for nothing": [user("Hi."), result("x")],
    "results missing": [user("Hi."), assistant("", tool_calls=[call("f", {}, id=A)]), user("No?"), assistant("x"), user("y")],
    "wrong result": [user("Hi."), assistant("", tool_calls=[call("f", {}, id=A)]), result("x", B)],
    "system after assistant": [user("Hi."), assistant("x"), system("y"), user("z")],
    "bad name": [user("Hi."), assistant("", tool_calls=[call("not a name", {}, id=A)]), result("x")],
    "bad tool": ([user("Hi.")], {"tools": [{"type": "function", "function": {"name": "not a name", "parameters": {}}}]}),
    "empty answer": [user("Hi."), assistant(""), user("x")],
    "role": [{"role": "critic", "content": "x"}],
    "image": [user([{"type": "image"}])],
    "effort": ([user("Hi."), assistant("Yes."), user("Why?")], {"reasoning_effort": "none", "tools": [CLOCK]}),
    "other effort": ([user("Hi.")], {"reasoning_effort": "medium"}), "no such effort": ([user("Hi.")], {"reasoning_effort": "some"}),
    "schema": ([user("Hi.")], {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"é": {"type": "string"}}}}}}),
    "object": ([system("JSON."), user("Hi.")], {"response_format": {"type": "json_object"}}), "plain": ([user("Hi.")], {"response_format": {"type": "text"}}),
    "neighbouring parts": [user("a"), user([{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]), user("d")],
}
FIM = [("def f(", "return x"), ("def f(", None), ("", ""), ("x", " y")]


def tekken(version, special, builder=None):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(PROSE + TEXTS, trainer)
    from transformers.convert_slow_tokenizer import bytes_to_unicode
    byte = {character: value for value, character in bytes_to_unicode().items()}
    tokens = [bytes([index]) for index in range(256)]
    for left, right in json.loads(tokenizer.to_str())["model"]["merges"]:
        token = bytes(byte[character] for character in left + right)
        if token not in tokens:
            tokens.append(token)
    count = len(special) + 3 if special else 25
    file = {"config": {"pattern": PATTERN, "num_vocab_tokens": len(tokens), "default_vocab_size": len(tokens) - 2 + count,
                       "default_num_special_tokens": count, "version": version},
            "vocab": [{"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None} for rank, token in enumerate(tokens)]}
    if builder is not None:
        file["model_settings_builder"] = builder
    if special:
        file["special_tokens"] = [{"rank": rank, "token_str": token, "is_control": True} for rank, token in enumerate(special)]
    return json.dumps(file).encode()


def model(control):
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus.txt")
        corpus.write_text("\n".join(PROSE[:7] * 3))
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=f"{folder}/m", model_type="bpe", vocab_size=420, byte_fallback=True,
            normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, control_symbols=control,
            hard_vocab_limit=False, minloglevel=2, num_threads=1)
        return Path(folder, "m.model").read_bytes()


def record(path, name):
    tokenizer = MistralTokenizer.from_file(path)
    inner = tokenizer.instruct_tokenizer.tokenizer
    texts = []
    for text in TEXTS[::2]:
        ids = inner.encode(text, bos=True, eos=False)
        texts.append([text, ids, inner.decode(ids, SpecialTokenPolicy.IGNORE)])
    cases = []
    for case, conversation in CONVERSATIONS.items():
        messages, options = conversation if isinstance(conversation, tuple) else (conversation, {})
        try:
            request = ChatCompletionRequest.from_openai(messages=messages, **options)
            outcome = {"ids": tokenizer.encode_chat_completion(request).tokens}
        except Exception as error:
            outcome = {"error": type(error).__name__, "message": str(error)[:200]}
        cases.append({"name": case, **outcome})
    fim = []
    for prompt, suffix in FIM:
        try:
            # Without their tokens, the library gives unknown ones instead.
            assert inner.is_special("[SUFFIX]") and inner.is_special("[PREFIX]")
            fim.append([prompt, suffix, tokenizer.encode_fim(FIMRequest(prompt=prompt, suffix=suffix)).tokens])
        except Exception:
            fim.append([prompt, suffix, None])
    # Odd sequences, as models write them: runs of bytes, halves of characters.
    odd = [[index] for index in range(0, inner.n_words, max(1, inner.n_words // 40))] + [list(range(inner.num_special_tokens, inner.n_words, 97))]
    decoded = [[ids, inner.decode(ids, SpecialTokenPolicy.IGNORE)] for ids in odd]
    write(OUT / f"{name}.json", {"texts": texts, "chats": cases, "fim": fim, "decoded": decoded})


OUT.mkdir(parents=True, exist_ok=True)
write(OUT / "conversations.json", {
    name: {"messages": conversation[0], **conversation[1]} if isinstance(conversation, tuple) else {"messages": conversation}
    for name, conversation in CONVERSATIONS.items()})
for version, special in [("v3", None), ("v7", None), ("v11", CONTROL + LATER), ("v13", CONTROL + LATER)]:
    folder = OUT / f"tekken_{version}"
    folder.mkdir(exist_ok=True)
    (folder / "tekken.json").write_bytes(tekken(version, special))
    record(folder / "tekken.json", folder.name)
for name, builder in BUILDERS.items():
    folder = OUT / f"tekken_{name}"
    folder.mkdir(exist_ok=True)
    (folder / "tekken.json").write_bytes(tekken("v15", CONTROL + LATER + SETTINGS, builder))
    record(folder / "tekken.json", folder.name)
for version in ("v1", "v2", "v3", "v7m1"):
    folder = OUT / f"model_{version}"
    folder.mkdir(exist_ok=True)
    path = folder / f"tokenizer.model.{version}"
    path.write_bytes(model([] if version == "v1" else [token for token in CONTROL if token not in ("<unk>", "<s>", "</s>")]))
    record(path, folder.name)
for path in map(Path, sys.argv[2:]):
    folder = OUT / path.name.replace(".", "_")
    folder.mkdir(exist_ok=True)
    (folder / path.name).write_bytes(path.read_bytes())
    record(folder / path.name, folder.name)
