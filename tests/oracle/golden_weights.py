"""Golden values for weight loading and saving, from the reference.

Writes into crates/weights/tests/golden:
  renamings.json   keys renamed by `WeightRenaming`
  load_plans.json  what `from_pretrained` reports for tiny models whose checkpoints were changed
  sharded/         a tiny model as `save_pretrained` writes it in shards; `order.json` holds the order of its parameters
  torch/           the same tensors as `torch.save` writes them in both of its formats, and as safetensors

Pinned: transformers 5.23.0, torch 2.15.0, safetensors 0.8.0.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertModel, LlamaConfig, LlamaForCausalLM, LlamaModel
from transformers.core_model_loading import WeightRenaming

OUT = Path(__file__).resolve().parents[2] / "crates/weights/tests/golden"

RENAMINGS = [
    (["LayerNorm.gamma"], "LayerNorm.weight", ["a.LayerNorm.gamma", "a.LayerNorm.gamma_2", "LayerNorm.gamma.x"]),
    (["weight"], "w", ["q.weight", "q.weight_scale_inv", "weight.weight", "weights"]),
    (["hc_"], "hyper.", ["model.hc_fn", "model.hc"]),
    (["^"], "timm_model.", ["stem.weight", ""]),
    (["^visual"], "^model.visual", ["visual.x", "model.visual.x"]),
    ([r"^model(?!\.(visual|lm))"], "model.language_model", ["model.norm", "model.visual.norm", "model.lm"]),
    ([r"layers.(\d+).fc1"], r"layers.\1.mlp.fc1", ["layers.12.fc1.bias", "layers.x.fc1.bias"]),
    (["experts.*.w1"], "experts.gate", ["m.experts.3.w1.weight", "m.experts.w1"]),
    ([r"\.attn\."], r"\.self_attn\.", ["m.attn.q", "m.attnxq"]),
    (["weight", "weight.absmax"], "q", ["a.weight.absmax", "a.weight"]),
    (["b", "ab"], "x", ["ab ab", "b ab", "c"]),
    ([r"^model\.language_model\.model", r"^language_model\.model\.model"], "model.language_model",
     ["language_model.model.model.norm", "model.language_model.model.norm", "x.language_model.model.model"]),
]  # fmt: skip


def write_renamings():
    cases = []
    for sources, target, keys in RENAMINGS:
        renaming = WeightRenaming(source_patterns=list(sources), target_patterns=target)
        renamed = {}
        for key in keys:
            result, pattern = renaming.rename_source_key(key)
            renamed[key] = None if pattern is None else result
        cases.append({"sources": sources, "target": target, "keys": renamed})
    (OUT / "renamings.json").write_text(json.dumps(cases, indent=1) + "\n")


def llama(**kwargs):
    return LlamaConfig(
        vocab_size=8, hidden_size=4, intermediate_size=4, num_hidden_layers=2, num_attention_heads=1, **kwargs
    )


def bert():
    return BertConfig(
        vocab_size=8, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=4,
    )  # fmt: skip


def renamed(rules):
    def change(state):
        return {rules.get(key, key): value for key, value in state.items()}

    return change


def replaced(old, new):
    return lambda state: {key.replace(old, new): value for key, value in state.items()}


def dropped(*keys):
    return lambda state: {key: value for key, value in state.items() if key not in keys}


def added(**tensors):
    return lambda state: state | {key.replace("__", "."): value for key, value in tensors.items()}


# (name, saved class, loaded class, config, change of the state, arguments)
PLANS = [
    ("same", LlamaForCausalLM, LlamaForCausalLM, llama(), lambda s: s, {}),
    ("tied", LlamaForCausalLM, LlamaForCausalLM, llama(tie_word_embeddings=True), lambda s: s, {}),
    ("base into head", LlamaModel, LlamaForCausalLM, llama(), lambda s: s, {}),
    ("head into base", LlamaForCausalLM, LlamaModel, llama(), lambda s: s, {}),
    ("missing", LlamaForCausalLM, LlamaForCausalLM, llama(), dropped("model.norm.weight", "model.layers.1.mlp.up_proj.weight"), {}),
    ("extra", LlamaForCausalLM, LlamaForCausalLM, llama(), added(model__layers__10__x=torch.ones(1), model__layers__2__x=torch.ones(1), y=torch.ones(2)), {}),
    ("inv_freq", LlamaForCausalLM, LlamaForCausalLM, llama(), added(model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(2)), {}),
    ("shape", LlamaForCausalLM, LlamaForCausalLM, llama(), added(model__norm__weight=torch.ones(5), lm_head__weight=torch.ones(9, 4)), {"ignore_mismatched_sizes": True}),
    ("key mapping", LlamaForCausalLM, LlamaForCausalLM, llama(), replaced("model.layers", "model.blocks"), {"key_mapping": {r"^model\.blocks\.": "model.layers."}}),
    ("mapping with group", LlamaForCausalLM, LlamaForCausalLM, llama(), replaced("mlp", "ffn"), {"key_mapping": {r"layers\.(\d+)\.ffn": r"layers.\1.mlp"}}),
    ("mapping chain", LlamaForCausalLM, LlamaForCausalLM, llama(), replaced("model.layers", "a.layers"), {"key_mapping": {r"^a\.": "b.", r"^b\.": "model."}}),
    ("mapping of nothing", LlamaForCausalLM, LlamaForCausalLM, llama(), lambda s: s, {"key_mapping": {r"^model\.norm": "model.gone"}}),
    ("bert base into head", BertModel, BertForMaskedLM, bert(), lambda s: s, {}),
    ("bert head into base", BertForMaskedLM, BertModel, bert(), lambda s: s, {}),
    ("bert old names", BertForMaskedLM, BertForMaskedLM, bert(), lambda s: replaced("LayerNorm.weight", "LayerNorm.gamma")(replaced("LayerNorm.bias", "LayerNorm.beta")(s)), {}),
    ("bert position ids", BertForMaskedLM, BertForMaskedLM, bert(), added(bert__embeddings__position_ids=torch.arange(4)[None]), {}),
    ("bert decoder only", BertForMaskedLM, BertForMaskedLM, bert(), renamed({"bert.embeddings.word_embeddings.weight": "cls.predictions.decoder.weight"}), {}),
]  # fmt: skip


def write_plans():
    cases = []
    for name, saved, loaded, config, change, arguments in PLANS:
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            saved(config).save_pretrained(folder)
            path = Path(folder) / "model.safetensors"
            state = {key: value.contiguous() for key, value in change(load_file(path)).items()}
            save_file(state, path, {"format": "pt"})
            model, info = loaded.from_pretrained(folder, output_loading_info=True, **arguments)
        tied = model.all_tied_weights_keys
        cases.append(
            {
                "name": name,
                "params": [[key, list(value.shape)] for key, value in model.state_dict().items() if key not in tied],
                "checkpoint": [[key, list(value.shape)] for key, value in state.items()],
                "base_model_prefix": model.base_model_prefix,
                "key_mapping": list(arguments.get("key_mapping", {}).items()),
                "tied": list(tied.items()),
                "missing": sorted(set(info["missing_keys"]) - set(tied)),
                "unexpected": sorted(info["unexpected_keys"]),
                "mismatched": sorted([key, list(disk), list(memory)] for key, disk, memory in info["mismatched_keys"]),
            }
        )
    (OUT / "load_plans.json").write_text(json.dumps(cases, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")


def write_sharded():
    folder = OUT / "sharded"
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(0)
    model = LlamaForCausalLM(llama()).to(torch.bfloat16)
    model.model.norm.float()
    model.save_pretrained(folder, max_shard_size=300)
    for name in ["config.json", "generation_config.json"]:
        (folder / name).unlink()
    (folder / "order.json").write_text(json.dumps(list(model.state_dict())) + "\n")


def write_torch():
    folder = OUT / "torch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    state = module.state_dict()  # an OrderedDict with `_metadata`
    numbers = torch.arange(24).reshape(2, 3, 4)
    for dtype in ["float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]:
        state[f"dtypes.{dtype}"] = numbers[0].to(getattr(torch, dtype))
    state["transposed"] = numbers.float().transpose(0, 2)
    state["sliced"] = numbers.float()[:, 1:, ::2]
    state["shared"] = state["sliced"][1]
    state["scalar"] = torch.tensor(3.5)
    state["empty"] = torch.zeros(0, 4)
    state["parameter"] = torch.nn.Parameter(torch.ones(2))
    contiguous = {name: value.detach().contiguous().clone() for name, value in state.items()}
    save_file(contiguous, folder / "expected.safetensors")
    torch.save(state, folder / "legacy.bin", _use_new_zipfile_serialization=False)
    for dtype in ["uint16", "uint32", "uint64"]:
        state[f"dtypes.{dtype}"] = numbers[0].to(getattr(torch, dtype))
    contiguous = {name: value.detach().contiguous().clone() for name, value in state.items()}
    save_file(contiguous, folder / "expected.safetensors")
    torch.save(state, folder / "zip.bin")
    torch.save({"epoch": 3, "state_dict": {"w": torch.ones(2)}, "optimizer": None}, folder / "nested.ckpt")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_renamings()
    write_plans()
    write_sharded()
    write_torch()
