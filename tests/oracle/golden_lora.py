#!/usr/bin/env python3
"""Write `tests/golden/lora`: adapters that `peft` made for committed cases, and what the models give with them.

    golden_lora.py CASES OUT

`OUT/<name>` holds `adapter_config.json` and `adapter_model.safetensors` as `peft` writes them, with every tensor drawn at
random, and `ref.safetensors`: the inputs, the `logits` of the model with the adapter, those of the merged model
(`merged`), and, of language models, the `loss` and the gradient of every trained parameter (`grad.<name in the file>`);
and, where adapters begin as a part of the weight, `initial.<name in the file>`: what they begin with in the first layer.
`ref.json` names the case of the base model and its auto class.

`mixtral_v4` and `qwen3_moe_v4` are adapters as `peft` wrote them before experts were stacked, a layer for each expert.
"""

import json
import shutil
import sys
import warnings
from pathlib import Path

from tiny import VERSIONS, torch  # first: it sets the environment of the reference

import peft
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")
CAUSAL, CLASSES, MASKED, SEQ2SEQ = (
    "AutoModelForCausalLM",
    "AutoModelForSequenceClassification",
    "AutoModelForMaskedLM",
    "AutoModelForSeq2SeqLM",
)
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]

# name: the case of the base model, its auto class, the settings
ADAPTERS = {
    "llama": ("llama", CAUSAL, dict(r=4, lora_alpha=8, task_type="CAUSAL_LM")),
    "llama_all_linear": (
        "llama",
        CAUSAL,
        dict(
            r=3,
            lora_alpha=5,
            target_modules="all-linear",
            use_rslora=True,
            rank_pattern={"down_proj": 2, r"^model\.layers\.1\.self_attn\.q_proj": 5},
            alpha_pattern={"self_attn.k_proj": 7},
            task_type="CAUSAL_LM",
        ),
    ),
    "llama_dora": ("llama", CAUSAL, dict(r=4, use_dora=True, target_modules=[*ATTENTION, "embed_tokens"], task_type="CAUSAL_LM")),
    "llama_regex": (
        "llama",
        CAUSAL,
        dict(r=2, target_modules=r".*layers\.(0|1)\.mlp\.(up|gate)_proj", exclude_modules=["layers.0.mlp.up_proj"]),
    ),
    "llama_layers": (
        "llama",
        CAUSAL,
        dict(r=2, target_modules=ATTENTION, layers_to_transform=[1], layers_pattern="layers", modules_to_save=["lm_head", "norm"]),
    ),
    "llama_embeddings": ("llama", CAUSAL, dict(r=4, target_modules=["embed_tokens", "lm_head"], task_type="CAUSAL_LM")),
    "llama_tied": ("llama_tied_bias", CAUSAL, dict(r=4, bias="all", target_modules=["embed_tokens", "o_proj"])),
    "bert": ("bert_classes", CLASSES, dict(r=4, bias="lora_only", task_type="SEQ_CLS")),
    "bert_masked": ("bert", MASKED, dict(r=4, target_modules="all-linear", lora_bias=True)),
    "gpt2": ("gpt2", CAUSAL, dict(r=4, fan_in_fan_out=True, task_type="CAUSAL_LM")),
    "gpt2_dora": (
        "gpt2",
        CAUSAL,
        dict(r=2, use_dora=True, fan_in_fan_out=True, target_modules=["c_attn", "c_proj", "c_fc"], bias="all"),
    ),
    "t5": ("t5", SEQ2SEQ, dict(r=4, task_type="SEQ_2_SEQ_LM")),
    "mixtral": ("mixtral", CAUSAL, dict(r=2, target_modules=["q_proj"], target_parameters=[*EXPERTS, "mlp.gate.weight"])),
    "mixtral_one": ("mixtral", CAUSAL, dict(r=2, target_modules=[], target_parameters=EXPERTS[1:], init_lora_weights=False)),
    "llama_pissa": ("llama", CAUSAL, dict(r=4, lora_alpha=6, target_modules=[*ATTENTION, "up_proj", "down_proj"], init_lora_weights="pissa")),
    "llama_pissa_dora": ("llama", CAUSAL, dict(r=3, target_modules=["k_proj", "gate_proj"], use_dora=True, use_rslora=True, init_lora_weights="pissa")),
    "llama_olora": ("llama", CAUSAL, dict(r=4, lora_alpha=6, target_modules=[*ATTENTION, "up_proj", "down_proj"], init_lora_weights="olora")),
    "bert_orthogonal": ("bert_classes", CLASSES, dict(r=4, lora_dropout=0.1, init_lora_weights="orthogonal", task_type="SEQ_CLS")),
}

# name: the case of the base model, the settings, the names of the experts' layers, what holds them
FORMER = {
    "mixtral_v4": ("mixtral", dict(r=2, lora_alpha=6), ["w1", "w3", "w2"], "block_sparse_moe", ["gate", "q_proj"]),
    "qwen3_moe_v4": ("qwen3_moe", dict(r=2, lora_alpha=3), ["gate_proj", "up_proj", "down_proj"], "mlp", ["v_proj"]),
}


def make(folder, cases, case, auto_class, settings, generator):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    auto_class = getattr(transformers, auto_class)
    base = auto_class.from_pretrained(cases / case, attn_implementation="eager", dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(**settings))
    initial = {}
    if settings.get("init_lora_weights") in ("pissa", "olora"):
        first = {name: tensor for name, tensor in get_peft_model_state_dict(model).items() if ".layers.0." in name}
        initial = {f"initial.{name}": tensor.clone() for name, tensor in first.items() if "magnitude" not in name}
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    with torch.no_grad():
        for name, parameter in trained.items():
            noise = torch.randn(parameter.shape, generator=generator)
            is_adapter = "lora_A" in name or "lora_B" in name or "lora_embedding" in name
            if is_adapter and parameter.ndim > 1:
                parameter.copy_(0.15 * noise)
            else:
                parameter.add_(0.1 * noise)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = f"tests/cases/{case}"
    for key in ("target_modules", "target_parameters", "modules_to_save"):
        # the order of a set is that of the day
        if isinstance(config[key], list):
            config[key] = sorted(config[key])
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))

    compare(folder, cases, case, auto_class, initial, len(trained))


def compare(folder, cases, case, auto_class, more, trained, is_former=False):
    """Write what the reference makes of the adapter in a folder."""
    reference = load_file(cases / case / "ref.safetensors")
    names = ("input_ids", "attention_mask", "token_type_ids", "decoder_input_ids")
    inputs = {name: reference[name] for name in names if name in reference}
    is_causal = auto_class is transformers.AutoModelForCausalLM
    if is_causal:
        inputs["labels"] = inputs["input_ids"].masked_fill(inputs.get("attention_mask", torch.ones(1)) == 0, -100)
    model = PeftModel.from_pretrained(
        auto_class.from_pretrained(cases / case, attn_implementation="eager", dtype=torch.float32), folder, is_trainable=not is_former
    )
    model.eval()
    output = model(**inputs)
    tensors = dict(inputs, logits=output.logits.detach(), **more)
    if is_causal and not is_former:
        output.loss.backward()
        tensors["loss"] = output.loss.detach()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}
        tensors |= {f"grad.{name.replace('.default', '')}": gradient.clone() for name, gradient in gradients.items()}
    with torch.no_grad():
        merged = model.merge_and_unload()
        tensors["merged"] = merged(**inputs).logits
    save_file(tensors, folder / "ref.safetensors")
    record = dict(**VERSIONS, peft=peft.__version__, base=case, auto_class=auto_class.__name__)
    (folder / "ref.json").write_text(json.dumps(record, indent=1) + "\n")
    size = sum(file.stat().st_size for file in folder.iterdir())
    off = (tensors["merged"] - tensors["logits"]).abs().max().item()
    print(f"{folder.name:18} {size:6} B  {trained:3} trained  merged off by {off:.1e}")


def make_former(folder, cases, case, settings, layers, block, others, generator):
    """An adapter as it was written when every expert was a layer."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    base = transformers.AutoModelForCausalLM.from_pretrained(cases / case, dtype=torch.float32)
    rank, tensors = settings["r"], {}

    def add(module, shape):
        for part, size in ("A", (rank, shape[1])), ("B", (shape[0], rank)):
            tensors[f"base_model.model.{module}.lora_{part}.weight"] = 0.15 * torch.randn(size, generator=generator)

    for name, parameter in base.named_parameters():
        module, _, leaf = name.rpartition(".")
        if leaf == "gate_up_proj":
            experts, out, width = parameter.shape
            for expert in range(experts):
                for layer in layers[:2]:
                    add(f"{module.replace('mlp', block)}.{expert}.{layer}", (out // 2, width))
        elif leaf == "down_proj":
            for expert in range(parameter.shape[0]):
                add(f"{module.replace('mlp', block)}.{expert}.{layers[2]}", parameter.shape[1:])
        elif module.endswith(".mlp.gate") and "gate" in others:
            add(module.replace("mlp", block), parameter.shape)
        elif module.rpartition(".")[2] in [*others, *layers] and leaf == "weight":
            add(module, parameter.shape)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = dict(peft_type="LORA", task_type="CAUSAL_LM", bias="none", inference_mode=True, target_modules=sorted([*layers, *others]), **settings)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    compare(folder, cases, case, transformers.AutoModelForCausalLM, {}, len(tensors), is_former=True)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    cases, out = map(Path, sys.argv[1:])
    generator = torch.Generator().manual_seed(23)
    for name, (case, auto_class, settings) in ADAPTERS.items():
        make(out / name, cases, case, auto_class, dict(settings), generator)
    for name, (case, settings, layers, block, others) in FORMER.items():
        make_former(out / name, cases, case, settings, layers, block, others, generator)


if __name__ == "__main__":
    main()
