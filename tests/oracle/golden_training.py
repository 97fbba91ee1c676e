#!/usr/bin/env python3
"""Write `tests/golden/train_*`: loss, gradients and ten AdamW steps of tiny models.

    golden_training.py OUT

`OUT/train_<family>/<variant>` each hold `config.json`, `model.safetensors` (the parameters before the first step),
`ref.safetensors` (`input_ids`, `attention_mask` where there is one, `labels` with -100 where no loss is wanted, `loss`,
`grad.<parameter name>`) and `ref.json` (the optimizer's settings and `losses`: entry i is the loss after i steps, on the
same batch).
"""

import json
import sys
from pathlib import Path

from tiny import VERSIONS, randomise, torch  # first: it sets the environment of the reference

from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

STEPS = 10
SEED = 20
ADAMW = dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
IGNORED = -100

CONFIG = dict(
    vocab_size=64,
    hidden_size=24,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)


MODELS = {
    "train_llama/tied": ("llama", dict(CONFIG, tie_word_embeddings=True)),
    "train_llama/untied": ("llama", dict(CONFIG, tie_word_embeddings=False)),
    # Its loss has the load-balancing loss in it.
    "train_mixtral/balanced": (
        "mixtral",
        dict(
            CONFIG,
            hidden_size=16,
            intermediate_size=12,
            num_hidden_layers=1,
            num_local_experts=4,
            num_experts_per_tok=2,
            output_router_logits=True,
            router_aux_loss_coef=0.05,
        ),
    ),
}


def batch(model_type, generator):
    """Two texts of nine tokens; the first has a prompt without loss, the second padding on the right."""
    input_ids = torch.randint(10, CONFIG["vocab_size"], (2, 9), generator=generator)
    labels = input_ids.clone()
    labels[0, :3] = IGNORED
    input_ids[1, 6:] = CONFIG["pad_token_id"]
    labels[1, 6:] = IGNORED
    if model_type == "llama":
        return dict(input_ids=input_ids, labels=labels)
    # Routers see padding too: the load-balancing loss has to leave it out.
    return dict(input_ids=input_ids, labels=labels, attention_mask=(input_ids != CONFIG["pad_token_id"]).long())


def make(folder, model_type, config):
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(SEED)
    config = AutoConfig.for_model(model_type, **config)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomise(model, generator)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink()

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).train()
    inputs = batch(model_type, generator)
    loss = model(**inputs).loss
    loss.backward()
    gradients = {f"grad.{name}": parameter.grad.clone() for name, parameter in model.named_parameters()}
    save_file({**inputs, "loss": loss.detach(), **gradients}, folder / "ref.safetensors")

    optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)
    losses = [loss.item()]
    for _ in range(STEPS):
        optimizer.step()
        optimizer.zero_grad()
        loss = model(**inputs).loss
        loss.backward()
        losses.append(loss.item())
    record = dict(**VERSIONS, optimizer=dict(name="AdamW", **ADAMW), losses=losses)
    (folder / "ref.json").write_text(json.dumps(record, indent=1) + "\n")
    size = sum(file.stat().st_size for file in folder.iterdir())
    smallest = min(gradient.abs().max().item() for gradient in gradients.values())
    print(f"{folder.parent.name}/{folder.name:8} {size:6} B  loss {losses[0]:.4f} -> {losses[-1]:.4f}  smallest max|grad| {smallest:.1e}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, (model_type, config) in MODELS.items():
        make(Path(sys.argv[1]) / name, model_type, config)


if __name__ == "__main__":
    main()
