"""Loading and saving beside Python transformers: seconds and the most memory that a process holds.

    python benches/peers/load_save.py BINARY FOLDER... [--rounds N] [--threads N]

BINARY is the release build of `transformers`, each FOLDER a causal model in safetensors. Every measurement is a process of
its own, in turns, and the medians are reported.

load    from the files in the page cache to the logits of one token; imports and the start of the process do not count
save    a loaded checkpoint written to a new folder: ours reads and writes (`convert`), Python's `save_pretrained` writes
        what it has loaded before
memory  of the whole process, mapped files included
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
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command} failed")
    return printed, perf_counter() - begin, usage.ru_maxrss / 1000


def ours(arguments, folder, target):
    threads = str(arguments.threads)
    if target:
        _, seconds, memory = measure([arguments.binary, "convert", folder, target])
        return seconds, memory
    options = ["-p", "1", "-n", "0", "-r", "1", "-o", "json", "--threads", threads]
    printed, _, memory = measure([arguments.binary, "bench", "--model", folder, *options])
    return json.loads(printed)[0]["first_forward_ms"] / 1000, memory


def python(arguments, folder, target):
    command = [sys.executable, "-c", PYTHON, folder, str(arguments.threads), target]
    printed, _, memory = measure(command)
    return json.loads(printed.splitlines()[-1]), memory


def row(arguments, folder, save):
    """Medians of each engine, measured in turns."""
    results = {ours: [], python: []}
    for _ in range(arguments.rounds):
        for engine, measured in results.items():
            with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
                measured.append(engine(arguments, folder, os.path.join(scratch, "saved") if save else ""))
    return [[statistics.median(column) for column in zip(*measured)] for measured in results.values()]


def read_into_cache(folder):
    for file in Path(folder).glob("*.safetensors"):
        with open(file, "rb") as source, open(os.devnull, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 24)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["load", "save"])
    parser.add_argument("--scratch", help="where saved folders go for a moment")
    arguments = parser.parse_args()
    print("| | seconds | Python | ratio | memory, MB | Python | ratio |\n|---|---|---|---|---|---|---|")
    for folder in arguments.folders:
        read_into_cache(folder)
        for what in [arguments.only] if arguments.only else ["load", "save"]:
            (seconds, memory), (theirs, their_memory) = row(arguments, folder, what == "save")
            times = f"{seconds:.3f} | {theirs:.3f} | {seconds / theirs:.2f}"
            sizes = f"{memory:.0f} | {their_memory:.0f} | {memory / their_memory:.2f}"
            print(f"| {what} {Path(folder).name} | {times} | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
