#!/usr/bin/env python3
"""Write `tests/golden/resizing.json`: committed cases with another vocabulary, and their numbers of parameters.

    golden_resize.py OUT.json

New rows are the mean of the old ones, but for noise far below what is compared.
"""

import json
import sys
from pathlib import Path

from tiny import torch  # first: it sets the environment of the reference

from safetensors.torch import load_file
from transformers import AutoConfig

from cases import CASES
from gen_cases import auto_class

CASE_FOLDER = Path(__file__).parent.parent / "cases"
# An output layer of its own, a tied one, one with a bias, tied with a bias, and the forms of encoder–decoders.
NAMES = ("llama", "gpt2", "phi", "bert", "bart", "t5", "llama_classes", "gemma2")
ADDED = 5
MULTIPLE = 8


def count(model):
    return dict(
        all=model.num_parameters(),
        without_embeddings=model.num_parameters(exclude_embeddings=True),
        bytes=model.get_memory_footprint(return_buffers=False),
    )


@torch.no_grad()
def resized(name):
    case = CASES[name]
    folder = CASE_FOLDER / name
    model = auto_class(case, AutoConfig.from_pretrained(folder)).from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    )
    model.eval()
    before = count(model)
    torch.manual_seed(0)
    asked = model.config.vocab_size + ADDED
    model.resize_token_embeddings(asked, pad_to_multiple_of=MULTIPLE)
    reference = load_file(folder / "ref.safetensors")
    names = ("input_ids", "attention_mask", "token_type_ids", "decoder_input_ids")
    logits = model(**{name: reference[name] for name in names if name in reference}).logits
    return dict(
        case=name,
        before=before,
        asked=asked,
        multiple=MULTIPLE,
        vocab_size=model.config.vocab_size,
        after=count(model),
        # of the first row's first token, or of the first row
        logits=logits.reshape(-1, logits.shape[-1])[0].tolist(),
    )


def main():
    cases = [resized(name) for name in NAMES]
    Path(sys.argv[1]).write_text(json.dumps(cases, indent=1) + "\n")
    print(len(cases), "models")


if __name__ == "__main__":
    main()
