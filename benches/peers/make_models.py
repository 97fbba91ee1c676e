"""Writes the models that every engine is measured on: random weights at real shapes, the same weights in every form.

    make_models.py DIR

DIR/smollm2-135m-{f32,bf16,f16}/    Hugging Face folders
DIR/smollm2-135m-{f32,...,q4_1}.gguf
DIR/minilm-l6-f32/, DIR/minilm-l6.onnx

There is no tokenizer: speed does not depend on the text. What exists is kept.
"""

import sys
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

import gguf_file
import onnx_file

FOLDER_TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
GGUF_TYPES = ["f32", "bf16", "f16", "q8_0", "q4_0", "q4_1"]

SMOLLM2 = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    tie_word_embeddings=True,
    rms_norm_eps=1e-5,
    rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    bos_token_id=0,
    eos_token_id=0,
)
MINILM = BertConfig(
    vocab_size=30522,
    hidden_size=384,
    intermediate_size=1536,
    num_hidden_layers=6,
    num_attention_heads=12,
    max_position_embeddings=512,
)


def random_weights(architecture, config):
    torch.manual_seed(0)
    return architecture(config).eval()


def make_smollm2(models):
    folders = {name: models / f"smollm2-135m-{name}" for name in FOLDER_TYPES}
    if not all((folder / "model.safetensors").exists() for folder in folders.values()):
        for name, dtype in FOLDER_TYPES.items():
            model = random_weights(LlamaForCausalLM, SMOLLM2)
            model.to(dtype).save_pretrained(folders[name])
    for name in GGUF_TYPES:
        file = models / f"smollm2-135m-{name}.gguf"
        if not file.exists():
            gguf_file.write_llama(folders["f32"], file, name)


def make_minilm(models):
    folder, onnx = models / "minilm-l6-f32", models / "minilm-l6.onnx"
    if not (folder / "model.safetensors").exists():
        random_weights(BertModel, MINILM).save_pretrained(folder)
    if not onnx.exists():
        onnx_file.export_encoder(folder, onnx)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    models = Path(sys.argv[1])
    models.mkdir(parents=True, exist_ok=True)
    make_smollm2(models)
    make_minilm(models)
    for path in sorted(models.iterdir()):
        file = path / "model.safetensors" if path.is_dir() else path
        print(f"{file.stat().st_size / 1e6:7.1f} MB  {path.name}")
