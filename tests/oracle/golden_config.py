"""Configurations of today's and older form as the reference saves them, for crates/config/tests/config.rs.

transformers 5.23.0. Run: python golden_config.py ../../crates/config/tests/golden/configs.json
"""

import copy
import json
import logging
import re
import sys

from transformers import AutoConfig, GenerationConfig, logging as hf_logging

hf_logging.set_verbosity(logging.ERROR)

TINY = {"vocab_size": 128, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
        "num_attention_heads": 4, "max_position_embeddings": 512}
GEMMA = {**TINY, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 64}
LLAMA3 = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
          "original_max_position_embeddings": 256, "rope_type": "llama3"}

CASES = [
    {"model_type": "llama"},
    {"model_type": "mistral"},
    {"model_type": "qwen2"},
    {"model_type": "qwen3"},
    {"model_type": "gemma3_text"},
    {"model_type": "bert"},
    {"model_type": "mixtral"},
    {"model_type": "qwen2_moe"},
    {"model_type": "qwen3_moe"},
    {"model_type": "gpt_oss"},
    *({"model_type": model_type} for model_type in (
        "albert", "camembert", "deberta-v2", "distilbert", "electra", "eurobert", "gte", "modernbert", "mpnet",
        "nomic_bert", "roberta", "xlm-roberta")),
    {"model_type": "deepseek_v3"},
    {"model_type": "glm4_moe"},
    # The files of older releases.
    {"model_type": "llama", **TINY, "torch_dtype": "bfloat16", "rope_theta": 500000.0, "rope_scaling": LLAMA3,
     "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "architectures": ["LlamaForCausalLM"], "temperature": 0.6,
     "max_length": 4096, "transformers_version": "4.43.0.dev0", "return_dict": True, "unheard_of": {"b": [1, None]},
     "eos_token_id": [7, 8], "tie_word_embeddings": True, "is_encoder_decoder": False},
    {"model_type": "llama", **TINY, "rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    {"model_type": "llama", **TINY, "rope_scaling": {"type": "dynamic", "factor": 4.0}, "rope_theta": 20000.0},
    {"model_type": "llama", **TINY, "rope_scaling": None, "rope_theta": 10000.0, "num_key_value_heads": None,
     "head_dim": None, "_name_or_path": "x/y", "use_cache": False},
    {"model_type": "llama", **TINY, "head_dim": 16, "attention_bias": True, "mlp_bias": True, "dtype": "float16",
     "torch_dtype": "float32", "pad_token_id": 0},
    {"model_type": "mistral", **TINY, "num_key_value_heads": 2, "sliding_window": None, "rope_theta": 1000000.0,
     "head_dim": 16, "torch_dtype": "bfloat16", "attention_dropout": 0.0},
    {"model_type": "mistral", **TINY, "num_key_value_heads": 1, "rope_scaling":
     {"rope_type": "yarn", "factor": 4.0}},
    {"model_type": "qwen2", **TINY, "num_key_value_heads": 2, "use_sliding_window": True, "max_window_layers": 3,
     "sliding_window": 16, "rope_theta": 1000000.0, "rope_scaling":
     {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}},
    {"model_type": "qwen2", **TINY, "num_key_value_heads": None, "use_sliding_window": False, "sliding_window": 16},
    {"model_type": "qwen2", **TINY, "num_key_value_heads": 4, "layer_types": ["attention"] * 4},
    {"model_type": "qwen3", **TINY, "num_key_value_heads": 2, "head_dim": 16, "rope_theta": 1000000.0,
     "max_window_layers": 4, "attention_bias": True, "eos_token_id": 5},
    {"model_type": "gemma3_text", **GEMMA, "num_hidden_layers": 8, "rope_theta": 1000000.0,
     "rope_local_base_freq": 20000.0, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
     "cache_implementation": "hybrid"},
    {"model_type": "gemma3_text", **GEMMA, "sliding_window_pattern": 2, "query_pre_attn_scalar": 16,
     "final_logit_softcapping": 30.0},
    {"model_type": "gemma3_text", **GEMMA, "use_bidirectional_attention": True},
    {"model_type": "bert", **TINY, "position_embedding_type": "absolute", "torch_dtype": "float32",
     "hidden_dropout_prob": 0.0, "classifier_dropout": None, "gradient_checkpointing": False,
     "id2label": {"0": "no", "1": "maybe", "2": "yes"}, "label2id": {"no": 0, "maybe": 1, "yes": 2},
     "problem_type": "single_label_classification"},
    {"model_type": "mixtral", **TINY, "num_key_value_heads": 2, "num_experts_per_tok": 1, "num_local_experts": 3,
     "rope_theta": 1000000.0, "sliding_window": None, "torch_dtype": "bfloat16", "output_router_logits": True},
    {"model_type": "qwen2_moe", **TINY, "num_key_value_heads": 4, "use_sliding_window": True, "max_window_layers": 3,
     "sliding_window": 16, "rope_theta": 1000000.0, "num_experts": 6, "qkv_bias": True},
    {"model_type": "qwen3_moe", **TINY, "num_key_value_heads": 4, "head_dim": 16, "rope_scaling": None,
     "rope_theta": 10000000.0, "num_experts": 9, "max_window_layers": 4, "mlp_only_layers": [2], "sliding_window": None},
    {"model_type": "deepseek_v2", **TINY, "num_key_value_heads": 4, "num_experts_per_tok": 3, "n_routed_experts": 8,
     "moe_layer_freq": 1, "rope_theta": 10000.0, "rope_scaling": {"beta_fast": 32.0, "beta_slow": 1.0, "factor": 40.0,
      "mscale": 0.707, "mscale_all_dim": 0.707, "original_max_position_embeddings": 64, "type": "yarn"}},
    {"model_type": "glm4_moe", **TINY, "num_key_value_heads": 2, "head_dim": 16, "partial_rotary_factor": 0.25,
     "rope_theta": 1000000.0, "rope_scaling": None, "use_qk_norm": True},
    {"model_type": "gpt_oss", **TINY, "num_key_value_heads": 2, "head_dim": 8, "num_local_experts": 4,
     "experts_per_token": 4, "initial_context_length": 4096, "rope_theta": 150000.0, "sliding_window": 16, "rope_scaling":
     {"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0, "original_max_position_embeddings": 64, "rope_type": "yarn",
      "truncate": False}},
    {"model_type": "distilbert", "vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 3,
     "num_attention_heads": 4, "hidden_dim": 48, "tie_weights_": True, "attention_dropout": 0.0},
    {"model_type": "deberta-v2", **TINY, "relative_attention": True, "pos_att_type": "p2c|C2P", "position_buckets": 16,
     "share_att_key": True, "norm_rel_ebd": "layer_norm", "max_relative_positions": -1, "conv_kernel_size": 3,
     "position_biased_input": False, "pooler_hidden_size": 32, "pooler_dropout": 0},
    {"model_type": "modernbert", **TINY, "global_attn_every_n_layers": 2, "global_rope_theta": 5000.0,
     "local_rope_theta": 100.0, "local_attention": 16, "reference_compile": None, "layer_norm_eps": 1e-05},
    {"model_type": "modernbert", **TINY, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    {"model_type": "gte", **TINY, "type_vocab_size": 0, "rope_theta": 20000.0},
    {"model_type": "eurobert", **TINY, "rope_theta": 250000.0, "num_key_value_heads": 2, "clf_pooling": "late"},
    # Today's form.
    {"model_type": "llama", **TINY, "dtype": "bfloat16", "rope_parameters": {"rope_theta": 500000.0, **LLAMA3}},
    {"model_type": "llama", **TINY, "rope_parameters": {"rope_type": "longrope", "rope_theta": 10000.0,
     "short_factor": [1.0, 1.5, 2.0, 2.5], "long_factor": [1.0, 2.0, 4.0, 8.0], "factor": 2.0,
     "original_max_position_embeddings": 256}},
    {"model_type": "mistral", **TINY, "num_key_value_heads": 4, "rope_parameters": {"rope_theta": 50000.0}},
    {"model_type": "qwen2", **TINY, "num_key_value_heads": 2, "use_sliding_window": True, "sliding_window": 16,
     "layer_types": ["full_attention", "sliding_attention"] * 2,
     "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}},
    {"model_type": "qwen3", **TINY, "num_key_value_heads": 4, "layer_types": ["full_attention"] * 4,
     "rope_parameters": {"full_attention": {"rope_theta": 1000000.0, "rope_type": "yarn", "factor": 2.0}}},
    {"model_type": "gemma3_text", **GEMMA, "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
     "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
    {"model_type": "gemma3_text", **GEMMA, "num_hidden_layers": 6, "rope_parameters":
     {"full_attention": {"rope_theta": 5000.0}, "sliding_attention": None}},
    {"model_type": "modernbert", **TINY, "layer_types": ["sliding_attention"] * 4, "rope_parameters":
     {"sliding_attention": {"rope_theta": 5000.0, "rope_type": "linear", "factor": 2.0}}},
    {"model_type": "nomic_bert", **TINY, "rope_parameters": {"rope_theta": 500.0}, "head_dim": 16,
     "tie_word_embeddings": True},
]

NEW = ["bloom", "cohere", "cohere2", "ernie4_5", "exaone4", "falcon", "gemma", "gemma2", "glm4", "gpt2", "gpt_neo", "gpt_neox",
       "gptj", "granite", "falcon_mamba", "lfm2", "mamba", "mamba2", "ministral3", "mpt", "olmo2", "olmo3", "opt", "phi", "phi3", "seed_oss", "smollm3",
       "stablelm", "starcoder2"]
CASES += [{"model_type": name} for name in NEW]
CASES += [
    {"model_type": "gpt2", "vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
     "max_position_embeddings": 64, "n_ctx": 64, "task_specific_params": {"text-generation": {"do_sample": True}}},
    {"model_type": "gptj", "n_embd": 64, "n_head": 4, "n_layer": 2, "rotary_dim": 8, "rotary": True},
    {"model_type": "gpt_neo", "hidden_size": 32, "num_layers": 3, "num_heads": 4,
     "attention_types": [[["global", "local"], 1], [["global"], 1]]},
    {"model_type": "gpt_neox", **TINY, "rotary_pct": 0.5, "rotary_emb_base": 5000.0, "torch_dtype": "float16",
     "attention_dropout": 0.0, "hidden_dropout": 0.1},
    {"model_type": "falcon", **TINY, "n_embed": 64, "multi_query": False, "alibi": True, "num_kv_heads": None},
    {"model_type": "bloom", "n_embed": 64, "num_attention_heads": 4, "n_layer": 3, "pretraining_tp": 4, "seq_length": 99},
    {"model_type": "opt", **TINY, "word_embed_proj_dim": 16, "do_layer_norm_before": False, "prefix": "</s>"},
    {"model_type": "mpt", "d_model": 32, "n_heads": 4, "n_layers": 2, "attn_config": {"clip_qkv": 8.0, "attn_impl": "torch"},
     "logit_scale": None},
    {"model_type": "gemma", **TINY, "num_key_value_heads": 4, "hidden_act": "gelu", "rope_theta": 5000.0},
    {"model_type": "gemma2", **TINY, "num_key_value_heads": 2, "layer_types": ["full_attention"] * 4},
    {"model_type": "phi", **TINY, "partial_rotary_factor": 0.25, "rope_theta": 5000.0},
    {"model_type": "phi3", **TINY, "num_key_value_heads": 2, "original_max_position_embeddings": 128, "rope_scaling":
     {"type": "longrope", "short_factor": [1.0, 1.5, 2.0, 2.5], "long_factor": [1.0, 2.0, 4.0, 8.0]}},
    {"model_type": "phi3", **TINY, "partial_rotary_factor": 0.5, "rope_scaling": None, "sliding_window": 32},
    {"model_type": "stablelm", **TINY, "num_key_value_heads": 4, "partial_rotary_factor": 0.5, "rope_pct": 0.25},
    {"model_type": "smollm3", **TINY, "no_rope_layer_interval": 2, "use_sliding_window": True, "sliding_window": 16,
     "rope_theta": 5000000.0},
    {"model_type": "smollm3", **TINY, "no_rope_layers": [1, 0, 1, 1], "num_key_value_heads": None},
    {"model_type": "olmo3", **TINY, "rope_theta": 500000.0, "sliding_window": 16, "rope_scaling":
     {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 128}},
    {"model_type": "olmo3", **TINY, "rope_parameters": {"full_attention": {"rope_theta": 5000.0}}},
    {"model_type": "glm4", **TINY, "num_key_value_heads": 2, "head_dim": 16, "eos_token_id": [1, 2]},
    {"model_type": "cohere2", **TINY, "sliding_window_pattern": 2, "rope_theta": 50000.0, "head_dim": 16},
    {"model_type": "nemotron", **TINY, "partial_rotary_factor": 0.25, "num_key_value_heads": 2},
    {"model_type": "exaone4", **TINY, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 16,
     "sliding_window_pattern": 2},
    {"model_type": "exaone4", **TINY, "num_key_value_heads": 2, "sliding_window": None, "layer_types": ["full_attention"] * 4},
    {"model_type": "seed_oss", **TINY, "num_key_value_heads": 2, "head_dim": None},
    {"model_type": "ministral3", **TINY, "num_key_value_heads": 2, "head_dim": 16},
    {"model_type": "starcoder2", **TINY, "num_key_value_heads": 2, "rope_theta": 999999.0, "sliding_window": 16},
    *({"model_type": name} for name in (
        "ernie4_5_moe", "granitemoe", "minimax_m2", "olmoe", "qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")),
    {"model_type": "olmoe", **TINY, "num_key_value_heads": None, "clip_qkv": 8.0, "num_local_experts": 6, "num_experts_per_tok": 2,
     "rope_theta": 20000.0, "rope_scaling": None, "norm_topk_prob": False},
    {"model_type": "granitemoe", **TINY, "num_key_value_heads": 2, "num_local_experts": 6, "rope_theta": 5000.0,
     "embedding_multiplier": 12.0, "rope_scaling": None, "attention_multiplier": 0.0156},
    {"model_type": "ernie4_5_moe", **TINY, "num_key_value_heads": 2, "moe_k": 3, "num_experts": 6, "use_bias": False,
     "rope_theta": 500000.0, "moe_layer_end_index": 2},
    {"model_type": "minimax_m2", **TINY, "num_key_value_heads": 2, "head_dim": 16, "rotary_dim": 8, "num_experts": 6, "num_experts_per_tok": 2,
     "rope_theta": 5000000.0, "scoring_func": "sigmoid", "use_qk_norm": True, "mtp_transformer_layers": 1},
    {"model_type": "qwen3_next", **TINY, "num_key_value_heads": 2, "head_dim": 16, "full_attention_interval": 2,
     "rope_theta": 10000000.0, "rope_scaling": None, "partial_rotary_factor": 0.5, "num_experts": 16,
     "mlp_only_layers": [1]},
    {"model_type": "qwen3_next", **TINY, "num_key_value_heads": 4, "full_attention_interval": 2, "decoder_sparse_step": 2,
     "layer_types": ["full_attention", "linear_attention"] * 2, "attention_bias": True},
    {"model_type": "qwen3_5_text", **TINY, "num_key_value_heads": 2, "head_dim": 32, "dtype": "bfloat16",
     "full_attention_interval": 4, "layer_types": ["linear_attention"] * 3 + ["full_attention"], "mtp_num_hidden_layers": 1,
     "rope_parameters": {"mrope_interleaved": True, "mrope_section": [2, 1, 1], "rope_type": "default",
                         "rope_theta": 10000000.0, "partial_rotary_factor": 0.25}},
    {"model_type": "qwen3_5_moe_text", **TINY, "num_key_value_heads": 2, "num_experts": 16, "full_attention_interval": 3},
    # As the first Mamba models were converted.
    {"model_type": "mamba", "vocab_size": 128, "hidden_size": 40, "intermediate_size": 80, "n_layer": 24, "d_model": 40,
     "num_hidden_layers": 3, "time_step_rank": "auto", "rms_norm": True, "ssm_cfg": {}, "fused_add_norm": True,
     "torch_dtype": "float32"},
    {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2, "expand": 3, "time_step_rank": 5},
    {"model_type": "falcon_mamba", "hidden_size": 32, "num_hidden_layers": 2, "mixer_rms_eps": 1e-5, "eos_token_id": 11},
    {"model_type": "mamba2", "hidden_size": 32, "num_heads": 8, "head_dim": 8, "n_groups": 2, "time_step_limit": [0.01, 0.5],
     "num_hidden_layers": 2, "time_step_rank": "auto", "norm_before_gate": False},
    {"model_type": "lfm2", **TINY, "num_key_value_heads": 2, "tie_embedding": False, "block_ff_dim": 60, "conv_dim": 32,
     "full_attn_idxs": [2], "rope_theta": 5000.0, "theta": 5000.0, "block_norm_eps": 1e-5},
    {"model_type": "lfm2", **TINY, "num_key_value_heads": 4, "layer_types": ["conv", "full_attention"] * 2,
     "block_ffn_dim_multiplier": 1.5, "block_multiple_of": 8},
]

SEQ2SEQ = ["bart", "blenderbot", "m2m_100", "marian", "mbart", "mt5", "pegasus", "t5", "umt5"]
CASES += [{"model_type": name} for name in SEQ2SEQ]
BART = {"vocab_size": 128, "d_model": 32, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 40, "max_position_embeddings": 64}
T5 = {"vocab_size": 128, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
CASES += [
    # As facebook/bart-large-cnn, Helsinki-NLP/opus-mt and t5-small were published.
    {"model_type": "bart", **BART, "_num_labels": 3, "activation_dropout": 0.0, "add_bias_logits": False,
     "add_final_layer_norm": False, "normalize_before": False, "normalize_embedding": True, "static_position_embeddings": False,
     "num_hidden_layers": 12, "force_bos_token_to_be_generated": True, "early_stopping": True, "num_beams": 4,
     "forced_eos_token_id": 2, "forced_bos_token_id": 0, "length_penalty": 2.0, "prefix": " ", "extra_pos_embeddings": 2,
     "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}},
    {"model_type": "bart", **BART, "scale_embedding": True, "decoder_start_token_id": 5, "tie_word_embeddings": False},
    {"model_type": "marian", **BART, "pad_token_id": 127, "decoder_start_token_id": 127, "bad_words_ids": [[127]],
     "activation_function": "swish", "scale_embedding": True, "static_position_embeddings": True, "num_beams": 6,
     "torch_dtype": "float16"},
    {"model_type": "marian", **BART, "decoder_vocab_size": 96, "share_encoder_decoder_embeddings": False},
    {"model_type": "mbart", **BART, "scale_embedding": True, "normalize_before": True, "forced_eos_token_id": 2},
    {"model_type": "pegasus", **BART, "num_hidden_layers": 16, "length_penalty": 0.8, "task_specific_params": {}},
    {"model_type": "m2m_100", **BART, "encoder_layerdrop": 0.0, "early_stopping": True, "max_length": 200},
    {"model_type": "blenderbot", **BART, "layernorm_variant": "prelayernorm", "encoder_no_repeat_ngram_size": 3},
    {"model_type": "t5", **T5, "n_positions": 512, "output_past": True, "relative_attention_num_buckets": 32,
     "decoder_start_token_id": 0, "task_specific_params": {"summarization": {"num_beams": 4}}},
    {"model_type": "t5", **T5, "feed_forward_proj": "gated-gelu", "num_decoder_layers": 3, "scale_decoder_outputs": False},
    {"model_type": "mt5", **T5, "feed_forward_proj": "gated-gelu", "tokenizer_class": "T5Tokenizer"},
    {"model_type": "umt5", **T5, "scalable_attention": True, "num_decoder_layers": None},
]

# The text models within wrappers.
WRAPPED = [
    {"model_type": "gemma3", "text_config": {**GEMMA, "model_type": "gemma3_text", "rope_scaling":
     {"factor": 8.0, "rope_type": "linear"}}, "vision_config": {"num_hidden_layers": 1}, "torch_dtype": "bfloat16"},
]

# The generation parameters in files of older releases.
GENERATION = [
    {"model_type": "llama", "eos_token_id": [7, 8], "bos_token_id": 1, "temperature": 0.6, "top_p": 0.9,
     "do_sample": True, "max_length": 4096},
    {"model_type": "bart", "num_beams": 4, "early_stopping": True, "length_penalty": 2.0, "no_repeat_ngram_size": 3,
     "forced_eos_token_id": 2, "decoder_start_token_id": 2, "pad_token_id": 1, "vocab_size": 50265,
     "force_bos_token_to_be_generated": True, "bos_token_id": 0, "max_length": None},
    {"model_type": "gemma3", "eos_token_id": [1, 106], "text_config": {"pad_token_id": 0, "bos_token_id": 2,
     "eos_token_id": 1, "use_cache": True}},
    {"model_type": "gpt2", "output_hidden_states": True, "eos_token_id": 50256,
     "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}},
]

def typed(config):
    config = copy.deepcopy(config)
    return AutoConfig.for_model(config.pop("model_type"), **config)


def saved(config):
    # Traces of how the object was made, which say nothing about the model.
    return re.sub(r'  "(_sliding_window_pattern|_from_model_config)": \w+,\n', "", config.to_json_string())


golden = {
    "configs": [(case, saved(typed(case))) for case in CASES],
    "wrapped": [(case, saved(typed(case).text_config)) for case in WRAPPED],
    "generation": [(case, saved(GenerationConfig.from_model_config(copy.deepcopy(case)))) for case in GENERATION],
}
with open(sys.argv[1], "w") as file:
    parts = []
    for name, cases in golden.items():
        lines = [json.dumps({"file": case, "saved": text}) for case, text in cases]
        parts.append(f'"{name}": [\n' + ",\n".join(lines) + "\n]")
    file.write("{\n" + ",\n".join(parts) + "\n}\n")
