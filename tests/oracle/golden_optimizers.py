#!/usr/bin/env python3
"""Write what the trainer's arguments, schedules and optimizers are compared with.

    golden_optimizers.py OUT

`OUT/arguments.json`: the fields and defaults of `TrainingArguments`, and the names of its optimizers and schedules. `OUT/schedules.json`: for each case the learning rates of the
reference, step by step. `OUT/optimizers.json`: parameters, random gradients, and the parameters after 1, 2 and 20 steps of
each optimizer: of torch, of the reference, of the package schedulefree; Lion and AdEMAMix, which the reference takes from a
package that needs a GPU, by the formulas of their papers; Muon as torch, but orthogonalised in f32 instead of bf16.
"""

import json
import math
import sys
from dataclasses import fields
from pathlib import Path

from tiny import VERSIONS, torch  # first: it sets the environment of the reference

import schedulefree
from transformers import Adafactor, Seq2SeqTrainingArguments, TrainingArguments
from transformers.optimization import get_scheduler
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

STEPS = 20
LR = 1e-2
SHAPES = dict(matrix=(6, 4), wide=(3, 5), vector=(5,), stacked=(2, 3, 4))


def arguments():
    seq2seq = Seq2SeqTrainingArguments(disable_tqdm=False).to_dict()
    plain = TrainingArguments(disable_tqdm=False).to_dict()
    extra = {name: value for name, value in seq2seq.items() if name not in plain}
    names = lambda kind: [name.value for name in kind]
    lists = dict(optim=names(OptimizerNames), lr_scheduler_type=names(SchedulerType))
    return dict(**VERSIONS, fields=[field.name for field in fields(TrainingArguments)], **lists, defaults=plain, seq2seq=extra)


SCHEDULES = [
    ("linear", 2, 10, {}),
    ("linear", 0, 7, {}),
    ("cosine", 2, 10, {}),
    ("cosine", 7, 60, dict(num_cycles=1.5)),
    ("cosine_with_restarts", 2, 10, dict(num_cycles=2)),
    ("cosine_with_restarts", 5, 50, dict(num_cycles=3)),
    ("polynomial", 2, 10, dict(power=2.0, lr_end=1e-7)),
    ("polynomial", 3, 40, dict(power=1.0, lr_end=0.5)),
    ("constant", 2, 10, {}),
    ("constant_with_warmup", 4, 10, {}),
    ("inverse_sqrt", 2, 10, {}),
    ("inverse_sqrt", 0, 60, {}),
    ("inverse_sqrt", 5, 60, dict(timescale=20)),
    ("cosine_with_min_lr", 2, 10, dict(min_lr_rate=0.1)),
    ("cosine_with_min_lr", 5, 60, dict(min_lr=2.5)),
    ("cosine_warmup_with_min_lr", 2, 10, dict(min_lr_rate=0.1)),
    ("cosine_warmup_with_min_lr", 6, 60, dict(min_lr_rate=0.2, warmup_lr_rate=0.05)),
    ("warmup_stable_decay", 2, 10, dict(num_decay_steps=4)),
    ("warmup_stable_decay", 6, 60, dict(num_decay_steps=20, warmup_type="cosine", decay_type="linear", min_lr_ratio=0.1)),
    ("warmup_stable_decay", 6, 60, dict(num_decay_steps=20, warmup_type="1-sqrt", decay_type="1-sqrt", min_lr_ratio=0.2)),
    ("warmup_stable_decay", 3, 40, dict(num_decay_steps=9, num_stable_steps=11, decay_type="cosine")),
]
METRICS = [1.0, 0.9, 0.91, 0.92, 0.85, 0.86, 0.87, 0.88, 0.89, 0.8, 0.81, 0.82, 0.79, 0.78, 0.77, 0.76, 0.75, 0.9, 0.9, 0.9, 0.9, 0.9] * 4
ADAPTIVE = [
    ("reduce_lr_on_plateau", dict(patience=1, factor=0.5)),
    ("reduce_lr_on_plateau", dict(patience=0, mode="max", threshold=0.01, threshold_mode="abs", cooldown=2, min_lr=0.3)),
    ("greedy", dict(patience=1, factor=0.8, min_lr=0.2, max_lr=20.0)),
    ("greedy", dict(patience=0, factor=0.7, min_lr=2.0, max_lr=12.0, cooldown=1, warmup=2, smooth=True, window_size=3, reset_start=2)),
    ("greedy", dict(patience=0, factor=0.7, min_lr=2.0, mode="max", threshold_mode="rel")),
]


def schedules():
    found = []
    for name, warmup, total, options in SCHEDULES:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=10.0)
        scheduler = get_scheduler(name, optimizer, warmup, total, options or None)
        rates = []
        for _ in range(total + 3):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        found.append(dict(name=name, warmup=warmup, total=total, options=options, rates=rates))
    adaptive = []
    for name, options in ADAPTIVE:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=10.0)
        scheduler = get_scheduler(name, optimizer, scheduler_specific_kwargs=options)
        rates = []
        for metric in METRICS:
            scheduler.step(metric)
            rates.append(optimizer.param_groups[0]["lr"])
        adaptive.append(dict(name=name, options=options, rates=rates))
    return dict(**VERSIONS, lr=10.0, schedules=found, metrics=METRICS, adaptive=adaptive)


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, algorithm 2."""

    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                first, second = group["betas"]
                update = (first * m + (1 - first) * p.grad).sign()
                p.sub_(group["lr"] * (update + group["weight_decay"] * p))
                m.copy_(second * m + (1 - second) * p.grad)


class AdEMAMix(torch.optim.Optimizer):
    """Pagliardini et al. 2024, algorithm 1, with the schedules of its equations for alpha and the third beta."""

    def __init__(self, params, lr, betas, alpha, eps, weight_decay, t_alpha=None, t_beta3=None):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay))
        self.betas, self.alpha, self.eps, self.t_alpha, self.t_beta3, self.t = betas, alpha, eps, t_alpha, t_beta3, 0

    @torch.no_grad()
    def step(self):
        self.t += 1
        first, second, third = self.betas
        alpha = self.alpha if self.t_alpha is None else min(self.t * self.alpha / self.t_alpha, self.alpha)
        if self.t_beta3 is not None:
            a, b, share = math.log(first), math.log(third), self.t / self.t_beta3
            third = min(math.exp(a * b / ((1 - share) * b + share * a)), third)
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                fast = state.setdefault("fast", torch.zeros_like(p))
                slow = state.setdefault("slow", torch.zeros_like(p))
                square = state.setdefault("square", torch.zeros_like(p))
                fast.mul_(first).add_(p.grad, alpha=1 - first)
                slow.mul_(third).add_(p.grad, alpha=1 - third)
                square.mul_(second).addcmul_(p.grad, p.grad, value=1 - second)
                scale = (square / (1 - second**self.t)).sqrt() + self.eps
                update = (fast / (1 - first**self.t) + alpha * slow) / scale
                p.sub_(group["lr"] * (update + group["weight_decay"] * p))


def orthogonal(update, steps=5, coefficients=(3.4445, -4.7750, 2.0315)):
    a, b, c = coefficients
    x = update.T if update.shape[0] > update.shape[1] else update
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if update.shape[0] > update.shape[1] else x


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon in f32; what is no matrix goes to AdamW."""

    def __init__(self, params, lr, weight_decay, momentum=0.95):
        params = list(params)
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay))
        others = [p for p in params if p.ndim != 2]
        self.momentum, self.adamw = momentum, torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay)

    @torch.no_grad()
    def step(self):
        self.adamw.step()
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    continue
                buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - self.momentum)
                update = orthogonal(p.grad.lerp(buffer, self.momentum))
                rate = group["lr"] * math.sqrt(max(1, p.shape[0] / p.shape[1]))
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)


BETAS = dict(betas=(0.9, 0.95))
FIXED = dict(scale_parameter=False, relative_step=False)
OPTIMIZERS = {
    "adamw_torch": lambda p: torch.optim.AdamW(p, lr=LR, weight_decay=0.1, eps=1e-8, **BETAS),
    "adafactor": lambda p: Adafactor(p, lr=LR, weight_decay=0.1, **FIXED),
    "sgd": lambda p: torch.optim.SGD(p, lr=LR, weight_decay=0.1),
    "sgd momentum=0.9,nesterov=true": lambda p: torch.optim.SGD(p, lr=LR, momentum=0.9, nesterov=True, weight_decay=0.1),
    "sgd momentum=0.8,dampening=0.1": lambda p: torch.optim.SGD(p, lr=LR, momentum=0.8, dampening=0.1, weight_decay=0.1),
    "adagrad lr_decay=0.1": lambda p: torch.optim.Adagrad(p, lr=LR, lr_decay=0.1, weight_decay=0.1),
    "rmsprop momentum=0.9,alpha=0.9,centered=true": lambda p: torch.optim.RMSprop(p, lr=LR, momentum=0.9, alpha=0.9, centered=True, weight_decay=0.1),
    "lion_32bit": lambda p: Lion(p, LR, (0.9, 0.95), 0.1),
    "ademamix beta3=0.99,alpha=4,t_alpha=15,t_beta3=12": lambda p: AdEMAMix(p, LR, (0.9, 0.95, 0.99), 4.0, 1e-8, 0.1, 15, 12),
    "ademamix": lambda p: AdEMAMix(p, LR, (0.9, 0.95, 0.9999), 5.0, 1e-8, 0.1),
    "schedule_free_adamw": lambda p: schedulefree.AdamWScheduleFree(p, lr=LR, eps=1e-8, weight_decay=0.1, warmup_steps=4, **BETAS),
    "schedule_free_radam": lambda p: schedulefree.RAdamScheduleFree(p, lr=LR, eps=1e-8, weight_decay=0.1, **BETAS),
    "schedule_free_sgd": lambda p: schedulefree.SGDScheduleFree(p, lr=LR, weight_decay=0.1, warmup_steps=4),
    "muon": lambda p: Muon(p, LR, 0.1),
}


def optimizers():
    generator = torch.Generator().manual_seed(7)
    draw = lambda: {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    start, gradients = draw(), [draw() for _ in range(STEPS)]
    flat = lambda values: {name: [round(x, 9) for x in value.flatten().tolist()] for name, value in values.items()}
    results = {}
    for name, make in OPTIMIZERS.items():
        parameters = {key: torch.nn.Parameter(value.clone()) for key, value in start.items()}
        optimizer = make(list(parameters.values()))
        if hasattr(optimizer, "train"):
            optimizer.train()
        after = {}
        for step, gradient in enumerate(gradients, 1):
            for key, parameter in parameters.items():
                parameter.grad = gradient[key].clone()
            optimizer.step()
            if step in (1, 2, STEPS):
                after[step] = flat({key: value.detach() for key, value in parameters.items()})
        if hasattr(optimizer, "eval"):
            optimizer.eval()
            after["eval"] = flat({key: value.detach() for key, value in parameters.items()})
        results[name] = after
    return dict(**VERSIONS, lr=LR, shapes=SHAPES, start=flat(start), gradients=[flat(g) for g in gradients], after=results)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    for name, make in dict(arguments=arguments, schedules=schedules, optimizers=optimizers).items():
        (out / f"{name}.json").write_text(json.dumps(make(), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
