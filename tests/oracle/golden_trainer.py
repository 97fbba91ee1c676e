#!/usr/bin/env python3
"""Write `tests/golden/trainer_*`: 50 steps of the reference's Trainer on tiny models.

    golden_trainer.py OUT

Each folder holds `config.json`, `model.safetensors` (before the first step), `data.json` (the examples, in order),
`arguments.json` (what differs from the defaults), `log.json` (`log_history`) and `final.safetensors` (after the last step,
by the names of the checkpoint). With adapters, which alone are trained, `adapter` holds them before the first step as `peft`
writes them, and `final.safetensors` after the last. There is no dropout, and the examples are not shuffled. Each run is one that rounding does
not change: the reference in f64 logs the same.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from tiny import VERSIONS, randomise, torch  # first: it sets the environment of the reference

from peft import LoraConfig, PeftModel, get_peft_model
from torch.utils.data import Dataset
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

SEED = 31
IGNORED = -100
ARGUMENTS = dict(
    per_device_train_batch_size=2,
    gradient_accumulation_steps=3,
    max_steps=50,
    # Gradients that are zero but for rounding, such as those of a key's bias, must not move weights.
    learning_rate=3e-3,
    adam_epsilon=1e-3,
    lr_scheduler_type="cosine",
    warmup_steps=0.1,
    weight_decay=0.1,
    max_grad_norm=0.5,
    adam_beta2=0.98,
    logging_steps=1,
    train_sampling_strategy="sequential",
    save_strategy="no",
)
SIZES = dict(vocab_size=48, max_position_embeddings=32, pad_token_id=0, bos_token_id=1, eos_token_id=2)
DECODER = dict(SIZES, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
ENCODER = dict(SIZES, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
RUNS = {
    "llama": ("llama", AutoModelForCausalLM, dict(DECODER, tie_word_embeddings=True), "causal"),
    "gpt2": ("gpt2", AutoModelForCausalLM, dict(vocab_size=48, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0), "causal"),
    "mixtral": ("mixtral", AutoModelForCausalLM, dict(DECODER, num_hidden_layers=1, num_local_experts=4, num_experts_per_tok=2, output_router_logits=True, router_aux_loss_coef=0.05), "causal"),
    "bert_classification": ("bert", AutoModelForSequenceClassification, dict(ENCODER, num_labels=3, classifier_dropout=0.0), "classes"),
    "bert_tokens": ("bert", AutoModelForTokenClassification, dict(ENCODER, num_labels=5, classifier_dropout=0.0), "tokens"),
    "bert_mlm": ("bert", AutoModelForMaskedLM, ENCODER, "masked"),
    "t5": ("t5", AutoModelForSeq2SeqLM, dict(vocab_size=48, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_decoder_layers=2, num_heads=2, dropout_rate=0.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0), "seq2seq"),
}
# More of the Trainer's arguments, with the llama.
VARIANTS = {
    "llama_smoothing": ("llama", dict(label_smoothing_factor=0.1, max_steps=12, max_grad_norm=0.0)),
    "llama_epochs": ("llama", dict(max_steps=-1, num_train_epochs=1.4, logging_steps=3, lr_scheduler_type="linear", optim="adafactor", learning_rate=1e-3)),
}
# Adapters of `peft`; every part of them is random at the start.
ADAPTERS = {
    "llama_lora": ("llama", dict(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "gate_proj", "down_proj"])),
    "llama_dora": ("llama", dict(r=2, lora_alpha=4, target_modules="all-linear", use_rslora=True, use_dora=True)),
}


class Examples(Dataset):
    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        return self.examples[index]


def example(kind, generator):
    """Twelve tokens, of which some at the end are padding."""
    draw = lambda low, high, size: torch.randint(low, high, (size,), generator=generator).tolist()
    real = 6 + draw(0, 7, 1)[0]
    ids = draw(5, 48, real) + [0] * (12 - real)
    mask = [1] * real + [0] * (12 - real)
    if kind == "causal":
        prompt = draw(0, 4, 1)[0]
        labels = [IGNORED if at < prompt or at >= real else token for at, token in enumerate(ids)]
    elif kind == "classes":
        labels = draw(0, 3, 1)[0]
    elif kind == "tokens":
        labels = [token % 5 if at < real else IGNORED for at, token in enumerate(ids)]
    elif kind == "masked":
        hidden = [at % 4 == real % 4 and at < real for at in range(12)]
        labels = [token if hide else IGNORED for token, hide in zip(ids, hidden)]
        ids = [3 if hide else token for token, hide in zip(ids, hidden)]
    else:
        length = 3 + draw(0, 5, 1)[0]
        labels = draw(5, 48, length - 1) + [1] + [IGNORED] * (8 - length)
    return dict(input_ids=ids, attention_mask=mask, labels=labels)


def train(folder, auto, dtype, arguments, examples, save):
    with tempfile.TemporaryDirectory() as scratch:
        # Grouped products know no f64.
        experts = dict(experts_implementation="eager") if folder.name == "trainer_mixtral" else {}
        model = auto.from_pretrained(folder, dtype=dtype, attn_implementation="eager", **experts)
        adapter, weights = folder / "adapter", "model.safetensors"
        if adapter.exists():
            model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
            weights = "adapter_model.safetensors"
        args = TrainingArguments(output_dir=scratch, use_cpu=True, report_to="none", disable_tqdm=True, **arguments)
        trainer = Trainer(model=model, args=args, train_dataset=Examples(examples))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        if save:
            model.save_pretrained(scratch + "/final")
            shutil.copy(f"{scratch}/final/{weights}", folder / "final.safetensors")
    timed = ("train_runtime", "train_samples_per_second", "train_steps_per_second")
    return [{key: value for key, value in entry.items() if key not in timed} for entry in trainer.state.log_history]


def save_adapter(model, settings, folder, generator):
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = 0.2 * torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise if parameter.ndim > 1 else parameter * (1 + noise))
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text())
    settings["base_model_name_or_path"] = None
    settings["target_modules"].sort()  # the order of a set is that of the day
    path.write_text(json.dumps(settings, indent=2, sort_keys=True))


def run(folder, base, auto, config, kind, more, adapter=None):
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(SEED)
    model = auto.from_config(AutoConfig.for_model(base, **config), dtype=torch.float32)
    randomise(model, generator)
    for name, parameter in model.named_parameters():
        # Strong matrices make small differences grow.
        if parameter.ndim > 1 and "embed" not in name and model.config.tie_word_embeddings:
            parameter.data.mul_(0.5)
        # Its attention has no scale.
        if base == "t5" and name.endswith(".q.weight"):
            parameter.data.mul_(config["d_kv"] ** -0.5)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if adapter:
        save_adapter(model, adapter, folder / "adapter", generator)
    # 67 examples: the last batch of an epoch and its last step are smaller.
    examples = [example(kind, generator) for _ in range(67)]
    arguments = dict(ARGUMENTS, **more)
    log = train(folder, auto, torch.float32, arguments, examples, save=True)
    exact = train(folder, auto, torch.float64, arguments, examples, save=False)
    apart = max(abs(a[key] - b[key]) / abs(b[key]) for a, b in zip(log, exact) for key in ("loss", "grad_norm") if key in a)
    assert apart < 3e-5, f"{folder.name}: rounding moves the reference itself by {apart:.1e}"
    dump = lambda name, value: (folder / name).write_text(json.dumps(value, separators=(",", ":")) + "\n")
    dump("data.json", examples)
    dump("arguments.json", arguments)
    dump("log.json", dict(**VERSIONS, f32_vs_f64_maxdiff=apart, log_history=log))
    size = sum(file.stat().st_size for file in folder.rglob("*"))
    print(f"{folder.name:26} {size:6} B  loss {log[0]['loss']:.4f} -> {log[-2]['loss']:.4f}  f32 against f64 {apart:.1e}", flush=True)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    for name, (base, auto, config, kind) in RUNS.items():
        run(out / f"trainer_{name}", base, auto, config, kind, {})
    for name, (base, more) in VARIANTS.items():
        run(out / f"trainer_{name}", *RUNS[base], more)
    for name, (base, settings) in ADAPTERS.items():
        run(out / f"trainer_{name}", *RUNS[base], {}, settings)


if __name__ == "__main__":
    main()
