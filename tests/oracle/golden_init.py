"""Write how the reference initialises the parameters of every class that a case has.

    golden_init.py CASES OUT        tests/cases, and tests/golden/init.json

The first case of each class gives the config, with another spread and padding token. Of each parameter: `zeros`, `ones`, or its
standard deviation and the rows that are zero.
"""

import json
import sys
from pathlib import Path

from tiny import torch  # first: it sets the environment of the reference

from transformers import AutoConfig

from gen_cases import AUTO_CLASSES, AutoModel, AutoModelForTextEncoding

SPREAD, PADDING = 0.3, 3
SPREADS = ("initializer_range", "init_std")


def describe(tensor):
    if not tensor.any():
        return "zeros"
    if (tensor == 1).all():
        return "ones"
    rows = [row for row, values in enumerate(tensor) if tensor.ndim > 1 and not values.any()]
    # of what is not zero: with the root of the mean square, for the mean is known to be 0
    kept = tensor[tensor != 0].double()
    return dict(std=round(kept.square().mean().sqrt().item(), 5)) | (dict(zero_rows=rows) if rows else {})


def fresh(kind, config):
    headless = kind == "textenc" and type(config) not in AutoModelForTextEncoding._model_mapping
    return (AutoModel if headless else AUTO_CLASSES[kind]).from_config(config, dtype=torch.float32)


def main():
    golden = {}
    for case in sorted(Path(sys.argv[1]).iterdir()):
        reference = json.loads((case / "ref.json").read_text())
        if reference["arch"] in golden or reference["kind"] not in AUTO_CLASSES:
            continue
        config = AutoConfig.from_pretrained(case)
        if hasattr(config, "text_config"):
            continue
        config.pad_token_id = PADDING
        for name in SPREADS:
            if hasattr(config, name):
                setattr(config, name, SPREAD)
        torch.manual_seed(0)
        model = fresh(reference["kind"], config)
        # with buffers, and without what is never saved
        unsaved = [*model.all_tied_weights_keys, *(model._keys_to_ignore_on_save or ())]
        named = model.state_dict().items()
        parameters = {name: describe(tensor.detach()) for name, tensor in named if name not in unsaved}
        golden[reference["arch"]] = dict(case=case.name, parameters=parameters)
    lines = [f"{json.dumps(name)}: {json.dumps(record)}" for name, record in golden.items()]
    Path(sys.argv[2]).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
