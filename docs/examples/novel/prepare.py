"""A novel, for a language model that starts from nothing: botchan.txt of the sentencepiece sources (279 kB, public domain).

    python3 -m pip download --no-deps --no-binary :all: sentencepiece==0.2.3 && tar -xzf sentencepiece-0.2.3.tar.gz
    python3 prepare.py sentencepiece-0.2.3/test/botchan.txt novel

Writes novel/train.jsonl and novel/validation.jsonl, the latter with the last tenth; and novel.txt, for the tokenizer.
"""

import json
import sys
from pathlib import Path

source, target = map(Path, sys.argv[1:3])

text = source.read_text(encoding="utf-8-sig")
text = text[text.index("CHAPTER I"):]
text = text[: text.index("End of Project Gutenberg")] if "End of Project Gutenberg" in text else text
lines = text.splitlines(keepends=True)
pieces = ["".join(lines[at:at + 20]) for at in range(0, len(lines), 20)]
train = pieces[: len(pieces) * 9 // 10]

target.mkdir(parents=True, exist_ok=True)
for name, part in [("train", train), ("validation", pieces[len(train):])]:
    rows = [json.dumps({"text": piece}, ensure_ascii=False) for piece in part]
    (target / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(name, len(rows))
Path(f"{target}.txt").write_text("".join(train), encoding="utf-8")
