"""Trains models with random weights by `transformers train` and by the reference's Trainer, one after the other.

    training.py SHAPE STEPS BINARY

SHAPE: `smollm2` (135 million parameters, 1 x 256 tokens), `smollm2_lora` (adapters of all its linear layers alone),
`llama10m` (8 x 128), `minilm` (a classifier, 32 x 128). Prints, for each side, tokens in a second over all STEPS and the peak
of memory of its process, and the ratios.

Both Trainers have their defaults (clipping, fused AdamW, shuffled examples, no workers), but save and report nothing while
they train. Both are given the same texts; the reference gets them as ids.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

LLAMA = dict(model_type="llama", architectures=["LlamaForCausalLM"], tie_word_embeddings=True, max_position_embeddings=2048)
SMOLLM2 = dict(LLAMA, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, vocab_size=49152)
LORA = dict(r=16, lora_alpha=32, target_modules="all-linear")
SHAPES = {
    "smollm2": (SMOLLM2, 1, 256),
    "smollm2_lora": (SMOLLM2, 1, 256),
    "llama10m": (dict(LLAMA, hidden_size=320, intermediate_size=864, num_hidden_layers=6, num_attention_heads=5, num_key_value_heads=5, vocab_size=8192), 8, 128),
    "minilm": (dict(model_type="bert", architectures=["BertForSequenceClassification"], hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=12, vocab_size=30522, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), 32, 128),
}
CLASSES = ["one", "other"]


def rows(vocab, batch, seq, steps):
    """Ids: the same batch in every step, each row with other ones."""
    return [[((row % batch) * seq + at) * 7919 % vocab for at in range(seq)] for row in range(batch * steps)]


def arguments(folder, batch, steps):
    return dict(output_dir=str(folder), max_steps=steps, per_device_train_batch_size=batch, learning_rate=1e-5, save_strategy="no")


def write_tokenizer(folder, vocab):
    """A word for each id."""
    words = {f"w{i}": i for i in range(vocab)}
    model = dict(type="WordLevel", vocab=words, unk_token="w2")
    tokenizer = dict(version="1.0", truncation=None, padding=None, added_tokens=[], normalizer=None, post_processor=None, decoder=None, pre_tokenizer=dict(type="WhitespaceSplit"), model=model)
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    names = dict(tokenizer_class="PreTrainedTokenizerFast", pad_token="w0", eos_token="w1", unk_token="w2", model_max_length=512)
    (folder / "tokenizer_config.json").write_text(json.dumps(names))


def ours(shape, steps, binary, folder):
    config, batch, seq = SHAPES[shape]
    write_tokenizer(folder / "tokenizer", config["vocab_size"])
    with open(folder / "train.jsonl", "w") as file:
        for at, ids in enumerate(rows(config["vocab_size"], batch, seq, steps)):
            text = " ".join(f"w{i}" for i in ids)
            file.write(json.dumps(dict(text=text, label=CLASSES[at % 2])) + "\n")
    data = dict(train=str(folder / "train.jsonl"), max_length=seq)
    recipe = dict(config=config, tokenizer=str(folder / "tokenizer"), data=data)
    recipe["training"] = dict(arguments(folder / "ours", batch, steps), report_to=["jsonl"])
    if shape == "minilm":
        recipe["task"] = "text-classification"
        data |= dict(text="text", label="label", classes=CLASSES)
    else:
        recipe["task"] = "causal-lm"
        data |= dict(add_eos=False)
    if shape == "smollm2_lora":
        recipe["lora"] = LORA
    (folder / "recipe.json").write_text(json.dumps(recipe))
    subprocess.run([binary, "train", str(folder / "recipe.json")], check=True, capture_output=True)
    lines = (folder / "ours" / "log.jsonl").read_text().splitlines()
    logs = [json.loads(line) for line in lines]
    (runtime,) = [log["train_runtime"] for log in logs if "train_runtime" in log]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return dict(tokens_per_second=batch * seq * steps / runtime, peak_mib=peak // 1024)


def theirs(shape, steps, folder):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, PrinterCallback, Trainer, TrainingArguments

    torch.manual_seed(0)
    config, batch, seq = SHAPES[shape]
    auto = AutoModelForSequenceClassification if shape == "minilm" else AutoModelForCausalLM
    model = auto.from_config(AutoConfig.for_model(**config))
    if shape == "smollm2_lora":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **LORA))
    examples = []
    for at, ids in enumerate(rows(config["vocab_size"], batch, seq, steps)):
        labels = at % 2 if shape == "minilm" else ids
        examples.append(dict(input_ids=ids, attention_mask=[1] * seq, labels=labels))
    args = TrainingArguments(use_cpu=True, report_to="none", disable_tqdm=True, **arguments(folder / "theirs", batch, steps))
    trainer = Trainer(model=model, args=args, train_dataset=examples)
    trainer.remove_callback(PrinterCallback)
    runtime = trainer.train().metrics["train_runtime"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return dict(tokens_per_second=batch * seq * steps / runtime, peak_mib=peak // 1024)


def main():
    shape, steps, binary = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    with tempfile.TemporaryDirectory() as folder:
        one = ours(shape, steps, binary, Path(folder))
        print(json.dumps(dict(shape=shape, side="ours", **one)), flush=True)
        other = theirs(shape, steps, Path(folder))
    print(json.dumps(dict(shape=shape, side="reference", threads=os.environ.get("OMP_NUM_THREADS"), **other)))
    for what in ("tokens_per_second", "peak_mib"):
        print(f"{what}: {one[what] / other[what]:.2f}")


if __name__ == "__main__":
    main()
