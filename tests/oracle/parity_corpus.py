"""Texts that tokenizers get wrong, made from a seed: see parity.py."""

import pydoc_data.topics
import random
import re
import sys
import unicodedata

SEED = 20260726

# Ranges of code points with letters, by script; the marks of a script lie beside its letters.
SCRIPTS = {
    "latin": (0x41, 0x24F), "ipa": (0x250, 0x2AF), "greek": (0x370, 0x3FF), "cyrillic": (0x400, 0x52F), "armenian": (0x531, 0x58A),
    "hebrew": (0x591, 0x5F4), "arabic": (0x600, 0x6FF), "syriac": (0x700, 0x74F), "thaana": (0x780, 0x7B1), "nko": (0x7C0, 0x7FF),
    "devanagari": (0x900, 0x97F), "bengali": (0x980, 0x9FE), "gurmukhi": (0xA01, 0xA76), "gujarati": (0xA81, 0xAFF), "oriya": (0xB01, 0xB77),
    "tamil": (0xB82, 0xBFA), "telugu": (0xC00, 0xC7F), "kannada": (0xC80, 0xCF2), "malayalam": (0xD00, 0xD7F), "sinhala": (0xD81, 0xDF4),
    "thai": (0xE01, 0xE5B), "lao": (0xE81, 0xEDF), "tibetan": (0xF00, 0xFDA), "myanmar": (0x1000, 0x109F), "georgian": (0x10A0, 0x10FF),
    "jamo": (0x1100, 0x11FF), "ethiopic": (0x1200, 0x139F), "cherokee": (0x13A0, 0x13FD), "canadian": (0x1400, 0x167F), "ogham": (0x1680, 0x169C),
    "runic": (0x16A0, 0x16F8), "khmer": (0x1780, 0x17F9), "mongolian": (0x1800, 0x18AA), "balinese": (0x1B00, 0x1B7C), "greek extended": (0x1F00, 0x1FFE),
    "superscripts": (0x2070, 0x209C), "letterlike": (0x2100, 0x218B), "enclosed": (0x2460, 0x24FF), "braille": (0x2800, 0x28FF), "glagolitic": (0x2C00, 0x2C5F),
    "coptic": (0x2C80, 0x2CFF), "tifinagh": (0x2D30, 0x2D7F), "kana": (0x3041, 0x30FF), "bopomofo": (0x3105, 0x312F), "cjk": (0x4E00, 0x9FFF),
    "yi": (0xA000, 0xA48C), "hangul": (0xAC00, 0xD7A3), "compatibility": (0xF900, 0xFAD9), "presentation": (0xFB00, 0xFDFB), "width": (0xFF01, 0xFFEE),
    "gothic": (0x10330, 0x1034A), "deseret": (0x10400, 0x1044F), "cuneiform": (0x12000, 0x12399), "hieroglyphs": (0x13000, 0x1342E),
    "mathematical": (0x1D400, 0x1D7FF), "adlam": (0x1E900, 0x1E95F), "cjk extended": (0x20000, 0x2A6DD),
}
SPACES = [" ", "\t", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0", "\u1680", "\u2000", "\u2003", "\u2007",
          "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u180e", "\u200b", "\u2060", "\ufeff"]
MARKS = [chr(point) for first, last in ((0x300, 0x36F), (0x483, 0x489), (0x591, 0x5BD), (0x64B, 0x65F), (0x1AB0, 0x1ABE), (0x20D0, 0x20F0), (0xFE20, 0xFE2F))
         for point in range(first, last + 1)]
EMOJI = ["🙂", "👍", "👩", "👨", "👧", "❤", "☂", "🏳", "🌈", "🇫", "🇷", "🇩", "🇪", "1", "#", "🚀", "🫠", "🧑", "💻", "✈", "⌚", "🀄", "𝄞"]
JOINS = ["\u200d", "\ufe0f", "\ufe0e", "🏻", "🏽", "🏿", "\u20e3", ""]
SPECIAL = ["<s>", "</s>", "<unk>", "<pad>", "<mask>", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "<|endoftext|>", "<|im_start|>", "<|im_end|>",
           "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<think>", "</think>", "[INST]", "[/INST]", "<start_of_turn>", "<0x0A>", "<extra_id_0>",
           "▁", "Ġ", "##", "Ċ", "<|startoftranscript|>", "<|notimestamps|>", "<|0.00|>", "<tool>", "<image>"]
WORDS = ("the of and to in is it's don't they've I'll we'd you're can't CAN'T let's it’s o'clock 'tis John's Hello world HELLO naïve façade Ångström straße ﬁne "
         "İstanbul ſhort K 1 12 123 1234 1,000 3.14 ½ ٣٤ Ⅷ x1 a_b camelCase HTTPServer foo.bar(baz) {x:1} [0] => != == && // /* */ # @user $5 100% a/b C:\\d "
         "https://example.com/?q=1&r=2 user@example.com ... !!! ?! -- — … “quoted” «guillemets» (a) <b> </b> ~ ` ^ | \\n \\t").split()


def scripts(draw):
    """Words of each script, alone and in a sentence with others."""
    for first, last in SCRIPTS.values():
        letters = [chr(point) for point in range(first, last + 1) if unicodedata.category(chr(point)) != "Cn"]
        word = lambda: "".join(draw.choices(letters, k=draw.randint(1, 9)))
        for _ in range(16):
            yield draw.choice([" ", "", "  ", "\u3000", ", "]).join(word() for _ in range(draw.randint(1, 8)))
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            yield unicodedata.normalize(form, " ".join(word() for _ in range(6)))
        yield word().upper() + " " + word().lower() + word().title() + word().casefold()
        yield "a" + word() + "1" + word() + "." + word() + "'s " + word() + "\n" + word()


def every_character():
    """Every code point of the first planes, assigned or not, beside a letter, a digit, a space and another."""
    points = [point for point in range(0x20000) if not 0xD800 <= point < 0xE000]
    points += list(range(0xE0000, 0xE0200)) + list(range(0x10FFC0, 0x110000)) + list(range(0x2FA00, 0x2FA20)) + list(range(0x31340, 0x31360))
    for start in range(0, len(points), 64):
        yield "".join(f"a{chr(point)}1{chr(point)}{chr(point)}. {chr(point)}b " for point in points[start:start + 64])


def spaces(draw):
    for space in SPACES:
        yield from (space, space * 2, space * 7, f"a{space}b", f" {space}a", f"a{space}", f"{space} {space}x", f"1{space}{space}2\n{space}")
    for _ in range(250):
        parts = draw.choices(WORDS[:12] + ["", "\n", " ", "\t"], k=draw.randint(1, 9))
        yield "".join(part + "".join(draw.choices(SPACES, weights=[9] + [1] * (len(SPACES) - 1), k=draw.randint(0, 6))) for part in parts)
    for count in (1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 63, 100, 1000):
        yield from (" " * count, "\n" * count + "x", "x" + " " * count + "x", "\t" * count + "x", " \n" * count + "x", "\r\n" * count)


def marks(draw):
    for _ in range(250):
        yield "".join(draw.choice("aeiounAEIOU 1.") + "".join(draw.choices(MARKS, k=draw.choice([0, 1, 1, 2, 3, 12]))) for _ in range(draw.randint(1, 12)))
    yield from ("".join(draw.choices(MARKS, k=count)) for count in (1, 2, 40))
    yield "Z" + "".join(draw.choices(MARKS, k=500)) + "algo"


def emoji(draw):
    for _ in range(200):
        yield "".join(draw.choice(EMOJI) + draw.choice(JOINS) + draw.choice(["", "", " ", "a"]) for _ in range(draw.randint(1, 10)))


def controls(draw):
    odd = [chr(point) for point in [*range(0x20), 0x7F, *range(0x80, 0xA0), 0xAD, 0x34F, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F),
           *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFE), 0xFFFE, 0xFFFF, 0xFDD0, 0x1FFFE, 0xE000, 0xF8FF, 0xE0001, 0xE0061, 0xF0000, 0x10FFFF]]
    for _ in range(250):
        yield "".join(draw.choice(odd) if draw.random() < 0.4 else draw.choice(WORDS) + draw.choice(["", " "]) for _ in range(draw.randint(1, 12)))


def prose(draw):
    """Documentation and code that come with Python."""
    lines = [line for topic in sorted(pydoc_data.topics.topics) for line in pydoc_data.topics.topics[topic].split("\n\n")]
    yield from draw.sample(lines, 500)
    with open(re.__file__, encoding="utf-8") as file:
        code = file.read().split("\n")
    yield from ("\n".join(code[start:start + 12]) for start in range(0, min(len(code), 1200), 6))
    for _ in range(500):
        yield draw.choice([" ", " ", "  ", "", "\n", "\t"]).join(draw.choices(WORDS, k=draw.randint(1, 14)))


def with_tokens(draw, tokens):
    """Tokens that mean something, in the text of a user."""
    for token in tokens:
        yield from (token, f"a{token}b", f" {token} ", f"{token}{token}", f"\n{token}\n", token[:-1], token.upper(), f"x {token[:-1]} {token}.")
    for _ in range(150):
        yield "".join(draw.choice(tokens) if draw.random() < 0.4 else draw.choice(["", " "]) + draw.choice(WORDS) for _ in range(draw.randint(1, 10)))


def noise(draw):
    for _ in range(400):
        limit = draw.choice([0x80, 0x800, 0x10000, 0x110000])
        points = (draw.randrange(limit) for _ in range(draw.randint(1, 40)))
        yield "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)


def long(draw):
    """A single word of a megabyte, and other texts that are all of one kind."""
    yield "".join(draw.choices("etaoinshrdlu", k=1 << 20))
    yield from ("a" * 100_000, " " * 100_000 + "x", "\n" * 50_000, "é" * 50_000, "1" * 50_000, "." * 50_000, "中" * 30_000, "🙂" * 20_000, "a\u0301" * 20_000,
                "ab " * 30_000, "'s" * 20_000, " \n" * 20_000 + "x", "\t " * 20_000)


def texts(sample=None):
    """All texts; with `sample`, so many of the short ones."""
    draw = random.Random(SEED)
    found = ["", *scripts(draw), *every_character(), *spaces(draw), *marks(draw), *emoji(draw), *controls(draw), *prose(draw), *with_tokens(draw, SPECIAL), *noise(draw)]
    if sample:
        short = [text for text in dict.fromkeys(found) if len(text) < 80]
        return draw.sample(short, sample)
    return found + list(long(draw))


if __name__ == "__main__":
    print(len(texts()), sum(map(len, texts())), file=sys.stderr)
