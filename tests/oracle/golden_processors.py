#!/usr/bin/env python3
"""Write `tests/golden/logits_processors.json`: what the reference's logits processors do to random logits.

    golden_processors.py OUT.json

Each case sets fields of a generation config; `scores` is what the processors that the reference builds from it, in its
order, make of `logits` (one row) after `input_ids`, of which the first `prompt_len` are the prompt, and the encoder's
input where there is no other. A removed token (minus infinity) is null. Logits are multiples of
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
PROMPT_LEN = 4
# repeats itself: 5 6 7 5 6, then 7 or 9
REPEATING = [5, 6, 7, 5, 6, 9, 2, 5, 6]
EOS = dict(eos_token_id=[2, 11])

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
    dict(do_sample=True, top_h=0.1),
    dict(do_sample=True, top_h=0.7),
    dict(do_sample=True, top_h=1.0),
    dict(do_sample=True, typical_p=0.2),
    dict(do_sample=True, typical_p=0.9),
    dict(do_sample=True, epsilon_cutoff=0.03),
    dict(do_sample=True, epsilon_cutoff=0.9),
    dict(do_sample=True, eta_cutoff=0.05),
    dict(do_sample=True, eta_cutoff=0.9),
    dict(do_sample=True, renormalize_logits=True, temperature=0.5),
    dict(do_sample=False, encoder_repetition_penalty=1.7),
    dict(do_sample=False, encoder_repetition_penalty=1.7, repetition_penalty=1.3),
    dict(do_sample=False, sequence_bias=[[[4], 2.5], [[21, 9], -3.0], [[0, 21, 7], 1.5], [[3, 21, 8], 1.5]]),
    dict(do_sample=False, sequence_bias=[[[4], 2.5], [[4], -1.0], [[21, 4], 0.5]]),
    dict(do_sample=False, bad_words_ids=[[1], [21, 5], [3, 6], [8, 0, 21, 7], [2]], **EOS),
    dict(do_sample=False, min_length=7, **EOS),
    dict(do_sample=False, min_length=6, **EOS),
    dict(do_sample=False, min_new_tokens=3, **EOS),
    dict(do_sample=False, min_new_tokens=2, **EOS),
    dict(do_sample=False, forced_eos_token_id=11, max_new_tokens=3),
    dict(do_sample=False, forced_eos_token_id=[11, 2], max_new_tokens=3),
    dict(do_sample=False, forced_eos_token_id=11, max_new_tokens=4),
    dict(do_sample=False, exponential_decay_length_penalty=(1, 1.5), **EOS),
    dict(do_sample=False, exponential_decay_length_penalty=(2, 1.5), **EOS),
    dict(do_sample=False, exponential_decay_length_penalty=(-1, 0.5), **EOS),
    dict(do_sample=False, suppress_tokens=[1, 5, 23]),
    dict(do_sample=False, begin_suppress_tokens=[1, 5, 23]),
    # all of them, in the reference's order
    dict(
        do_sample=True,
        sequence_bias=[[[21, 9], 3.0]],
        encoder_repetition_penalty=1.2,
        repetition_penalty=1.1,
        no_repeat_ngram_size=2,
        bad_words_ids=[[21, 5]],
        exponential_decay_length_penalty=(0, 1.2),
        suppress_tokens=[14],
        temperature=1.3,
        top_h=0.95,
        top_k=15,
        top_p=0.95,
        min_p=0.01,
        typical_p=0.95,
        epsilon_cutoff=0.005,
        eta_cutoff=0.01,
        renormalize_logits=True,
        **EOS,
    ),
]

# what follows other rows: fields, and the row with its encoder's input
ROWS = [
    (dict(no_repeat_ngram_size=1), REPEATING, None),
    (dict(no_repeat_ngram_size=2), REPEATING, None),
    (dict(no_repeat_ngram_size=3), REPEATING, None),
    (dict(no_repeat_ngram_size=4), [5, 6, 7], None),
    (dict(encoder_no_repeat_ngram_size=2), [9, 6], REPEATING),
    (dict(encoder_no_repeat_ngram_size=3), [2, 5, 6], REPEATING),
    (dict(encoder_no_repeat_ngram_size=3), [5], REPEATING),
    (dict(encoder_repetition_penalty=0.6), [1, 2], REPEATING),
    (dict(forced_bos_token_id=4), [1], None),
    (dict(forced_bos_token_id=4), [1, 5], None),
    (dict(begin_suppress_tokens=[1, 5]), INPUT_IDS[:PROMPT_LEN], None),
    (dict(begin_suppress_tokens=[1, 5], forced_bos_token_id=4), [1], None),
]


def processors(model, config, prompt_len, encoder_ids):
    """The reference's own list for a generation config, fallbacks filled in as `generate` fills them."""
    config, _ = model._prepare_generation_config(GenerationConfig(**config))
    if config.max_new_tokens is not None:
        config.max_length = prompt_len + config.max_new_tokens
    model._prepare_special_tokens(config, kwargs_has_attention_mask=True, device="cpu")
    return model._get_logits_processor(
        config,
        input_ids_seq_length=prompt_len,
        encoder_input_ids=torch.tensor([encoder_ids]),
        device="cpu",
        model_kwargs={},
    )


def distinct_logits(generator):
    steps = torch.randperm(512, generator=generator)[:VOCABULARY] - 256
    return steps / 64


def number(value):
    """JSON has no infinities: minus infinity is null, the others are spelled out."""
    if value == -math.inf:
        return None
    return value if math.isfinite(value) else str(value)


def case(model, config, logits, input_ids=INPUT_IDS, encoder_ids=None):
    prompt_len = min(PROMPT_LEN, len(input_ids))
    encoder = encoder_ids or input_ids[:prompt_len]
    scores = processors(model, config, prompt_len, encoder)(torch.tensor([input_ids]), logits[None].clone())[0]
    entry = dict(config=config, input_ids=input_ids)
    if encoder_ids:
        entry["encoder_ids"] = encoder_ids
    entry["logits"] = [number(value) for value in logits.tolist()]
    entry["scores"] = [number(value) for value in scores.tolist()]
    return entry


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

    for fields, input_ids, encoder_ids in ROWS:
        cases.append(case(model, dict(do_sample=False, **fields), distinct_logits(generator), input_ids, encoder_ids))

    broken = distinct_logits(generator)
    broken[3], broken[5], broken[7] = math.nan, math.inf, -math.inf
    cases.append(case(model, dict(do_sample=False, remove_invalid_values=True), broken))

    # few candidates beside many beams: as many as may end stay, and one more
    beams = dict(do_sample=True, num_beams=3, **EOS)
    for fields in [dict(top_k=1), dict(top_p=0.01), dict(min_p=1.0), dict(typical_p=0.01), dict(epsilon_cutoff=0.9)]:
        cases.append(case(model, dict(beams, **fields), distinct_logits(generator)))

    lines = ",\n".join("  " + json.dumps(entry) for entry in cases)
    header = "".join(f' "{name}": "{version}",\n' for name, version in VERSIONS.items())
    Path(sys.argv[1]).write_text(f'{{\n{header} "prompt_len": {PROMPT_LEN},\n "cases": [\n{lines}\n ]\n}}\n')
    for entry in cases:
        kept = sum(score is not None for score in entry["scores"])
        print(f"{json.dumps(entry['config'])}: {kept} of {VOCABULARY} kept")


if __name__ == "__main__":
    main()
