#!/usr/bin/env python3
"""Write the events that callbacks of the reference's `Trainer` see, with the step of each.

    golden_trainer_events.py OUT.json

Numbers do not matter: the model is tiny and random, and texts are all alike. `flags` are what a callback sets at the end of a step.
"""

import json
import sys
import tempfile
from pathlib import Path

from tiny import VERSIONS, torch  # first: it sets the environment of the reference

from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

CONFIG = dict(vocab_size=32, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1)
ARGUMENTS = dict(per_device_train_batch_size=2, per_device_eval_batch_size=8, learning_rate=1e-3, logging_steps=2)
RUNS = {
    "epochs": dict(arguments=dict(num_train_epochs=2, gradient_accumulation_steps=3, eval_strategy="epoch", save_strategy="epoch")),
    "steps": dict(arguments=dict(max_steps=5, gradient_accumulation_steps=2, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2, logging_first_step=True, load_best_model_at_end=True)),
    "start": dict(arguments=dict(max_steps=3, eval_on_start=True, eval_strategy="steps", eval_steps=2, eval_delay=2, save_strategy="no", logging_strategy="epoch")),
    "flags": dict(arguments=dict(num_train_epochs=3, save_strategy="no", logging_strategy="no"), flags={"2": ["should_log", "should_evaluate", "should_save"], "3": ["should_epoch_stop"], "6": ["should_training_stop", "should_save"]}),
}
TRAIN, EVAL = 7, 11


class Recorder(TrainerCallback):
    def __init__(self, flags):
        self.flags, self.seen = flags, []


def record(name):
    def method(self, args, state, control, **kwargs):
        self.seen.append([name, state.global_step])
        if name == "on_step_end":
            for flag in self.flags.get(str(state.global_step), []):
                setattr(control, flag, True)

    return method


EVENTS = [name for name in vars(TrainerCallback) if name.startswith("on_")]
for name in EVENTS:
    setattr(Recorder, name, record(name))


def run(arguments, flags={}):
    recorder = Recorder(flags)
    example = dict(input_ids=torch.arange(3, 9), labels=torch.arange(3, 9))
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(output_dir=folder, use_cpu=True, report_to="none", disable_tqdm=True, **{**ARGUMENTS, **arguments})
        model = LlamaForCausalLM(LlamaConfig(**CONFIG))
        trainer = Trainer(model=model, args=args, train_dataset=[example] * TRAIN, eval_dataset=[example] * EVAL, callbacks=[recorder])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.evaluate()
        trainer.predict([example] * EVAL)
    return recorder.seen


runs = {name: dict(settings, events=run(**settings)) for name, settings in RUNS.items()}
result = dict(**VERSIONS, train=TRAIN, eval=EVAL, names=sorted(EVENTS), defaults=ARGUMENTS, runs=runs)
Path(sys.argv[1]).write_text(json.dumps(result, separators=(",", ":")) + "\n")
