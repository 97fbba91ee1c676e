"""Loading and saving beside Python transformers: seconds and the most memory that a process holds, against the targets.

    python benches/peers/load_save.py BINARY DIR [--rounds N] [--threads N] [--scratch FOLDER]

BINARY is the release build of `transformers`, DIR what `make_load_models.py` wrote (or any folder of folders with causal
models in safetensors). Every measurement is a process of its own, in turns after one that does not count, and the medians
are reported.

load    from the files in the page cache to the logits of one token; imports and the start of the process do not count
save    a checkpoint written to a new folder: ours reads and writes it (`convert`, the whole process), Python's
        `save_pretrained` writes what was loaded before
memory  the most of the whole process, mapped files included
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

# Ours by theirs: seconds to load, memory, seconds to save.
TARGETS = {"dense": (0.2, 0.6, 1.0), "moe": (0.5, 0.9, 1.0)}

PYTHON = """
import sys, json, torch
from time import perf_counter
from transformers import AutoModelForCausalLM, logging
logging.disable_progress_bar()
folder, threads, target = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(threads)
begin = perf_counter()
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
if target:
    begin = perf_counter()
    model.save_pretrained(target)
else:
    with torch.no_grad():
        model(torch.tensor([[1]]), logits_to_keep=1)
print(json.dumps(perf_counter() - begin))
"""


def measure(command):
    """What the process printed, how long it ran, and the most memory it held, in MB."""
    begin = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    printed, told = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command} failed: {told.decode()[-2000:]}")
    return printed, perf_counter() - begin, usage.ru_maxrss * 1024 / 1e6


def ours(arguments, folder, target):
    if target:
        _, seconds, memory = measure([arguments.binary, "convert", folder, target])
        return seconds, memory
    options = ["-p", "1", "-n", "0", "-r", "1", "-o", "json", "--threads", str(arguments.threads)]
    printed, _, memory = measure([arguments.binary, "bench", "--model", folder, *options])
    return json.loads(printed)[0]["first_forward_ms"] / 1000, memory


def python(arguments, folder, target):
    printed, _, memory = measure([sys.executable, "-c", PYTHON, folder, str(arguments.threads), target])
    return json.loads(printed.splitlines()[-1]), memory


def medians(arguments, folder, save):
    """Seconds and memory of each engine, measured in turns."""
    results = {ours: [], python: []}
    for turn in range(arguments.rounds + 1):
        for engine, measured in results.items():
            with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
                result = engine(arguments, str(folder), os.path.join(scratch, "saved") if save else "")
                if turn:
                    measured.append(result)
    return [[statistics.median(column) for column in zip(*measured)] for measured in results.values()]


def read_into_cache(folder):
    for file in folder.glob("*.safetensors"):
        with open(file, "rb") as source, open(os.devnull, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 24)


def ratio(ours, theirs, target):
    """The two, their ratio, and whether it is what it should be."""
    verdict = "" if target is None else f" {'≤' if ours <= target * theirs else '> MISSED'} {target}"
    return f"{ours:.3f} | {theirs:.3f} | {ours / theirs:.2f}{verdict}"


def rows(arguments, folder):
    kind = "moe" if "num_experts" in json.loads((folder / "config.json").read_text()) else "dense"
    load_target, memory_target, save_target = TARGETS[kind]
    read_into_cache(folder)
    for what in [arguments.only] if arguments.only else ["load", "save"]:
        (seconds, memory), (theirs, their_memory) = medians(arguments, folder, what == "save")
        times = ratio(seconds, theirs, save_target if what == "save" else load_target)
        sizes = ratio(memory, their_memory, None if what == "save" else memory_target)
        yield f"| {what} {folder.name} | {times} | {sizes} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("models", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["load", "save"])
    parser.add_argument("--scratch", help="where saved folders go for a moment")
    arguments = parser.parse_args()
    print("| | seconds | Python | ratio | MB | Python | ratio |\n|---|---|---|---|---|---|---|")
    for folder in sorted(folder for folder in arguments.models.iterdir() if (folder / "config.json").exists()):
        for row in rows(arguments, folder):
            print(row, flush=True)


if __name__ == "__main__":
    main()
