"""Writes one model of each kind that `cargo xtask bench --shapes` times: random weights in f32.

    make_shapes.py DIR        DIR/llama, DIR/qwen3_moe, ... : 3.7 GB

There is no tokenizer: speed does not depend on the text. What exists is kept.
"""

import sys
from pathlib import Path

import torch
import transformers

SHAPES = {
    "llama": (
        "LlamaForCausalLM",
        dict(
            vocab_size=32000,
            hidden_size=768,
            intermediate_size=2048,
            num_hidden_layers=16,
            num_attention_heads=12,
            num_key_value_heads=4,
            tie_word_embeddings=True,
        ),
    ),
    # of 32 experts a token passes four
    "qwen3_moe": (
        "Qwen3MoeForCausalLM",
        dict(
            vocab_size=16384,
            hidden_size=512,
            moe_intermediate_size=384,
            num_hidden_layers=12,
            num_attention_heads=8,
            num_key_value_heads=2,
            head_dim=64,
            num_experts=32,
            num_experts_per_tok=4,
            norm_topk_prob=True,
            tie_word_embeddings=True,
        ),
    ),
    # the sizes that the reference has where nothing is stated
    "gpt2": ("GPT2LMHeadModel", dict()),
    "mamba": ("MambaForCausalLM", dict(num_hidden_layers=24)),
    "bert": ("BertModel", dict()),
    # T5-base
    "t5": (
        "T5ForConditionalGeneration",
        dict(d_model=768, d_ff=3072, num_layers=12, num_heads=12, decoder_start_token_id=0),
    ),
}


def make(folder, name, architecture, settings):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(name, **settings)
    model = getattr(transformers, architecture)(config).eval()
    model.save_pretrained(folder)
    return model.num_parameters()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, (architecture, settings) in SHAPES.items():
        folder = Path(sys.argv[1]) / name
        if not (folder / "model.safetensors").exists():
            parameters = make(folder, name, architecture, settings)
            print(f"{parameters / 1e6:7.1f} million parameters  {folder}")
