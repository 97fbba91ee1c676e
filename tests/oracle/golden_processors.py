#!/usr/bin/env python3
"""Write `tests/golden/logits_processors.json`: what the reference's logits processors do to random logits.

    golden_processors.py OUT.json

Each case sets fields of a generation config; `scores` is what the processors that the reference builds from it, in its
order, make of `logits` (one row) after `input_ids`. A removed token (minus infinity) is null. Logits are multiples of
1/64 and all distinct, so that they are exact in every format and no order of equals matters; the tie case says so.
"""

import json
import math
import sys
from pathlib import Path

from tiny import VERSIONS, torch  # first: it sets the environment of the reference

from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig

VOCABULARY = 24
SEED = 7
INPUT_IDS = [3, 17, 3, 8, 0, 21]

# Without a mention, top_k is off: its fallback of 50 is larger than the vocabulary.
CONFIGS = [
    dict(do_sample=False),
    dict(do_sample=True),
    dict(do_sample=True, temperature=0.7),
    dict(do_sample=True, temperature=2.5),
    dict(do_sample=True, top_k=1),
    dict(do_sample=True, top_k=5),
    dict(do_sample=True, top_p=0.05),
    dict(do_sample=True, top_p=0.5),
    dict(do_sample=True, top_p=0.9),
    dict(do_sample=True, min_p=0.02),
    dict(do_sample=True, min_p=0.2),
    dict(do_sample=True, min_p=1.0),
    dict(do_sample=False, repetition_penalty=1.3),
    dict(do_sample=False, repetition_penalty=0.8),
    # sampling settings are not used by greedy decoding
    dict(do_sample=False, temperature=0.5, top_k=3),
    dict(do_sample=True, repetition_penalty=1.2, temperature=0.8, top_k=12, top_p=0.8, min_p=0.05),
    dict(do_sample=True, temperature=1.5, top_p=0.7),
]


def processors(model, config):
    """The reference's own list for a generation config, fallbacks filled in as `generate` fills them."""
    config, _ = model._prepare_generation_config(GenerationConfig(**config))
    return model._get_logits_processor(config, input_ids_seq_length=len(INPUT_IDS), device="cpu", model_kwargs={})


def distinct_logits(generator):
    steps = torch.randperm(512, generator=generator)[:VOCABULARY] - 256
    return steps / 64


def case(model, config, logits):
    scores = processors(model, config)(torch.tensor([INPUT_IDS]), logits[None].clone())[0]
    return dict(
        config=config,
        input_ids=INPUT_IDS,
        logits=logits.tolist(),
        scores=[None if score == -math.inf else score for score in scores.tolist()],
    )


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    generator = torch.Generator().manual_seed(SEED)
    tiny = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    model = AutoModelForCausalLM.from_config(tiny)
    cases = [case(model, config, distinct_logits(generator)) for config in CONFIGS]

    # top_k keeps every token that ties with the last one kept
    tied = torch.tensor([1.0, 3.0, 2.0, 2.0, 0.5, 2.0] + [-1.0] * (VOCABULARY - 6))
    cases.append(case(model, dict(do_sample=True, top_k=2), tied))

    lines = ",\n".join("  " + json.dumps(entry) for entry in cases)
    header = "".join(f' "{name}": "{version}",\n' for name, version in VERSIONS.items())
    Path(sys.argv[1]).write_text(f'{{\n{header} "cases": [\n{lines}\n ]\n}}\n')
    for entry in cases:
        kept = sum(score is not None for score in entry["scores"])
        print(f"{json.dumps(entry['config'])}: {kept} of {VOCABULARY} kept")


if __name__ == "__main__":
    main()
