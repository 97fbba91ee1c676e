#!/usr/bin/env python3
"""Write how `datasets` reads parts of splits: for each text the examples of each slice, or null where it is refused.

    golden_read_instruction.py OUT.json
"""

import json
import sys
from pathlib import Path

import datasets
from datasets import ReadInstruction

LENGTHS = [
    dict(train=5325, validation=13, test=592),
    dict(train=7, validation=150, test=1),
    dict(train=250, validation=0, test=50),
]
SPLITS = [
    "train", "odd.name", "train+test", "train + validation+test", "train+train", "nowhere",
    "train[:10%]", "train[10%:20%]", "train[90%:]", "train[-5%:]", "train[:-5%]", "train[-50%:-10%]", "train[33%:66%]",
    "train[:50%]+train[50%:]", "train[10%:20]", "train[10:20%]", "train[:0%]", "train[:100%]", "train[-100%:]", "train[:101%]",
    "train[-101%:]", "train[100:200]", "train[:3]", "train[3:]", "train[-3:]", "train[:-3]", "train[5:2]", "train[1000000:]",
    "train[-1000000:2]", "train[1_0:2_0]", "train[_1:]", "train[1__0:]", "train[1_:]", "train[--1:]", "train[-:]", "train[:]",
    "train[]", "train[3]", "train[1:2:3]", "train[0.5:]", "train[:5", "train 5", "train-5", "", "+", "train+", "[:5]",
    "train[:1%](pct1_dropremainder)", "train[10%:-10%](pct1_dropremainder)", "train[:10%](closest)", "train[:10%](near)",
    "train[:10](closest)", "train(closest)", "train[:10%]+test[:10%](pct1_dropremainder)", "train[:10]+test[:10%](pct1_dropremainder)",
    "train[:10%]+validation[:2]+test[25%:75%]", "train[1%:](pct1_dropremainder)+test[1%:](pct1_dropremainder)",
]


def read(split, lengths):
    try:
        parts = ReadInstruction.from_spec(split).to_absolute(lengths)
    except (ValueError, AssertionError):
        return None
    return [[part.splitname, part.from_, part.to] for part in parts]


cases = [dict(split=split, parts=[read(split, lengths) for lengths in LENGTHS]) for split in SPLITS]
result = dict(datasets=datasets.__version__, lengths=LENGTHS, cases=cases)
Path(sys.argv[1]).write_text(json.dumps(result, separators=(",", ":")) + "\n")
