"""Write the dtype that the reference loads a checkpoint in, by what its config and its tensors say.

    golden_dtypes.py CASE OUT       the case llama, and tests/golden/dtypes.json
"""

import json
import sys
import tempfile
from pathlib import Path

from tiny import torch  # first: it sets the environment of the reference

from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HEAD, NORM, LAYER = "lm_head.weight", "model.norm.weight", "model.layers.1.mlp.up_proj.weight"

# (what config.json says, the dtype asked for, the tensors' dtype, those of others)
CASES = [
    ({}, "auto", "bfloat16", {}),
    ({}, "auto", "float16", {}),
    ({}, "auto", "float32", {}),
    ({}, "auto", "bfloat16", {NORM: "float32"}),
    ({}, "auto", "float32", {LAYER: "bfloat16"}),
    ({}, "auto", "bfloat16", {HEAD: "float16"}),
    ({}, "auto", "float16", {HEAD: "bfloat16"}),
    ({"dtype": "bfloat16"}, "auto", "float32", {}),
    ({"dtype": "float32"}, "auto", "bfloat16", {}),
    ({"torch_dtype": "float16"}, "auto", "float32", {}),
    ({"torch_dtype": "float16", "dtype": "bfloat16"}, "auto", "float32", {}),
    ({"dtype": "half"}, "auto", "bfloat16", {}),
    ({"dtype": {"": "bfloat16", "text_config": "float32"}}, "auto", "float32", {}),
    ({"dtype": "float16"}, "float32", "bfloat16", {}),
    ({"dtype": "float32"}, "bfloat16", "float32", {}),
    ({}, "float16", "bfloat16", {HEAD: "float32"}),
]


def load(case, said, asked, dtype, others):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        config = json.loads((case / "config.json").read_text())
        config.pop("dtype")
        (folder / "config.json").write_text(json.dumps(config | said))
        tensors = load_file(case / "model.safetensors")
        tensors = {name: tensor.to(getattr(torch, others.get(name, dtype))) for name, tensor in tensors.items()}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=asked)
    (found,) = {str(parameter.dtype) for parameter in model.parameters()}
    return found.removeprefix("torch.")


def main():
    case = Path(sys.argv[1])
    lines = []
    for said, asked, dtype, others in CASES:
        record = dict(config=said, asked=asked, dtype=dtype, others=others, loaded=load(case, said, asked, dtype, others))
        lines.append(json.dumps(record))
    Path(sys.argv[2]).write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
