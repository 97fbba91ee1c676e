"""Golden values for writing Q4_K, from llama.cpp's llama-quantize (benches/peers/build_llamacpp.sh builds it).

    python tests/oracle/llama_quantize.py PATH/llama-quantize

Writes crates/weights/tests/golden/q4_k.safetensors: `values` (f32, rows of 512) and `blocks` (u8), what llama-quantize
makes of them without an importance matrix.

Pinned: llama.cpp of llama-cpp-python 0.3.36, gguf 0.19.0, numpy 2.3.5, safetensors 0.8.0.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

OUT = Path(__file__).resolve().parents[2] / "crates/weights/tests/golden/q4_k.safetensors"
ROWS, COLS = 8, 512
TENSOR = "blk.0.ffn_down.weight"


def values():
    rng = np.random.default_rng(3)
    values = rng.standard_normal((ROWS, COLS)).astype(np.float32)
    values[:3] *= 0.02  # as weights are
    values[3] = rng.standard_t(2, COLS)  # with outliers
    values[4] = np.abs(values[4]) + 1  # above zero
    values[5, :256] = 0  # a block of zeros, then parts of one value each
    values[5, 256:288] = 0.25
    values[5, 288:320] = -0.25
    values[6] *= 1e-6
    values[7, ::32] *= 1000
    return values


def write_model(path, values):
    writer = gguf.GGUFWriter(path, "llama")
    for key, number in {
        "context_length": 16,
        "embedding_length": ROWS,
        "block_count": 1,
        "feed_forward_length": COLS,
        "attention.head_count": 1,
        "vocab_size": 4,
    }.items():
        writer.add_uint32(f"llama.{key}", number)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", "a"])
    writer.add_token_scores([0.0] * 4)
    writer.add_token_types([2, 3, 3, 1])
    writer.add_tensor(TENSOR, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(quantize):
    tensor = values()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "f32.gguf", Path(folder) / "q4_k.gguf"
        write_model(source, tensor)
        subprocess.run([quantize, "--pure", source, target, "Q4_K"], check=True, stdout=subprocess.DEVNULL)
        (read,) = [tensor for tensor in gguf.GGUFReader(target).tensors if tensor.name == TENSOR]
        assert read.tensor_type == gguf.GGMLQuantizationType.Q4_K
        blocks = np.array(read.data, dtype=np.uint8)
    save_file({"values": tensor, "blocks": blocks}, OUT)


if __name__ == "__main__":
    main(sys.argv[1])
