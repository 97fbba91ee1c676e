"""Parquet files of another writer, for the tests of crates/trainer.

pyarrow 26.0.1. Run: python golden_trainer_files.py ../../crates/trainer/tests/golden
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path(sys.argv[1])

MESSAGES = [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], []]

ROWS = pa.table({
    "text": ["first", "zweite ß"],
    "label": pa.array([1, None], pa.int32()),
    "score": [0.5, -2.0],
    "keep": [True, False],
    "ids": pa.array([[1, 2, 3], None], pa.list_(pa.int64())),
    "nested": pa.array([[[0.5], []], [[1.0, 2.0]]], pa.list_(pa.list_(pa.float32()))),
    "messages": pa.array(MESSAGES, pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    "kind": pa.array(["a", "a"]).dictionary_encode(),
})

OUT.mkdir(parents=True, exist_ok=True)
for compression in ["snappy", "gzip", "zstd"]:
    pq.write_table(ROWS, OUT / f"{compression}.parquet", compression=compression, store_schema=False)
