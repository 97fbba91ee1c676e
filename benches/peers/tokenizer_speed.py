"""Our tokenizers beside the reference's, in turns: loading, a batch, and a short text.

    cargo build --release --package transformers-tokenization --example speed
    python benches/peers/tokenizer_speed.py target/release/examples/speed FOLDER …

Each FOLDER has a tokenizer.json. The texts are documentation and code that come with Python. Both sides use all cores
(TOKENIZERS_PARALLELISM=false: one); medians over the rounds are shown, and ours divided by the reference's.
"""

import argparse
import json
import os
import pydoc_data.topics
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHORT = "What is the capital of France?"
REFERENCE = "--reference"


def texts():
    """About four megabytes, in texts of some two thousand characters."""
    whole = "\n\n".join(pydoc_data.topics.topics[topic] for topic in sorted(pydoc_data.topics.topics))
    for path in sorted(Path(os.__file__).parent.glob("*.py")):
        whole += path.read_text(encoding="utf-8", errors="ignore")
    whole = whole[:4_000_000]
    return [whole[start:start + 2000] for start in range(0, len(whole), 2000)]


def best(runs, run):
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def reference(folder, file):
    """What examples/speed.rs does, by the reference."""
    from transformers import AutoTokenizer

    batch = json.loads(Path(file).read_text())
    start = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    load = time.perf_counter() - start
    tokens = sum(map(len, tokenizer(batch)["input_ids"]))
    seconds = best(3, lambda: tokenizer(batch))
    latency = best(3, lambda: [tokenizer(SHORT) for _ in range(2000)]) / 2000
    print(json.dumps({"load": load, "batch": seconds, "latency": latency, "tokens": tokens}))


def measure(command):
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    batch = texts()
    megabytes = sum(len(text.encode()) for text in batch) / 1e6
    with tempfile.TemporaryDirectory() as scratch:
        file = f"{scratch}/texts.json"
        Path(file).write_text(json.dumps(batch))
        for folder in arguments.folders:
            ours, theirs = [], []
            for _ in range(arguments.rounds):
                ours.append(measure([arguments.binary, folder, file]))
                theirs.append(measure([sys.executable, __file__, REFERENCE, folder, file]))
            assert {round["tokens"] for round in ours} == {round["tokens"] for round in theirs}, "the ids differ"
            median = lambda rounds, key: statistics.median(round[key] for round in rounds)
            rate, other = (megabytes / median(rounds, "batch") for rounds in (ours, theirs))
            print(f"{folder}\n  batch    {rate:8.2f} MB/s   {other:8.2f} MB/s   {rate / other:.2f}x")
            for key, scale, unit in (("latency", 1e6, "µs"), ("load", 1e3, "ms")):
                mine, other = median(ours, key), median(theirs, key)
                print(f"  {key:8} {mine * scale:8.1f} {unit:6} {other * scale:8.1f} {unit:6} {mine / other:.2f}x", flush=True)


if sys.argv[1:2] == [REFERENCE]:
    reference(*sys.argv[2:])
else:
    main()
