"""Load the cases that Rust saved, and compare the reference's outputs with those of the case.

    check_roundtrip.py SAVED CASES      `cargo xtask roundtrip` saves the cases and runs it

Each folder of SAVED must load without a missing or unexpected tensor, and give the outputs that are in `ref.safetensors`.
"""

import inspect
import json
import sys
from pathlib import Path

from tiny import torch  # first: it sets the environment of the reference

from safetensors.torch import load_file
from transformers import AutoConfig

from cases import CASES
from gen_cases import AUTO_CLASSES, AutoModel, AutoModelForTextEncoding

# of the largest value; the weights are the same, so that only the order of sums can differ between machines
TOLERANCE = 1e-5


@torch.no_grad()
def compare(saved, case):
    """What is wrong with a saved case, or how far its outputs are."""
    reference = load_file(case / "ref.safetensors")
    options = CASES[case.name].model_options if case.name in CASES else {}
    kind = json.loads((case / "ref.json").read_text())["kind"]
    headless = kind == "textenc" and type(AutoConfig.from_pretrained(saved)) not in AutoModelForTextEncoding._model_mapping
    auto_class = AutoModel if headless else AUTO_CLASSES[kind]
    loading = dict(attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
    model, info = auto_class.from_pretrained(saved, **loading, **options)
    # the case without a pooler gets one here, which its options leave out again
    unexpected = [name for name in info["unexpected_keys"] if not (options and "pooler" in name)]
    if info["missing_keys"] or info["mismatched_keys"] or unexpected:
        return f"missing {sorted(info['missing_keys'])}, unexpected {unexpected}", None

    arguments = inspect.signature(model.forward).parameters
    inputs = {name: tensor for name, tensor in reference.items() if name in arguments}
    output = model.eval()(**inputs, output_hidden_states=True)
    names = [name for name in output.keys() if name in reference]
    if not names:
        return "no output to compare", None
    farthest = 0.0
    for name in names:
        # positions of padding are not compared
        mask = inputs.get("attention_mask") if reference[name].ndim == 3 else None
        counts = mask.bool() if mask is not None and mask.shape == reference[name].shape[:2] else ...
        difference = (output[name] - reference[name]).abs()[counts].max().item()
        farthest = max(farthest, difference / max(1.0, reference[name].abs().max().item()))
    return (None if farthest <= TOLERANCE else "other outputs"), farthest


def main():
    saved, cases = Path(sys.argv[1]), Path(sys.argv[2])
    folders = sorted(folder for folder in saved.iterdir() if folder.is_dir())
    wrong = 0
    for folder in folders:
        problem, farthest = compare(folder, cases / folder.name)
        wrong += problem is not None
        print(f"{folder.name:28} {'-' if farthest is None else f'{farthest:.1e}'}  {problem or 'loads'}", flush=True)
    print(f"{len(folders) - wrong} passed, {wrong} failed")
    sys.exit(wrong != 0 or not folders)


if __name__ == "__main__":
    main()
