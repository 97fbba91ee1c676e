"""Golden values for reading GGUF, from the Python package `gguf` and the reference's loader.

Writes into crates/weights/tests/golden:
  gguf_blocks.safetensors  `<TYPE>.blocks` (three random blocks, u8) and `<TYPE>.values` (f32, dequantised); `heads.stored`
                           and `heads.restored`, the rows of a llama projection with three heads as a file holds them and
                           as the model does
  gguf_written.safetensors `file` (u8), a GGUF file that the package wrote, and `values`, the f32 in its tensors
  gguf_names.json          per architecture, the GGUF name of each parameter name

Pinned: transformers 5.23.0, gguf 0.19.0, numpy 2.3.5, safetensors 0.8.0.
"""

import json
import tempfile
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import save_file
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

OUT = Path(__file__).resolve().parents[2] / "crates/weights/tests/golden"

# Where the f16 scales of a block lie: random bits there would be infinite or not a number now and then.
TYPES = {
    T.F32: None,
    T.F16: [0],
    T.BF16: None,
    T.Q4_0: [0],
    T.Q4_1: [0, 2],
    T.Q5_0: [0],
    T.Q5_1: [0, 2],
    T.Q8_0: [0],
    T.Q4_K: [0, 2],
    T.Q5_K: [0, 2],
    T.Q6_K: [208],
    T.Q2_K: [80, 82],
    T.Q3_K: [108],
    T.IQ4_NL: [0],
    T.IQ4_XS: [0],
    T.MXFP4: [],
}
BLOCKS = 3


def blocks(rng, kind, scales):
    _, size = gguf.GGML_QUANT_SIZES[kind]
    if kind == T.F32:
        return rng.standard_normal(BLOCKS).astype(np.float32).view(np.uint8).reshape(BLOCKS, size)
    if kind == T.BF16:
        values = rng.standard_normal(BLOCKS).astype(np.float32)
        return gguf.quants.quantize(values, kind).view(np.uint8).reshape(BLOCKS, size)
    data = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    if kind == T.MXFP4:
        data[:, 0] = [0, 1, 130]  # two that are subnormal
    for offset in scales:
        scale = rng.standard_normal((BLOCKS, 1)).astype(np.float16)
        scale[0] = np.float16(3e-7)  # subnormal
        data[:, offset : offset + 2] = scale.view(np.uint8)
    return data


def write_blocks():
    rng = np.random.default_rng(2)
    tensors = {}
    for kind, scales in TYPES.items():
        data = blocks(rng, kind, scales)
        values = gguf.quants.dequantize(data, kind).reshape(-1)
        assert values.dtype == np.float32 and np.isfinite(values).all()
        tensors[f"{kind.name}.blocks"] = data.copy()
        tensors[f"{kind.name}.values"] = values.copy()
    tensors["heads.stored"] = rng.standard_normal((3 * 8, 4)).astype(np.float32)
    restored = LlamaTensorProcessor()._reverse_permute_weights(tensors["heads.stored"], 3, 3)
    tensors["heads.restored"] = np.ascontiguousarray(restored)
    save_file(tensors, OUT / "gguf_blocks.safetensors")


STEMS = ["model.embed_tokens", "model.norm", "lm_head"] + [
    f"model.layers.17.{stem}"
    for stem in [
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
        *(f"self_attn.{part}" for part in ["q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"]),
        *(f"mlp.{part}_proj" for part in ["gate", "up", "down"]),
    ]
]

MAMBA_STEMS = ["backbone.embeddings", "backbone.norm_f", "lm_head", "backbone.layers.17.norm"] + [
    f"backbone.layers.17.mixer.{part}" for part in ["in_proj", "conv1d", "x_proj", "dt_proj", "A_log", "D", "out_proj"]
]
LFM2_STEMS = ["model.embed_tokens", "model.embedding_norm", "lm_head"] + [
    f"model.layers.17.{stem}"
    for stem in [
        "operator_norm",
        "ffn_norm",
        *(f"conv.{part}" for part in ["conv", "in_proj", "out_proj"]),
        *(f"self_attn.{part}" for part in ["q_proj", "k_proj", "v_proj", "out_proj", "q_layernorm", "k_layernorm"]),
        *(f"feed_forward.w{part}" for part in [1, 2, 3]),
    ]
]
STEMS_OF = {name: STEMS for name in ["llama", "qwen2", "qwen3", "gemma3"]} | dict(mamba=MAMBA_STEMS, lfm2=LFM2_STEMS)


def write_names():
    architectures = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
    names = {}
    for name, stems in STEMS_OF.items():
        table = gguf.get_tensor_name_map(architectures[name], 18)
        pairs = {stem: table.get_name(stem) for stem in stems}
        names[name] = {stem: gguf_name for stem, gguf_name in pairs.items() if gguf_name is not None}
    (OUT / "gguf_names.json").write_text(json.dumps(names, indent=1) + "\n")


WRITTEN = {"f32": T.F32, "f16": T.F16, "bf16": T.BF16, "q8_0": T.Q8_0, "q4_0": T.Q4_0, "q5_0": T.Q5_0}


def write_written():
    values = np.random.default_rng(5).standard_normal((3, 64)).astype(np.float32)
    values[0, 32:] = 0
    values[1, :4] = [1e-8, -1e-8, 3.0, -3.0]  # the first of two extremes counts
    values[2, :32] *= 1e-6
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "written.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_uint32("llama.block_count", 1)
        writer.add_float32("llama.rope.freq_base", 1e4)
        writer.add_bool("tokenizer.ggml.add_bos_token", True)
        writer.add_array("tokenizer.ggml.tokens", ["a", "é"])
        writer.add_array("tokenizer.ggml.scores", [0.5, -1.0])
        writer.add_int8("some.i8", -1)
        writer.add_uint64("some.u64", 2**40)
        for name, kind in WRITTEN.items():
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        file = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    save_file({"file": file.copy(), "values": values}, OUT / "gguf_written.safetensors")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_blocks()
    write_names()
    write_written()
