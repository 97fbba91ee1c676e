#!/usr/bin/env python3
"""Write `tests/golden/masks.json`: masks of the reference, one line of `x` and `.` for each query.

    golden_masks.py OUT.json
"""

import json
import sys
from pathlib import Path

from tiny import torch  # first: it sets the environment of the reference

from transformers import DynamicCache, LlamaConfig
from transformers import masking_utils as masks

WINDOW = 3
CHUNK = 4
KEYS = 9
PADDINGS = {"none": None, "left": [[0] * 2 + [1] * 7, [1] * 9], "right": [[1] * 6 + [0] * 3, [1] * 9]}
PREFIX = 4
# two sequences in one row
PACKED = [0, 1, 2, 3, 0, 1, 2, 3, 4]
BLOCKS = [[-1, 0, 0, 0, -1, 1, 1, -1, -1], [-1, -1, 0, 0, 0, 0, -1, -1, -1]]

KINDS = {
    "causal": masks.create_causal_mask,
    "sliding": masks.create_sliding_window_causal_mask,
    "chunked": masks.create_chunked_causal_mask,
    "bidirectional": masks.create_bidirectional_mask,
    "bidirectional_sliding": masks.create_bidirectional_sliding_window_mask,
}


def prefix(entry, head, query, key):
    return (query < PREFIX) & (key < PREFIX)


def even(entry, head, query, key):
    return (key % 2 == 0) | (key == query)


def config():
    return LlamaConfig(
        hidden_size=8,
        num_attention_heads=2,
        num_hidden_layers=1,
        sliding_window=WINDOW,
        attention_chunk_size=CHUNK,
        attn_implementation="eager",
    )


def lines(mask, batch, queries):
    if mask is None:
        return [["x" * KEYS] * queries] * batch
    mask = mask.expand(batch, 1, queries, KEYS)
    return [["".join("x" if value == 0 else "." for value in row) for row in entry[0]] for entry in mask]


def case(kind, padding, past=0, **options):
    """One mask of two entries, or of one row of packed sequences."""
    batch = 1 if options.get("packed") else 2
    queries = KEYS - past
    arguments = dict(config=config(), inputs_embeds=torch.zeros(batch, queries, 8))
    arguments["attention_mask"] = None if PADDINGS[padding] is None else torch.tensor(PADDINGS[padding])
    if not kind.startswith("bidirectional"):
        cache = None
        if past:
            cache = DynamicCache()
            cache.update(torch.zeros(batch, 2, past, 4), torch.zeros(batch, 2, past, 4), 0)
        arguments["past_key_values"] = cache
    if options.get("packed"):
        arguments["position_ids"] = torch.tensor([PACKED])
    if options.get("or"):
        arguments["or_mask_function"] = prefix
    if options.get("and"):
        arguments["and_mask_function"] = even
    if options.get("blocks"):
        arguments["block_sequence_ids"] = torch.tensor(BLOCKS)
    mask = KINDS[kind](**arguments)
    return dict(kind=kind, padding=padding, past=past, **options, seen=lines(mask, batch, queries))


def main():
    causal = [kind for kind in KINDS if not kind.startswith("bidirectional")]
    cases = [case(kind, padding) for kind in KINDS for padding in PADDINGS]
    cases += [case(kind, padding, past=6) for kind in causal for padding in ("none", "left")]
    cases += [case(kind, padding, **{"or": True}) for kind in KINDS for padding in ("none", "left")]
    cases += [case(kind, padding, **{"and": True}) for kind in KINDS for padding in ("none", "left")]
    cases += [case("causal", "left", **{"or": True, "and": True})]
    cases += [case(kind, "none", packed=True) for kind in causal]
    cases += [case(kind, padding, blocks=True) for kind in causal for padding in ("none", "left")]
    table = dict(
        window=WINDOW, chunk=CHUNK, keys=KEYS, prefix=PREFIX, packed=PACKED, blocks=BLOCKS, paddings=PADDINGS, cases=cases
    )
    out = Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(table, indent=1) + "\n")
    print(len(cases), "masks")


if __name__ == "__main__":
    main()
