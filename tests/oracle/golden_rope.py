"""Frequencies of every rope type from the reference, for crates/config/tests/rope.rs.

transformers 5.23.0, torch 2.15.0. Run: python golden_rope.py ../../crates/config/tests/golden/rope.json
"""

import json
import sys

from transformers import LlamaConfig, PhiConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.phi.modeling_phi import PhiRotaryEmbedding

# (rope_parameters, head_dim, max_position_embeddings, sequence lengths)
CASES = [
    ({"rope_type": "default", "rope_theta": 10000.0}, 16, 2048, [0]),
    ({"rope_type": "default", "rope_theta": 500000.0}, 128, 2048, [0]),
    ({"rope_type": "default", "rope_theta": 1000000.0, "partial_rotary_factor": 0.4}, 80, 2048, [0]),
    ({"rope_type": "linear", "rope_theta": 10000.0, "factor": 8.0}, 16, 2048, [0]),
    ({"rope_type": "linear", "rope_theta": 1000000.0, "factor": 3.7}, 64, 2048, [0]),
    ({"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}, 16, 2048, [0, 2048, 2049, 5000]),
    ({"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 10.0}, 128, 2048, [16384]),
    ({"rope_type": "dynamic", "rope_theta": 25000.0, "factor": 4.0, "partial_rotary_factor": 0.5}, 32, 64, [63, 1000]),
    ({"rope_type": "yarn", "rope_theta": 10000.0, "factor": 10.0}, 128, 2048, [0]),
    ({"rope_type": "yarn", "rope_theta": 150000.0, "factor": 32.0, "original_max_position_embeddings": 4096,
      "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False}, 64, 131072, [0]),
    ({"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0, "original_max_position_embeddings": 4096,
      "mscale": 1.0, "mscale_all_dim": 0.707}, 64, 163840, [0]),
    ({"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 512,
      "attention_factor": 0.5, "beta_fast": 20.0, "beta_slow": 2.5}, 32, 2048, [0]),
    ({"rope_type": "yarn", "rope_theta": 10000.0, "factor": 1.0}, 16, 64, [0]),
    ({"rope_type": "yarn", "rope_theta": 10000.0, "factor": None, "original_max_position_embeddings": 256},
     32, 2048, [0]),
    ({"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 1024,
      "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.45, 1.6, 2.0],
      "long_factor": [1.0, 1.5, 2.0, 3.0, 5.0, 9.0, 17.0, 33.0]}, 16, 8192, [0, 1024, 1025, 8192]),
    ({"rope_type": "longrope", "rope_theta": 50000.0, "original_max_position_embeddings": 1024, "factor": 0.5,
      "short_factor": [1.0, 1.0, 1.0, 1.0], "long_factor": [2.0, 2.0, 2.0, 2.0]}, 8, 8192, [2000]),
    ({"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 1024, "factor": 16.0,
      "attention_factor": 1.3, "partial_rotary_factor": 0.5,
      "short_factor": [1.0, 2.0], "long_factor": [3.0, 4.0]}, 8, 8192, [1, 2000]),
    ({"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192}, 128, 131072, [0]),
    ({"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 8192}, 64, 131072, [0]),
    ({"rope_type": "llama3", "rope_theta": 10000.0, "factor": 10.0, "low_freq_factor": 1.5, "high_freq_factor": 7.0,
      "original_max_position_embeddings": 512, "partial_rotary_factor": 0.5}, 64, 2048, [0]),
    ({"rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": 0.25}, 32, 2048, [0]),
    ({"rope_type": "proportional", "rope_theta": 10000.0, "partial_rotary_factor": 0.7, "factor": 8.0}, 24, 2048, [0]),
    ({"rope_type": "proportional", "rope_theta": 10000.0}, 16, 2048, [0]),
]


def frequencies(rope, head_dim, max_length, seq_len):
    sizes = dict(hidden_size=4 * head_dim, num_attention_heads=4, max_position_embeddings=max_length)
    if rope["rope_type"] == "default":
        # The default formula lives in the model files; phi's knows partial rotation, of which phi's own default is .5.
        config = PhiConfig(rope_parameters={"partial_rotary_factor": 1.0, **rope}, **sizes)
        return PhiRotaryEmbedding.compute_default_rope_parameters(config)
    config = LlamaConfig(head_dim=head_dim, rope_parameters=dict(rope), **sizes)
    return ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, "cpu", seq_len=seq_len or None)


golden = []
for rope, head_dim, max_length, lengths in CASES:
    for seq_len in lengths:
        inv_freq, attention_factor = frequencies(rope, head_dim, max_length, seq_len)
        golden.append({
            "rope_parameters": rope,
            "head_dim": head_dim,
            "max_position_embeddings": max_length,
            "seq_len": seq_len,
            "attention_factor": attention_factor,
            # Nine digits tell any two f32 apart.
            "inv_freq": [float(f"{frequency:.9g}") for frequency in inv_freq.tolist()],
        })
with open(sys.argv[1], "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(case) for case in golden) + "\n]\n")
