"""Training steps in PyTorch, of the shapes of `benches/examples/training.rs`: `training.py SHAPE STEPS [BINARY]` prints a
line of JSON with the median seconds of each phase, tokens in a second, and the peak of memory. With the binary of the
example it runs that first, in a process of its own, and prints the ratios.

The loop does what `transformers.Trainer` does in a step with its defaults: forward with the loss, backward, clipping of
the gradients' norm, fused AdamW, gradients set to none.
"""

import json
import resource
import subprocess
import sys
import time

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
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
            use_cache=False,
        )
    )


def build(shape):
    if shape == "smollm2":
        return llama(576, 1536, 30, 9, 3, 49152), 1, 256
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
    model.train()
    ids = (torch.arange(batch * seq) * 7919 + 13) % model.config.vocab_size
    ids = ids.reshape(batch, seq)
    labels = torch.arange(batch) % 2 if shape == "minilm" else ids
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.0, fused=True)
    times = [[], [], []]
    for _ in range(steps):
        start = time.perf_counter()
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        last = loss.item()
        times[0].append(time.perf_counter() - start)
        start = time.perf_counter()
        loss.backward()
        del loss
        times[1].append(time.perf_counter() - start)
        start = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times[2].append(time.perf_counter() - start)
    forward, backward, step = (sorted(phase)[len(phase) // 2] for phase in times)
    theirs = {
        "shape": shape,
        "forward": forward,
        "backward": backward,
        "optimizer": step,
        "tokens_per_second": batch * seq / (forward + backward + step),
        "loss": last,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(theirs))
    if ours:
        for what in ("tokens_per_second", "peak_mib"):
            print(f"{what}: {ours[what] / theirs[what]:.2f}")


if __name__ == "__main__":
    main()
