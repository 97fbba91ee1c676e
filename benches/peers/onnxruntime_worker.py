"""onnxruntime as a worker of `cargo xtask bench`.   onnxruntime_worker.py THREADS"""

import sys
from functools import cache
from time import perf_counter

import numpy as np
import onnxruntime

from worker import SENTENCES, serve


@cache
def session(file):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(sys.argv[1])
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


@cache
def warm_session(file, batch, seq):
    opened = session(file)
    opened.run(None, inputs(batch, seq))
    return opened


def inputs(batch, seq):
    ids = np.random.randint(1, 30000, (batch, seq), dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def embed(model, batch, seq):
    opened, feed = warm_session(model, batch, seq), inputs(batch, seq)
    start = perf_counter()
    for _ in range(SENTENCES // batch):
        opened.run(None, feed)
    return SENTENCES / (perf_counter() - start)


if __name__ == "__main__":
    serve(f"onnxruntime {onnxruntime.__version__}", {"embed": embed})
