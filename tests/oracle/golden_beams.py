#!/usr/bin/env python3
"""Write `tests/golden/beams.json`: beam search of the reference on committed cases.

    golden_beams.py OUT.json

Each entry names a case of `tests/cases`, the prompts (0 is left padding for decoders, right padding for encoders), and
fields of a generation config; `sequences` are the rows that the reference returns, cut after `new_lens` new tokens, and
`scores` their `sequences_scores`.
"""

import json
import sys
from pathlib import Path

from tiny import VERSIONS, torch  # first: it sets the environment of the reference

from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig

CASES = Path(__file__).parent.parent / "cases"
LONG = [20, 31, 44, 12, 57, 33, 26]
SHORT = [20, 31, 44, 12]

DECODERS = ["llama", "mistral", "gemma3_text", "mamba", "lfm2"]
ENCODER_DECODERS = ["t5", "bart"]

CONFIGS = [
    dict(num_beams=2),
    dict(num_beams=4, num_return_sequences=4),
    dict(num_beams=3, num_return_sequences=2, length_penalty=2.0),
    dict(num_beams=3, num_return_sequences=3, length_penalty=-1.0),
    dict(num_beams=3, num_return_sequences=3, length_penalty=0.0, early_stopping=True),
    dict(num_beams=3, num_return_sequences=3, early_stopping="never", length_penalty=1.5),
    dict(num_beams=3, num_return_sequences=3, repetition_penalty=1.5, no_repeat_ngram_size=2, min_new_tokens=4),
    dict(num_beams=3, num_return_sequences=2, bad_words_ids=[[17], [3, 9]], renormalize_logits=True),
]
# several tokens end a sequence, so that beams end at different lengths
EOS = [5, 8, 21, 30, 33, 40, 52, 60]


def padded(decoder):
    pad = [0] * (len(LONG) - len(SHORT))
    row = pad + SHORT if decoder else SHORT + pad
    return [LONG, row]


def entry(name, decoder, batch, fields):
    auto = AutoModelForCausalLM if decoder else AutoModelForSeq2SeqLM
    model = auto.from_pretrained(CASES / name, attn_implementation="eager", dtype=torch.float32).eval()
    prompts = padded(decoder) if batch else [LONG]
    ids = torch.tensor(prompts)
    config = GenerationConfig.from_pretrained(CASES / name)
    config.update(max_new_tokens=10, eos_token_id=EOS, pad_token_id=0, **fields)
    with torch.no_grad():
        out = model.generate(
            ids,
            attention_mask=(ids != 0).long(),
            generation_config=config,
            return_dict_in_generate=True,
            output_scores=True,
        )
    start = ids.shape[1] if decoder else 1
    new_lens = (out.beam_indices >= 0).sum(-1).tolist()
    sequences = [row[: start + new] for row, new in zip(out.sequences.tolist(), new_lens)]
    return dict(
        case=name,
        decoder=decoder,
        prompts=prompts,
        config=fields,
        sequences=sequences,
        new_lens=new_lens,
        scores=out.sequences_scores.tolist(),
        beam_indices=[row[:new] for row, new in zip(out.beam_indices.tolist(), new_lens)],
    )


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    entries = []
    for name in DECODERS + ENCODER_DECODERS:
        for batch in [False, True]:
            entries += [entry(name, name in DECODERS, batch, fields) for fields in CONFIGS]
    lines = ",\n".join("  " + json.dumps(entry) for entry in entries)
    header = "".join(f' "{name}": "{version}",\n' for name, version in VERSIONS.items())
    Path(sys.argv[1]).write_text(
        f'{{\n{header} "max_new_tokens": 10,\n "eos_token_id": {EOS},\n "cases": [\n{lines}\n ]\n}}\n'
    )
    lengths = sorted({new for entry in entries for new in entry["new_lens"]})
    print(f"{len(entries)} searches, new tokens {lengths}")


if __name__ == "__main__":
    main()
