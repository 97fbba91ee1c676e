#!/usr/bin/env python3
"""Write `tests/golden/multimodal_rope.json`: logits of the text models of larger ones, for tokens with three positions.

    golden_multimodal_rope.py CASES OUT.json        the conformance cases, and the file to write
"""

import json
import sys
from pathlib import Path

from tiny import torch  # first: it sets the environment of the reference

from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

NAMES = ("qwen2_vl", "qwen2_5_vl", "qwen3_5_rotary", "qwen3_vl")

# Three tokens of text, an image of two rows of three, two more tokens.
TIME = [0, 1, 2] + [3] * 6 + [6, 7]
HEIGHT = [0, 1, 2] + [3, 3, 3, 4, 4, 4] + [6, 7]
WIDTH = [0, 1, 2] + [3, 4, 5, 3, 4, 5] + [6, 7]


@torch.no_grad()
def logits(folder):
    ids = load_file(folder / "ref.safetensors")["input_ids"]
    whole = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    positions = torch.tensor([TIME, HEIGHT, WIDTH])[:, None]
    states = whole.model.language_model(input_ids=ids, position_ids=positions).last_hidden_state
    return [round(value, 6) for value in whole.lm_head(states).flatten().tolist()]


def main():
    cases, out = map(Path, sys.argv[1:3])
    golden = dict(positions=[TIME, HEIGHT, WIDTH], logits={name: logits(cases / name) for name in NAMES})
    out.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
