"""GGUF files of whole models, each made of a committed case and read back by the reference.

Writes tests/golden/gguf/<architecture>.gguf (and <architecture>_<case>.gguf of a second case). A file holds the case's
tensors as llama.cpp's converter stores them, written by the package `gguf`; names come from its tables. Where the reference
reads the architecture (NOT_READ says where it does not), its loader must give the case's own tensors. A file of another
converter (OLD) is as a former one stored them.

Pinned: transformers 5.23.0, gguf 0.19.0, numpy 2.3.5, safetensors 0.8.0.
"""

import json
import re
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file
from tiny import torch  # first: it sets the environment of the reference

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CASES, OUT = ROOT / "tests/cases", ROOT / "tests/golden/gguf"

# the file's name, the case, the architecture
FILES = [
    ("bloom", "bloom", "bloom"),
    ("deepseek2", "deepseek_v2", "deepseek2"),
    ("deepseek2_v3", "deepseek_v3", "deepseek2"),
    ("deepseek2_groups", "deepseek_v2_groups", "deepseek2"),
    ("deepseek2_absorbed", "deepseek_v2_groups", "deepseek2"),
    ("deepseek2_v3_absorbed", "deepseek_v3", "deepseek2"),
    ("ernie4_5", "ernie4_5", "ernie4_5"),
    ("ernie4_5-moe", "ernie4_5_moe", "ernie4_5-moe"),
    ("falcon", "falcon", "falcon"),
    ("falcon_40b", "falcon_40b", "falcon"),
    ("falcon_mamba", "falcon_mamba", "mamba"),
    ("gemma2", "gemma2", "gemma2"),
    ("gemma3", "gemma3_text", "gemma3"),
    ("glm4moe", "glm4_moe", "glm4moe"),
    ("glm4moe_qk_norm", "glm4_moe_qk_norm", "glm4moe"),
    ("gpt-oss", "gpt_oss", "gpt-oss"),
    ("gpt2", "gpt2", "gpt2"),
    ("granite", "granite_bias", "granite"),
    ("granitemoe", "granitemoe", "granitemoe"),
    ("granitemoe_bias", "granitemoe_bias", "granitemoe"),
    ("lfm2", "lfm2", "lfm2"),
    ("llama", "llama", "llama"),
    ("mamba", "mamba", "mamba"),
    ("minimax-m2", "minimax_m2", "minimax-m2"),
    ("nemotron", "nemotron", "nemotron"),
    ("olmoe", "olmoe", "olmoe"),
    ("phi3", "phi3", "phi3"),
    ("phi3_longrope", "phi3_longrope", "phi3"),
    ("qwen2", "qwen2", "qwen2"),
    ("qwen2moe", "qwen2_moe", "qwen2moe"),
    ("qwen3", "qwen3", "qwen3"),
    ("qwen3moe", "qwen3_moe", "qwen3moe"),
    ("qwen3next", "qwen3_next_key_heads", "qwen3next"),
    ("qwen3next_old", "qwen3_next", "qwen3next"),
    ("seed_oss", "seed_oss", "seed_oss"),
    ("stablelm", "stablelm", "stablelm"),
    ("stablelm_parallel", "stablelm_parallel", "stablelm"),
    ("starcoder2", "starcoder2", "starcoder2"),
    ("t5", "t5", "t5"),
    ("t5_gated", "t5_gated", "t5"),
    ("umt5", "umt5", "t5"),
]

# Files as converters wrote them before attention was absorbed, and before the projections of linear attention were parted.
OLD = {"deepseek2", "deepseek2_v3", "deepseek2_groups", "qwen3next_old"}

# What the reference's loader does not do, by file: it takes `attn_qkv` of grouped heads as it is; leaves out the experts
# and the sinks of gpt-oss; knows no norms of heads in stablelm; does not find falcon_mamba, which calls itself mamba; and
# does not know these architectures.
UNKNOWN = {"deepseek2", "ernie4_5", "ernie4_5-moe", "glm4moe", "granite", "granitemoe", "olmoe", "qwen3next", "seed_oss"}
NOT_READ = {"falcon_40b", "falcon_mamba", "gpt-oss", "minimax-m2", "stablelm_parallel"}

# Stems that the package's tables of names have in another spelling.
RENAMED = [
    (r"^transformer\.(word_embeddings_layernorm|h\.\d+\.post_attention_layernorm)", r"\1"),
    (r"\.layernorm\.norms$", ".layernorm"),
    (r"\.e_score_correction_bias$", ".e_score_correction"),
    (r"\.dt_bias$", ".dt_proj"),
]


EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


class Writer:
    def __init__(self, path, architecture, config, tensors):
        self.config, self.architecture = config, architecture
        self.tensors, self.old = tensors, path.stem in OLD
        self.names = gguf.get_tensor_name_map({n: a for a, n in gguf.MODEL_ARCH_NAMES.items()}[architecture], 8)
        self.out = gguf.GGUFWriter(path, architecture)
        self.head_count = config.get("num_attention_heads") or config.get("n_head") or config.get("num_heads")
        self.hidden = config.get("hidden_size") or config.get("n_embd") or config.get("d_model")
        self.key_heads = config.get("num_key_value_heads") or self.head_count
        if config["model_type"] == "falcon":
            self.key_heads = config["num_kv_heads"] if config["new_decoder_architecture"] else 1

    def metadata(self):
        self.out.add_name("tiny")
        if self.architecture == "mamba":
            self.mamba()
        else:
            self.transformer()
        self.tokens()

    def mamba(self):
        config, out = self.config, self.out
        out.add_context_length(2**20)
        out.add_embedding_length(self.hidden)
        out.add_feed_forward_length(0)
        out.add_head_count(0)
        out.add_block_count(config["num_hidden_layers"])
        out.add_ssm_conv_kernel(config["conv_kernel"])
        out.add_ssm_inner_size(config["intermediate_size"])
        out.add_ssm_state_size(config["state_size"])
        out.add_ssm_time_step_rank(config["time_step_rank"])
        out.add_layer_norm_rms_eps(config["layer_norm_epsilon"])
        out.add_ssm_dt_b_c_rms(config["model_type"] == "falcon_mamba")

    def transformer(self):
        config, out = self.config, self.out
        out.add_context_length(config.get("max_position_embeddings") or config.get("n_positions") or 512)
        out.add_embedding_length(self.hidden)
        out.add_block_count(config.get("num_hidden_layers") or config.get("n_layer") or config.get("num_layers"))
        inner = config.get("intermediate_size") or config.get("ffn_hidden_size") or config.get("n_inner") or config.get("d_ff")
        adjusted = self.tensors.get("model.layers.0.feed_forward.w1.weight")
        out.add_feed_forward_length(len(adjusted) if adjusted is not None else inner or 4 * self.hidden)
        out.add_head_count(self.head_count)
        absorbed = "kv_lora_rank" in config and not self.old
        if "conv_L_cache" in config:
            out.add_shortconv_l_cache(config["conv_L_cache"])
            out.add_layer_norm_rms_eps(config["norm_eps"])
            out.add_head_count_kv([0 if kind == "conv" else self.key_heads for kind in config["layer_types"]])
        else:
            out.add_head_count_kv(1 if absorbed else self.key_heads)
        if "rms_norm_eps" in config:
            out.add_layer_norm_rms_eps(config["rms_norm_eps"])
        for key in ["layer_norm_epsilon", "layer_norm_eps", "norm_eps", "norm_epsilon"]:
            if key in config and self.architecture != "lfm2":
                out.add_layer_norm_eps(config[key])
        head_dim = config.get("head_dim") or config.get("d_kv") or self.hidden // self.head_count
        if "kv_lora_rank" in config:
            head_dim = self.latent_attention(absorbed)
        else:
            out.add_key_length(head_dim)
            out.add_value_length(head_dim)
        self.rope(head_dim)
        if config.get("sliding_window"):
            out.add_sliding_window(config["sliding_window"])
        if config.get("final_logit_softcapping"):
            out.add_final_logit_softcapping(config["final_logit_softcapping"])
        if config.get("attn_logit_softcapping"):
            out.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        experts = next((config[key] for key in EXPERT_COUNTS if config.get(key)), None)
        if experts:
            out.add_expert_count(experts)
            out.add_expert_used_count(config.get("num_experts_per_tok") or config["moe_k"])
            self.groups_of_experts()
            out.add_expert_feed_forward_length(config.get("moe_intermediate_size") or inner)
            if "shared_expert_intermediate_size" in config:
                out.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
        if "embedding_multiplier" in config:
            out.add_embedding_scale(config["embedding_multiplier"])
            out.add_residual_scale(config["residual_multiplier"])
            out.add_attention_scale(config["attention_multiplier"])
            out.add_logit_scale(config["logits_scaling"])
        if "linear_num_key_heads" in config:
            self.linear_attention()
        if "d_kv" in config:
            out.add_relative_attn_buckets_count(config["relative_attention_num_buckets"])
            out.add_decoder_start_token_id(config["decoder_start_token_id"])
            out.add_uint32("t5.decoder_block_count", config["num_decoder_layers"])

    def tokens(self):
        config, out = self.config, self.out
        out.add_tokenizer_model("gpt2")
        out.add_token_list([f"t{index}" for index in range(config["vocab_size"])])
        for name, add in [("bos", out.add_bos_token_id), ("eos", out.add_eos_token_id), ("pad", out.add_pad_token_id)]:
            value = config.get(f"{name}_token_id")
            if isinstance(value, int):
                add(value)

    def latent_attention(self, absorbed):
        """The sizes of heads, which are those of the latent vector where attention is absorbed; the part that rotates."""
        config, out = self.config, self.out
        whole, rank = config["qk_nope_head_dim"] + config["qk_rope_head_dim"], config["kv_lora_rank"]
        if absorbed:
            out.add_key_length_mla(whole)
            out.add_value_length_mla(config["v_head_dim"])
        out.add_key_length(rank + config["qk_rope_head_dim"] if absorbed else whole)
        out.add_value_length(rank if absorbed else config["v_head_dim"])
        out.add_kv_lora_rank(config["kv_lora_rank"])
        if config["q_lora_rank"]:
            out.add_q_lora_rank(config["q_lora_rank"])
        return config["qk_rope_head_dim"]

    def linear_attention(self):
        config, out = self.config, self.out
        out.add_ssm_conv_kernel(config["linear_conv_kernel_dim"])
        out.add_ssm_state_size(config["linear_key_head_dim"])
        out.add_ssm_group_count(config["linear_num_key_heads"])
        out.add_ssm_time_step_rank(config["linear_num_value_heads"])
        out.add_ssm_inner_size(config["linear_value_head_dim"] * config["linear_num_value_heads"])
        out.add_full_attention_interval(config["layer_types"].index("full_attention") + 1)

    def groups_of_experts(self):
        config, out = self.config, self.out
        for key, add in [
            ("n_shared_experts", out.add_expert_shared_count),
            ("moe_num_shared_experts", out.add_expert_shared_count),
            ("routed_scaling_factor", out.add_expert_weights_scale),
            ("first_k_dense_replace", out.add_leading_dense_block_count),
            ("moe_layer_start_index", out.add_leading_dense_block_count),
            ("moe_layer_interval", out.add_interleave_moe_layer_step),
            ("n_group", out.add_expert_group_count),
            ("topk_group", out.add_expert_group_used_count),
        ]:
            if config.get(key) is not None:
                add(config[key])
        if "n_routed_experts" in config:
            out.add_expert_weights_norm(config["norm_topk_prob"])
            sigmoid = config["model_type"] != "deepseek_v2"
            out.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID if sigmoid else gguf.ExpertGatingFuncType.SOFTMAX)

    def rope(self, head_dim):
        rope = self.config.get("rope_parameters")
        if not rope:
            return
        if "full_attention" in rope:
            self.out.add_float32(f"{self.architecture}.rope.freq_base_swa", rope["sliding_attention"]["rope_theta"])
            rope = rope["full_attention"]
        self.out.add_rope_dimension_count(int(rope.get("partial_rotary_factor", 1) * head_dim))
        self.out.add_rope_freq_base(rope["rope_theta"])
        if rope["rope_type"] == "yarn":
            self.out.add_rope_scaling_type(gguf.RopeScalingType.YARN)
            self.out.add_rope_scaling_factor(rope["factor"])
            if "mscale_all_dim" in rope:
                self.out.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])
        if "original_max_position_embeddings" in rope:
            self.out.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        for length in ["long", "short"]:
            if f"{length}_factor" in rope:
                self.out.add_tensor(f"rope_factors_{length}.weight", np.array(rope[f"{length}_factor"], np.float32))

    def interleave(self, values, heads):
        half = values.shape[0] // heads // 2
        return values.reshape(heads, 2, half, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)

    def fuse(self, values):
        groups, size = self.key_heads, values.shape[0] // (self.head_count + 2 * self.key_heads)
        grouped = values.reshape(groups, -1, size, *values.shape[1:])
        parts = [grouped[:, :-2], grouped[:, -2:-1], grouped[:, -1:]]
        return np.concatenate([part.reshape(-1, *values.shape[1:]) for part in parts])

    def stored(self, name, values):
        """A tensor as llama.cpp's converter writes it."""
        kind = self.config["model_type"]
        if kind in ("llama", "granite", "granitemoe") and re.search(r"\.(q|k)_proj\.", name):
            return self.interleave(values, self.head_count if ".q_proj." in name else self.key_heads)
        if kind in ("bloom", "falcon") and "query_key_value" in name:
            return self.fuse(values)
        if kind in ("gemma2", "gemma3_text", "nemotron") and name.endswith("norm.weight"):
            return values + np.float32(1)
        if name.endswith(".A_log"):
            return -np.exp(values)
        if name.endswith(("conv1d.weight", "conv.conv.weight")):
            return values.squeeze(1)
        if kind == "qwen3_next" and name.endswith("norm.weight") and not name.endswith("linear_attn.norm.weight"):
            return values + np.float32(1)
        if kind == "gpt2" and re.search(r"\.(c_attn|c_proj|c_fc)\.weight", name):
            return values.T
        if name.endswith(("shared_expert_gate.weight", "moe_statics.e_score_correction_bias")):
            return values[0]
        return values

    def parted(self):
        """The tensors that a file has in two, each part under the file's name; the others under their own."""
        config = self.config
        for name, values in self.stacks().items():
            block = "blk." + name.split(".")[2] if ".layers." in name else ""
            if name.endswith("input_linear.weight"):
                gates, ups = np.split(values, 2, axis=1)
                yield f"{block}.ffn_gate_exps.weight", gates
                yield f"{block}.ffn_up_exps.weight", ups
            elif name.endswith("kv_b_proj.weight") and not self.old:
                heads = values.reshape(self.head_count, -1, values.shape[-1])
                keys, vectors = np.split(heads, [config["qk_nope_head_dim"]], axis=1)
                yield f"{block}.attn_k_b.weight", keys.swapaxes(1, 2)
                yield f"{block}.attn_v_b.weight", vectors
            elif name.endswith("in_proj_qkvz.weight") and not self.old:
                groups, size = config["linear_num_key_heads"], config["linear_key_head_dim"]
                gates = config["linear_num_value_heads"] // groups * config["linear_value_head_dim"]
                grouped = values.reshape(groups, -1, values.shape[-1])
                parts = np.split(grouped, [size, 2 * size, 2 * size + gates], axis=1)
                *qkv, z = [part.reshape(-1, values.shape[-1]) for part in parts]
                yield f"{block}.attn_qkv.weight", np.concatenate(qkv)
                yield f"{block}.attn_gate.weight", z
            else:
                yield name, values

    def stacks(self):
        """Experts, and norms of heads, which a file has as one tensor; the others stay."""
        stacks, rest = {}, {}
        for name, values in self.tensors.items():
            found = re.fullmatch(r"(.*\.(?:experts|norms))\.(\d+)\.?(.*)", name)
            if found:
                stacks.setdefault((found[1], found[3]), {})[int(found[2])] = values
            elif self.config["model_type"] == "gpt_oss" and ".experts." in name:
                self.experts_of_gpt_oss(rest, name, values)
            else:
                rest[name] = values
        for (before, after), parts in stacks.items():
            stacked = np.stack([parts[index] for index in range(len(parts))])
            rest[f"{before.removesuffix('.norms')}.{after}"] = stacked
        return rest

    def experts_of_gpt_oss(self, out, name, values):
        stem = name.split(".experts.")[0] + ".experts"
        suffix = "bias" if name.endswith("_bias") else "weight"
        values = values if suffix == "bias" else values.swapaxes(1, 2)
        if "gate_up" in name:
            out[f"{stem}.gate_proj.{suffix}"], out[f"{stem}.up_proj.{suffix}"] = values[:, ::2], values[:, 1::2]
        else:
            out[f"{stem}.down_proj.{suffix}"] = values

    def name(self, name):
        stem, suffix = name.rsplit(".", 1) if name.endswith((".weight", ".bias")) else (name, "weight")
        if name.endswith(("e_score_correction_bias", "dt_bias")):
            suffix = "bias"
        for pattern, spelling in RENAMED:
            stem = re.sub(pattern, spelling, stem)
        found = self.names.get_name(stem)
        assert found, name
        return found if stem.endswith((".A_log", ".D")) else f"{found}.{suffix}"

    def write(self):
        self.metadata()
        for name, values in self.parted():
            found = name if name.startswith("blk.") else self.name(name)
            values = np.ascontiguousarray(self.stored(name, values).astype(np.float32))
            self.out.add_tensor(found, values)
        self.out.write_header_to_file()
        self.out.write_kv_data_to_file()
        self.out.write_tensors_to_file()
        self.out.close()


def check(path, case):
    """The reference's loader gives the case's tensors."""
    config = AutoConfig.from_pretrained(case)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    expected = auto.from_pretrained(case, dtype=torch.float32).state_dict()
    with torch.device("meta"):
        empty = auto.from_config(config)
    read = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=empty)["tensors"]
    tied = {"lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    lacking = set(expected) - set(read) - tied
    assert not lacking, f"{path.name}: the reference does not read {sorted(lacking)}"
    for name, tensor in read.items():
        torch.testing.assert_close(tensor.reshape(expected[name].shape), expected[name], rtol=1e-6, atol=1e-6, msg=f"{path.name} {name}")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for name, case, architecture in FILES:
        folder, path = CASES / case, OUT / f"{name}.gguf"
        config = json.loads((folder / "config.json").read_text())
        Writer(path, architecture, config, load_file(folder / "model.safetensors")).write()
        if name not in NOT_READ and architecture not in UNKNOWN:
            check(path, folder)
        print(name, path.stat().st_size)


if __name__ == "__main__":
    main()
