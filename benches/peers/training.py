"""Training steps by the reference's Trainer, of the shapes of `benches/examples/training.rs`: `training.py SHAPE STEPS
[BINARY]` prints a line of JSON with the median seconds of the passes of a step and of a whole one, tokens in a second, and
the peak of memory. With the binary of the example it runs that first, in a process of its own, and prints the ratios.

Both Trainers have their defaults (clipping, fused AdamW, shuffled examples, no workers), but save and report nothing.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


def llama(hidden, inner, layers, heads, kv_heads, vocab):
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=hidden,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            vocab_size=vocab,
            tie_word_embeddings=True,
            max_position_embeddings=2048,
        )
    )


def build(shape):
    if shape == "smollm2":
        return llama(576, 1536, 30, 9, 3, 49152), 1, 256
    if shape == "smollm2_lora":
        lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        return get_peft_model(llama(576, 1536, 30, 9, 3, 49152), lora), 1, 256
    if shape == "llama10m":
        return llama(320, 864, 6, 5, 5, 8192), 8, 128
    if shape == "minilm":
        config = BertConfig(
            hidden_size=384,
            intermediate_size=1536,
            num_hidden_layers=6,
            num_attention_heads=12,
            vocab_size=30522,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        return BertForSequenceClassification(config), 32, 128
    raise SystemExit(f"no shape is called {shape}")


class Clock(TrainerCallback):
    """The seconds at which each step ended, and at which its gradients were there."""

    def __init__(self):
        self.ends, self.passes = [], []

    def on_pre_optimizer_step(self, *_, **__):
        self.passes.append(time.perf_counter())

    def on_step_end(self, *_, **__):
        self.ends.append(time.perf_counter())


def median(times):
    return sorted(times)[len(times) // 2]


def main():
    shape, steps = sys.argv[1], int(sys.argv[2])
    ours = None
    if len(sys.argv) > 3:
        command = [sys.argv[3], shape, str(steps)]
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(line, end="", flush=True)
        ours = json.loads(line)
    torch.manual_seed(0)
    model, batch, seq = build(shape)
    examples = []
    for row in range(batch * (steps + 1)):
        ids = (torch.arange(seq) + row % batch * seq) * 7919 % model.config.vocab_size
        labels = row % 2 if shape == "minilm" else ids
        examples.append(dict(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            max_steps=steps + 1,
            per_device_train_batch_size=batch,
            learning_rate=1e-5,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(model=model, args=args, train_dataset=examples, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        output = trainer.train()
    # The first step begins with nothing in the caches.
    step = median([after - before for before, after in zip(clock.ends, clock.ends[1:])])
    theirs = {
        "shape": shape,
        "passes": median([after - before for before, after in zip(clock.ends, clock.passes[1:])]),
        "step": step,
        "loss": output.training_loss,
        "tokens_per_second": batch * seq / step,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(theirs))
    if ours:
        for what in ("tokens_per_second", "peak_mib"):
            print(f"{what}: {ours[what] / theirs[what]:.2f}")


if __name__ == "__main__":
    main()
