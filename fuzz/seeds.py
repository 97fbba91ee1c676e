"""What the fuzz targets begin with: sound files of each kind, and a few that are not.

    python fuzz/seeds.py

Writes fuzz/corpus. Inputs that the fuzzer found, once mended, lie beside them.

Pinned: torch 2.15.0, gguf 0.19.0, numpy 2.3.5, safetensors 0.8.0.
"""

import io
import json
import os
import pickle
import struct
import tempfile
import zipfile
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T
from safetensors.numpy import save

CORPUS = Path(__file__).resolve().parent / "corpus"
TOKENIZERS = CORPUS.parents[1] / "crates/tokenization/tests/golden"


def put(target, name, content):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(content)


def safetensors():
    def raw(header, data=b""):
        return struct.pack("<Q", len(header)) + header + data

    pair = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.uint8)}
    put("safetensors", "two_tensors", save(pair, {"format": "pt"}))
    half = {"layers.0.w": np.ones((2, 2), np.float16), "s": np.array(3, np.int64)}
    put("safetensors", "half_and_scalar", save(half))
    put("safetensors", "empty", raw(b"{}"))
    put("safetensors", "float8", raw(b'{"w":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]}}', b"abc"))
    put("safetensors", "overflow", raw(b'{"w":{"dtype":"F32","shape":[9223372036854775807,3],"data_offsets":[0,0]}}'))


def index():
    two = {"metadata": {"total_size": 2}, "weight_map": {"a": "a", "b": "b"}}
    put("index", "two_shards", json.dumps(two).encode())
    put("index", "outside", b'{"weight_map":{"a":"../a"}}')
    put("index", "twice", b'{"weight_map":{"a":"a","a":"b"}}')
    put("index", "missing", b'{"weight_map":{"a":"c"}}')


def gguf_model(architecture, tensors):
    numbers = {
        "block_count": 1,
        "context_length": 16,
        "embedding_length": 32,
        "feed_forward_length": 64,
        "attention.head_count": 2,
        "attention.head_count_kv": 1,
    }
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        for key, number in numbers.items():
            writer.add_uint32(f"{architecture}.{key}", number)
        writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-5)
        writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
        writer.add_array("tokenizer.ggml.scores", [0.0, -1.0])
        for name, shape, kind in tensors:
            values = rng.standard_normal(shape).astype(np.float32)
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        put("gguf", architecture, path.read_bytes())


def every_block():
    """One block of each format, of random bytes."""
    sizes = gguf.GGML_QUANT_SIZES
    kinds = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K]
    kinds += [T.Q2_K, T.Q3_K, T.IQ4_NL, T.IQ4_XS, T.MXFP4]
    rng = np.random.default_rng(1)

    def text(text):
        return struct.pack("<Q", len(text)) + text.encode()

    header = b"GGUF" + struct.pack("<IQQ", 3, len(kinds), 1)
    header += text("general.architecture") + struct.pack("<I", 8) + text("qwen2")
    data = b""
    for layer, kind in enumerate(kinds):
        length, size = sizes[kind]
        header += text(f"blk.{layer}.ffn_up.weight")
        header += struct.pack("<IQQIQ", 2, length, 1, kind, len(data))
        data += rng.integers(0, 256, size, dtype=np.uint8).tobytes()
        data += bytes(-len(data) % 32)
    put("gguf", "every_block", header + bytes(-len(header) % 32) + data)


def pickles():
    def saved(value, **options):
        file = io.BytesIO()
        torch.save(value, file, **options)
        return file.getvalue()

    def pickle_of(archive):
        archive = zipfile.ZipFile(io.BytesIO(archive))
        (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        return archive.read(name)

    archive = saved({"a": torch.arange(4.0).reshape(2, 2), "b": torch.ones(3, dtype=torch.bfloat16)})
    put("pickle", "archive", archive)
    put("pickle", "pickle_of_an_archive", pickle_of(archive))
    nested = {"a": torch.arange(4.0).t(), "n": {"m": torch.zeros(2, dtype=torch.int64)}}
    put("pickle", "legacy", saved(nested, _use_new_zipfile_serialization=False))
    put("pickle", "state_dict", pickle_of(saved(torch.nn.Linear(2, 2).state_dict())))
    put("pickle", "hostile", pickle.dumps(os.system, 2))


def vocabularies():
    """Files of before there was tokenizer.json; the seeds of the other tokenizers were written by hand."""
    put("vocabulary", "ranks", (TOKENIZERS / "auto/tiktoken/tiktoken.model").read_bytes())
    put("vocabulary", "ids", (TOKENIZERS / "auto/gpt2/vocab.json").read_bytes())
    put("vocabulary", "lines", (TOKENIZERS / "auto/bert/vocab.txt").read_bytes())
    for version in ("v3", "v7", "v13"):
        tekken = json.loads((TOKENIZERS / f"mistral/tekken_{version}/tekken.json").read_text())
        tekken["vocab"] = [{"token_bytes": entry["token_bytes"]} for entry in tekken["vocab"][:280]]
        tekken["config"]["default_vocab_size"] = 280 + tekken["config"]["default_num_special_tokens"]
        for token in tekken.get("special_tokens") or []:
            token.pop("is_control", None)
        put("vocabulary", f"tekken_{version}", json.dumps(tekken, separators=(",", ":")).encode())


if __name__ == "__main__":
    safetensors()
    index()
    llama = [
        ("token_embd.weight", (2, 32), T.Q8_0),
        ("blk.0.attn_q.weight", (4, 32), T.F16),
        ("blk.0.attn_k.weight", (4, 32), T.Q4_0),
        ("output_norm.weight", 32, T.F32),
        ("rope_freqs.weight", 8, T.F32),
    ]
    gguf_model("llama", llama)
    gguf_model("gemma3", [("token_embd.weight", (2, 32), T.Q5_1), ("output_norm.weight", 32, T.F32)])
    fused, experts = ("blk.0.attn_qkv.weight", (16, 32), T.Q8_0), ("blk.0.ffn_up_exps.weight", (3, 4, 32), T.Q4_0)
    gguf_model("bloom", [fused, ("blk.0.attn_qkv.bias", 16, T.F32)])
    gguf_model("gpt2", [("blk.0.ffn_up.weight", (8, 32), T.Q8_0)])
    gguf_model("qwen2moe", [experts, ("blk.0.ffn_gate_inp_shexp.weight", 32, T.F32)])
    factors = ("rope_factors_long.weight", 8, T.F32), ("rope_factors_short.weight", 8, T.F32)
    gguf_model("phi3", [*factors, ("token_embd.weight", (2, 32), T.F16)])
    every_block()
    pickles()
    vocabularies()
