"""Writes a Llama folder of safetensors as a GGUF file without a tokenizer, every matrix in one type."""

import json
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, LlamaFileType
from gguf.quants import quantize
from safetensors import safe_open

FILE_TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "bf16": LlamaFileType.MOSTLY_BF16,
    "f16": LlamaFileType.MOSTLY_F16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q4_0": LlamaFileType.MOSTLY_Q4_0,
    "q4_1": LlamaFileType.MOSTLY_Q4_1,
}


def write_llama(folder, file, type_name):
    config = json.loads((folder / "config.json").read_text())
    temporary = Path(f"{file}.tmp")
    writer = gguf.GGUFWriter(temporary, "llama")
    add_metadata(writer, config)
    writer.add_file_type(FILE_TYPES[type_name])

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    with safe_open(folder / "model.safetensors", "np") as tensors:
        for key in tensors.keys():
            tensor = tensors.get_tensor(key)
            for projection, count in heads.items():
                if projection in key:
                    tensor = interleave_halves(tensor, count)
            # Vectors (the norms) stay in f32.
            qtype = GGMLQuantizationType[type_name.upper()] if tensor.ndim > 1 else GGMLQuantizationType.F32
            name = names.get_name(key, try_suffixes=(".weight",))
            writer.add_tensor(name, quantize(tensor.astype(np.float32), qtype), raw_dtype=qtype)

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    temporary.rename(file)


def add_metadata(writer, config):
    heads = config["num_attention_heads"]
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")


def interleave_halves(weight, heads):
    """GGUF's Llama rotates neighbouring pairs of rows, the Hugging Face one the halves of a head."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
