#!/usr/bin/env python3
"""Write a case with chunked attention: Llama 4's text model without experts, in the form of `gen_cases.py`.

    golden_chunked.py OUT           the folder of the case
"""

import sys
from pathlib import Path

from gen_cases import CASES, generate

from cases import DECODER, Case

# A chunked layer with rotary positions, and one that sees everything and has none.
CASES["chunked"] = Case(
    "llama4_text",
    dict(
        DECODER,
        intermediate_size_mlp=24,
        head_dim=8,
        moe_layers=[],
        no_rope_layers=[1, 0],
        attention_chunk_size=4,
        attn_temperature_tuning=False,
        use_qk_norm=False,
    ),
)


if __name__ == "__main__":
    generate("chunked", Path(sys.argv[1]))
