"""Loads adapters that Rust trained and saved in `peft`, and compares the logits.

    SAVED_ADAPTERS=DIR cargo test -p transformers-tests --test lora saved
    check_adapters.py DIR CASES GOLDEN     CASES and GOLDEN are `tests/cases` and `tests/golden/lora`
"""

import json
import sys
from pathlib import Path

from tiny import torch  # first: it sets the environment of the reference

import transformers
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file

# of the largest value; the order of sums differs
TOLERANCE = 1e-5


@torch.no_grad()
def compare(folder, cases, golden):
    of = (folder / "of").read_text()
    record = json.loads((golden / of / "ref.json").read_text())
    case = cases / record["base"]
    auto_class = getattr(transformers, record["auto_class"])
    base = auto_class.from_pretrained(case, attn_implementation="eager", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, folder).eval()
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        written = set(file.keys())
    lost = sorted(written - set(get_peft_model_state_dict(model)))
    assert not lost, f"{folder.name}: peft has no place for {lost}"
    reference = load_file(golden / of / "ref.safetensors")
    mask = reference.get("attention_mask")
    inputs = {name: reference[name] for name in ("input_ids", "attention_mask") if name in reference}
    theirs = model(**inputs).logits
    theirs = theirs[mask.bool()] if mask is not None else theirs
    ours = load_file(folder / "logits.safetensors")["logits"]
    return (theirs.flatten() - ours).abs().max().item() / theirs.abs().max().item()


def main():
    saved, cases, golden = map(Path, sys.argv[1:])
    wrong = 0
    for folder in sorted(saved.iterdir()):
        apart = compare(folder, cases, golden)
        wrong += not apart <= TOLERANCE
        print(f"{folder.name:18} {apart:.1e}{'' if apart <= TOLERANCE else '  too far'}", flush=True)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
