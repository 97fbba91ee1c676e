"""Writes the folders whose loading and saving are measured: random weights, in safetensors.

    make_load_models.py DIR

DIR/dense-f32, DIR/dense-bf16    decoders (llama) of 0.5 GB each
DIR/moe-bf16                     a mixture of experts (qwen3_moe) of 2 GB, of which 6000 tensors are of single experts

Both sides load them: names and shapes are those of published checkpoints. What exists is kept.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

SHARD_BYTES = 1_000_000_000

COMMON = dict(
    vocab_size=32000,
    max_position_embeddings=4096,
    rms_norm_eps=1e-5,
    hidden_act="silu",
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    bos_token_id=0,
    eos_token_id=0,
    tie_word_embeddings=True,
)
LLAMA = dict(
    COMMON,
    model_type="llama",
    architectures=["LlamaForCausalLM"],
    hidden_size=1024,
    intermediate_size=2816,
    num_attention_heads=16,
    num_key_value_heads=4,
    head_dim=64,
)
MODELS = {
    "dense-f32": dict(LLAMA, num_hidden_layers=9, dtype="float32"),
    "dense-bf16": dict(LLAMA, num_hidden_layers=21, dtype="bfloat16"),
    "moe-bf16": dict(
        COMMON,
        model_type="qwen3_moe",
        architectures=["Qwen3MoeForCausalLM"],
        dtype="bfloat16",
        hidden_size=512,
        intermediate_size=1024,
        moe_intermediate_size=320,
        num_hidden_layers=16,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=64,
        num_experts=125,
        num_experts_per_tok=8,
        norm_topk_prob=True,
    ),
}


def shapes(config):
    """Names and shapes, in the order of the layers."""
    hidden, head = config["hidden_size"], config["head_dim"]
    query, key = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for norm in ["input_layernorm", "post_attention_layernorm"]:
            yield f"{prefix}{norm}.weight", (hidden,)
        for projection, rows in [("q", query), ("k", key), ("v", key)]:
            yield f"{prefix}self_attn.{projection}_proj.weight", (rows, hidden)
        yield f"{prefix}self_attn.o_proj.weight", (hidden, query)
        if "num_experts" not in config:
            yield from mlp(f"{prefix}mlp", hidden, config["intermediate_size"])
            continue
        for norm in ["q_norm", "k_norm"]:
            yield f"{prefix}self_attn.{norm}.weight", (head,)
        yield f"{prefix}mlp.gate.weight", (config["num_experts"], hidden)
        for expert in range(config["num_experts"]):
            yield from mlp(f"{prefix}mlp.experts.{expert}", hidden, config["moe_intermediate_size"])
    yield "model.norm.weight", (hidden,)


def mlp(prefix, hidden, inner):
    for projection in ["gate", "up"]:
        yield f"{prefix}.{projection}_proj.weight", (inner, hidden)
    yield f"{prefix}.down_proj.weight", (hidden, inner)


def shards(config):
    """Tensors with random values, as many at once as a file takes."""
    dtype, shard, size = getattr(torch, config["dtype"]), {}, 0
    for name, shape in shapes(config):
        if "norm" in name:
            tensor = torch.ones(shape, dtype=dtype)
        else:
            tensor = torch.empty(shape, dtype=dtype).normal_(std=0.02)
        if size + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += tensor.nbytes
    yield shard


def make(folder, config):
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    weight_map, total, files = {}, 0, []
    for number, shard in enumerate(shards(config), 1):
        files.append(folder / f"part-{number}.safetensors")
        save_file(shard, files[-1], {"format": "pt"})
        weight_map |= dict.fromkeys(shard, number)
        total += sum(tensor.nbytes for tensor in shard.values())
    if len(files) == 1:
        files[0].rename(folder / "model.safetensors")
        return
    names = {number: f"model-{number:05}-of-{len(files):05}.safetensors" for number in range(1, len(files) + 1)}
    for number, file in enumerate(files, 1):
        file.rename(folder / names[number])
    index = {"metadata": {"total_size": total}, "weight_map": {name: names[number] for name, number in weight_map.items()}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, config in MODELS.items():
        folder = Path(sys.argv[1]) / name
        if not any(folder.glob("model*.safetensors")):
            make(folder, config)
        files = list(folder.glob("*.safetensors"))
        print(f"{sum(file.stat().st_size for file in files) / 1e9:5.2f} GB in {len(files)} files  {folder}")
