#!/usr/bin/env python3
"""Write `crates/trainer/src/losses.txt`: what the losses of the reference's classes do with the number of labels.

    golden_losses.py OUT

The Trainer gives a model the number of labels of all accumulated batches, if its `forward` takes keywords. A class whose
loss divides by it is in the list with `items`, or with `shifted` where the count leaves out every row's first label; one
whose `forward` takes no keywords, with `mean`. All others ignore it, and have the mean of each batch.
"""

import inspect
import json
import re
import sys
from pathlib import Path

from tiny import torch  # noqa: F401  first: it sets the environment of the reference

import transformers
from transformers.loss.loss_utils import LOSS_MAPPING, ForCausalLMLoss
from transformers.models.auto import modeling_auto

HEADS = ["CAUSAL_LM", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "SEQUENCE_CLASSIFICATION", "TOKEN_CLASSIFICATION", "QUESTION_ANSWERING", "MULTIPLE_CHOICE"]
PASSES = re.compile(r"self\.loss_function\((?:[^()]|\([^()]*\))*\*\*\w*kwargs")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    cases = Path(__file__).parent.parent / "cases"
    types = {json.loads(path.read_text())["model_type"] for path in cases.glob("*/config.json")}
    names = set()
    for head in HEADS:
        table = getattr(modeling_auto, f"MODEL_FOR_{head}_MAPPING_NAMES")
        names |= {name for model_type, name in table.items() if model_type in types and isinstance(name, str)}
    lines = []
    for name in sorted(names):
        model = getattr(transformers, name)
        parameters = inspect.signature(model.forward).parameters.values()
        takes = getattr(model, "accepts_loss_kwargs", any(p.kind == p.VAR_KEYWORD for p in parameters))
        loss_type = re.findall("|".join(LOSS_MAPPING), name)
        shifts = bool(loss_type) and LOSS_MAPPING[loss_type[0]] is ForCausalLMLoss
        if not takes:
            lines.append(f"{name} mean")
        elif PASSES.search(inspect.getsource(inspect.unwrap(model.forward))):
            lines.append(f"{name} {'shifted' if shifts else 'items'}")
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
