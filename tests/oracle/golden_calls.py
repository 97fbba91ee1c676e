"""Calls of the reference's tokenizers with everything that they return, for the tests of crates/tokenization.

transformers 5.23.0. Run after golden_tokenization.py: python golden_calls.py ../../crates/tokenization/tests/golden

Reads the three tokenizers that are there; and defines a tokenizer in Python, on the reference's PythonBackend.
"""

import sys
from pathlib import Path

from golden_tokenization import write
from transformers import AddedToken, PythonBackend, TokenizersBackend

OUT = Path(sys.argv[1])

TEXTS = ["The quick brown fox, naïve 🙂 café!", "It's  late", "", "  Call me Ishmael. "]
PAIRS = ["The sea is a part of the world.", "", "Yes", "Some years ago"]
WORDS = [["The", "quick", "brown-fox"], ["Hello", " 🙂", "", "x"], [], ["What", "is", "the", "capital", "of", "France?"]]
WORD_PAIRS = [["a", "b"], ["sea"], ["late"], []]

INPUTS = {
    "texts": [TEXTS], "pairs": [TEXTS, PAIRS], "words": [WORDS], "word pairs": [WORDS, WORD_PAIRS],
    "targets": [TEXTS],
}
OPTIONS = [
    {}, {"add_special_tokens": False}, {"padding": True}, {"padding": True, "padding_side": "left", "pad_to_multiple_of": 8},
    {"truncation": True, "max_length": 8}, {"truncation": True, "max_length": 8, "stride": 2},
    {"truncation": True, "max_length": 8, "stride": 2, "return_overflowing_tokens": True},
    {"truncation": True, "max_length": 7, "return_overflowing_tokens": True, "padding": True, "padding_side": "left"},
    {"truncation": "only_first", "max_length": 36, "stride": 1, "return_overflowing_tokens": True, "padding": "max_length"},
    {"truncation": "only_second", "max_length": 44, "stride": 1, "return_overflowing_tokens": True},
    {"truncation": True, "max_length": 6, "stride": 30, "return_overflowing_tokens": True},
]


def lookups(batch, row, texts):
    chars = [[batch.char_to_token(row, char, sequence) for char in range(len(text))] for sequence, text in enumerate(texts)]
    words = [[batch.char_to_word(row, char, sequence) for char in range(len(text))] for sequence, text in enumerate(texts)]
    def span(value):
        return None if value is None else [value.start, value.end]
    most = max([word for word in batch.word_ids(row) if word is not None], default=0)
    return {
        "char_to_token": chars, "char_to_word": words,
        "word_to_tokens": [[span(batch.word_to_tokens(row, word, sequence)) for word in range(most + 2)] for sequence in range(len(texts))],
        "word_to_chars": [[span(batch.word_to_chars(row, word, sequence)) if batch.word_to_tokens(row, word, sequence) else None
                           for word in range(most + 2)] for sequence in range(len(texts))],
    }


def call(tokenizer, kind, options):
    arguments = [list(side) for side in INPUTS[kind]]
    extra = {"is_split_into_words": True} if kind.startswith("word") else {}
    if kind == "targets":
        extra["text_target"] = PAIRS
    result = {"inputs": kind, "options": options}
    # The library refuses some of these by a panic.
    try:
        batch = tokenizer(*arguments, **extra, **options, return_special_tokens_mask=True, return_offsets_mapping=True, return_token_type_ids=True)
    except BaseException as error:
        return {**result, "error": str(error)[:100]}
    rows = range(len(batch["input_ids"]))
    keys = ["input_ids", "attention_mask", "token_type_ids", "special_tokens_mask", "offset_mapping", "overflow_to_sample_mapping", "labels"]
    result.update({key: batch[key] for key in keys if key in batch})
    result.update(tokens=[batch.tokens(row) for row in rows], word_ids=[batch.word_ids(row) for row in rows],
                  sequence_ids=[batch.sequence_ids(row) for row in rows])
    if not options and kind in ("texts", "pairs"):
        result["lookups"] = [lookups(batch, row, texts) for row, texts in enumerate(zip(*arguments))]
    return result


class Plain(PythonBackend):
    def __init__(self, vocabulary, **options):
        self.vocabulary = vocabulary
        self.tokens = {index: token for token, index in vocabulary.items()}
        super().__init__(**options)

    vocab_size = property(lambda self: len(self.vocabulary))

    def get_vocab(self):
        return {**self.vocabulary, **self._added_tokens_encoder}

    def _tokenize(self, text, **_):
        return text.lower().split()

    def _convert_token_to_id(self, token):
        return self.vocabulary.get(token, self.vocabulary[self.unk_token])

    def _convert_id_to_token(self, index):
        return self.tokens[index]


PLAIN_TEXTS = ["Hello world", "hello unknown World", "", "  hello  ", "hello<tool>world", "hello <tool> world", "x <b>  hello", "hello<b>world", "[MASK] hello [MASK]world",
               "hello </s> world<s>", "hello [cls] [CLS]", "Hello<TOOL>", "hello <b><b>world"]
PLAIN_OPTIONS = [{}, {"add_special_tokens": False}, {"padding": True}, {"truncation": True, "max_length": 4, "padding": True, "padding_side": "left"}]


def plain(pattern, types):
    words = ["<unk>", "hello", "world", "x", "[cls]", "</s>"]
    tokenizer = Plain({word: index for index, word in enumerate(words)}, special_tokens_pattern=pattern, token_type_ids_pattern=types,
                      unk_token="<unk>", eos_token="</s>", bos_token="<s>", pad_token="<pad>", cls_token="[CLS]", sep_token="[SEP]",
                      mask_token=AddedToken("[MASK]", lstrip=True, normalized=False, special=True))
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False, lstrip=True, rstrip=True), AddedToken("<b>", normalized=False)])
    rows = []
    for options in PLAIN_OPTIONS:
        for arguments in ([PLAIN_TEXTS], [PLAIN_TEXTS, PLAIN_TEXTS[::-1]]):
            batch = tokenizer(*arguments, **options, return_special_tokens_mask=True, return_token_type_ids=True)
            rows.append({"pairs": len(arguments) == 2, "options": options, **{key: batch[key] for key in batch}})
    ids = [tokenizer(text)["input_ids"] for text in PLAIN_TEXTS]
    return {"pattern": pattern, "types": types, "calls": rows, "vocabulary": tokenizer.get_vocab(),
            "decoded": [[row, tokenizer.decode(row), tokenizer.decode(row, skip_special_tokens=True)] for row in ids]}


for name in ("byte_level", "word_piece", "sentence_piece"):
    tokenizer = TokenizersBackend.from_pretrained(OUT / name)
    write(OUT / name / "more_calls.json", [call(tokenizer, kind, options) for kind in INPUTS for options in (OPTIONS[:3] if kind == "targets" else OPTIONS)])
write(OUT / "more_inputs.json", {"texts": TEXTS, "pairs": PAIRS, "words": WORDS, "word pairs": WORD_PAIRS})
patterns = [("none", "bert_style"), ("cls_sep", "bert_style"), ("eos", "all_zeros"), ("bos", "bert_style"), ("bos_eos", "bert_style"), ("cls_double_sep", "bert_style")]
write(OUT / "plain.json", {"texts": PLAIN_TEXTS, "cases": [plain(*pattern) for pattern in patterns]})
