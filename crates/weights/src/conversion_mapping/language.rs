//! Language models: experts, fused projections, and names of the repositories they come from.

use super::rules::Op::{
    Chunk, Concatenate, ConcatenateShards, Interleave, MergeModulelist, Transpose,
};
use super::rules::Rule::{Convert, RemovePrefix, Rename, RenameWithOffset};
use super::rules::{
    DOT_W1_W3_GATE_UP, DOT_W2_DOWN, EXPERTS_DOWN, EXPERTS_GATE_UP, Mapping, Rule, W1_W3_GATE_UP,
    W2_DOWN,
};

const fn transposed(name: &'static [&'static str]) -> Rule {
    Convert {
        from: name,
        to: name,
        by: &[Transpose(0, 1)],
    }
}

pub(super) const MAPPINGS: &[Mapping] = &[
    Mapping {
        keys: &["hy_v4"],
        rules: &[
            Rename(r"\.hc_pre\.hc_", ".hc_"),
            Rename(r"\.learnable_sink_param", ".sinks"),
            Rename(r"\.linear_gate", ".gate_proj"),
            Rename(r"\.hc_attn_layer\.hc_fn", ".attn_hc.fn"),
            Rename(r"\.hc_attn_layer\.hc_base", ".attn_hc.base"),
            Rename(r"\.hc_attn_layer\.hc_scale", ".attn_hc.scale"),
            Rename(r"\.hc_mlp_layer\.hc_fn", ".ffn_hc.fn"),
            Rename(r"\.hc_mlp_layer\.hc_base", ".ffn_hc.base"),
            Rename(r"\.hc_mlp_layer\.hc_scale", ".ffn_hc.scale"),
            Rename(r"\.hc_head_fn", ".hc_fn"),
            Rename(r"\.hc_head_base", ".hc_base"),
            Rename(r"\.hc_head_scale", ".hc_scale"),
        ],
    },
    Mapping {
        keys: &["inkling2_text"],
        rules: &[
            Rename(r"model\.llm\.unembed\.weight", "lm_head.weight"),
            Rename(r"model\.llm\.", "model."),
            Rename(r"embed\.weight", "embed_tokens.weight"),
            Rename(r"embed_norm\.", "embed_tokens.embed_norm."),
            Convert {
                from: &[r"mlp\.experts\.w13_weight"],
                to: &["mlp.experts.gate_up_proj"],
                by: &[Interleave(1)],
            },
            Convert {
                from: &[r"mlp\.experts\.w13_weight_scale"],
                to: &["mlp.experts.gate_up_proj_scale_inv"],
                by: &[Interleave(1)],
            },
            Rename(r"mlp\.experts\.w2_weight", "mlp.experts.down_proj"),
            Rename(
                r"mlp\.experts\.w2_weight_scale",
                "mlp.experts.down_proj_scale_inv",
            ),
            Rename("mlp.gate.bias", "mlp.gate.e_score_correction_bias"),
            Rename(r"attn\.wq_du", "self_attn.q_proj"),
            Rename(r"attn\.wk_dv", "self_attn.k_proj"),
            Rename(r"attn\.wv_dv", "self_attn.v_proj"),
            Rename(r"attn\.wr_du", "self_attn.r_proj"),
            Rename(r"attn\.wo_ud", "self_attn.o_proj"),
            Rename(r"attn\.gate_attn", "self_attn.gate_proj"),
            Rename(r"attn\.attn_sink_proj", "self_attn.sink_proj"),
            Rename(
                r"\.attn\.(q_l2_clip|k_l2_clip|rel_l2_clip|k_sconv|v_sconv|rel_logits_proj)\.",
                r".self_attn.\1.",
            ),
            Rename(r"attn_sconv\.", "post_attention_convolution."),
            Rename(r"mlp_sconv\.", "post_mlp_convolution."),
            Rename(r"(convolution|sconv)\.weight(?!_)", r"\1.conv1d.weight"),
            Rename(r"(convolution|sconv)\.static_w", r"\1.static_weight"),
            Rename(
                r"(convolution|sconv)\.weight_proj",
                r"\1.weight_proj.weight",
            ),
            Rename("mlp_norm", "post_attention_layernorm"),
            Rename("attn_norm", "input_layernorm"),
            Rename("(q|k|v)_input_norm", r"\1_input_layernorm"),
            RenameWithOffset(
                r"attn_res\.attn_queries\.(\d+)",
                r"layers.\1.attention_input.query",
                1,
            ),
            Rename(
                r"attn_res\.mlp_queries\.(\d+)",
                r"layers.\1.mlp_input.query",
            ),
            Rename(r"attn_res\.output_query", "final_input.query"),
        ],
    },
    // The reference computes with the stored `[in, out]`; here every weight is `[out, in]`.
    Mapping {
        keys: &["gpt2"],
        rules: &[
            transposed(&["attn.c_attn.weight"]),
            transposed(&["attn.c_proj.weight"]),
            transposed(&["mlp.c_fc.weight"]),
            transposed(&["mlp.c_proj.weight"]),
        ],
    },
    Mapping {
        keys: &["GPTNeoXForCausalLM"],
        rules: &[Rename(r"^embed_out\.", "lm_head.")],
    },
    Mapping {
        keys: &["axk2"],
        rules: &[
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Rename("W_down", "mlp.fc1"),
            Rename("W_up", "mlp.fc2"),
            Rename(r"self_attn\.q_b_proj\.", "self_attn.q_gate_proj."),
        ],
    },
    Mapping {
        keys: &["hrm_text"],
        rules: &[
            Convert {
                from: &["mlp.gate_up_proj.weight"],
                to: &["mlp.gate_proj.weight", "mlp.up_proj.weight"],
                by: &[Chunk(0)],
            },
            Convert {
                from: &["attn.gqkv_proj.weight"],
                to: &[
                    "self_attn.gate_proj.weight",
                    "self_attn.q_proj.weight",
                    "self_attn.k_proj.weight",
                    "self_attn.v_proj.weight",
                ],
                by: &[Chunk(0)],
            },
            Rename(r"\.attn\.o_proj\.", ".self_attn.o_proj."),
        ],
    },
    Mapping {
        keys: &["deepseek_v4"],
        rules: &[
            Rename(r"\.attn\.", ".self_attn."),
            Rename(r"\.ffn\.", ".mlp."),
            Rename(r"\.indexer\.compressor\.", r"\.compressor\.indexer\."),
            Rename(r"^embed\.weight", "embed_tokens.weight"),
            Rename(r"^head\.weight", "lm_head.weight"),
            Rename("^hc_head_fn", "hc_head.hc_fn"),
            Rename("^hc_head_base", "hc_head.hc_base"),
            Rename("^hc_head_scale", "hc_head.hc_scale"),
            Rename(r"\.attn_norm\.", ".input_layernorm."),
            Rename(r"\.ffn_norm\.", ".post_attention_layernorm."),
            Rename(r"\.hc_attn_fn", ".attn_hc.fn"),
            Rename(r"\.hc_attn_base", ".attn_hc.base"),
            Rename(r"\.hc_attn_scale", ".attn_hc.scale"),
            Rename(r"\.hc_ffn_fn", ".ffn_hc.fn"),
            Rename(r"\.hc_ffn_base", ".ffn_hc.base"),
            Rename(r"\.hc_ffn_scale", ".ffn_hc.scale"),
            Rename(r"\.attn_sink", ".sinks"),
            Rename(
                r"\.indexer\.weights_proj\.",
                r"\.compressor\.indexer\.scorer\.weights_proj\.",
            ),
            Rename(r"\.indexer\.wq_b\.", r"\.compressor\.indexer\.q_b_proj\."),
            Rename(r"\.norm\.", r"\.kv_norm\."),
            Rename(r"\.ape", r"\.position_bias"),
            Rename(r"\.wq_a\.", ".q_a_proj."),
            Rename(r"\.self_attn\.wq_b\.", r"\.self_attn\.q_b_proj\."),
            Rename(r"\.wkv\.", ".kv_proj."),
            Rename(r"\.wgate\.", ".gate_proj."),
            Rename(r"\.wo_a\.", ".o_a_proj."),
            Rename(r"\.wo_b\.", ".o_b_proj."),
            Rename(r"\.q_norm\.", ".q_a_norm."),
            Rename(r"\.gate\.bias", ".gate.e_score_correction_bias"),
            Rename(r"\.shared_experts\.w1\.", ".shared_experts.gate_proj."),
            Rename(r"\.shared_experts\.w2\.", ".shared_experts.down_proj."),
            Rename(r"\.shared_experts\.w3\.", ".shared_experts.up_proj."),
            DOT_W1_W3_GATE_UP,
            DOT_W2_DOWN,
        ],
    },
    Mapping {
        keys: &["glm5_next", "glm5_next_text"],
        rules: &[
            Rename(r"self_attn\.f_a_proj\.", "self_attn.forget_gate.f_a_proj."),
            Rename(r"self_attn\.f_b_proj\.", "self_attn.forget_gate.f_b_proj."),
            Rename(r"self_attn\.dt_bias", "self_attn.forget_gate.dt_bias"),
            Rename(r"self_attn\.A_log", "self_attn.forget_gate.A_log"),
            Rename("hc_attn_fn", "attn_hc.fn"),
            Rename("hc_attn_base", "attn_hc.base"),
            Rename("hc_attn_scale", "attn_hc.scale"),
            Rename("hc_ffn_fn", "ffn_hc.fn"),
            Rename("hc_ffn_base", "ffn_hc.base"),
            Rename("hc_ffn_scale", "ffn_hc.scale"),
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Convert {
                from: &[
                    "self_attn.q_conv1d.weight",
                    "self_attn.k_conv1d.weight",
                    "self_attn.v_conv1d.weight",
                ],
                to: &["self_attn.conv1d.weight"],
                by: &[Concatenate(0)],
            },
        ],
    },
    Mapping {
        keys: &["aria_text"],
        rules: &[
            Rename(r"mlp\.experts\.fc1\.weight", "mlp.experts.gate_up_proj"),
            Rename(r"mlp\.experts\.fc2\.weight", "mlp.experts.down_proj"),
        ],
    },
    Mapping {
        keys: &["granitemoe", "granitemoeshared", "granitemoehybrid"],
        rules: &[
            Rename(
                r"block_sparse_moe\.input_linear\.weight",
                "block_sparse_moe.experts.gate_up_proj",
            ),
            Rename(
                r"block_sparse_moe\.output_linear\.weight",
                "block_sparse_moe.experts.down_proj",
            ),
            Rename(
                r"block_sparse_moe\.router\.layer\.weight",
                "block_sparse_moe.router.weight",
            ),
        ],
    },
    Mapping {
        keys: &["olmo_hybrid"],
        rules: &[
            Rename("attention_layer_norm", "input_layernorm"),
            Rename("feedforward_layer_norm", "post_attention_layernorm"),
            Convert {
                from: &[
                    "linear_attn.q_conv1d.weight",
                    "linear_attn.k_conv1d.weight",
                    "linear_attn.v_conv1d.weight",
                ],
                to: &["linear_attn.conv1d.weight"],
                by: &[Concatenate(0)],
            },
        ],
    },
    Mapping {
        keys: &["qwen3_5_text", "gemma3n_text"],
        rules: &[RemovePrefix {
            prefix: "language_model",
            after: "model",
        }],
    },
    Mapping {
        keys: &["mixtral", "minimax"],
        rules: &[
            Rename(".block_sparse_moe.", ".mlp."),
            W1_W3_GATE_UP,
            W2_DOWN,
        ],
    },
    Mapping {
        keys: &[
            "qwen2_moe",
            "Dots3NoteTextModel",
            "afmoe",
            "deepseek_v2",
            "deepseek_v3",
            "deepseek_v32",
            "dots1",
            "glm4_moe",
            "glm4_moe_lite",
            "glm_moe_dsa",
            "glm4v_moe",
            "longcat_flash",
            "solar_open",
            "mellum",
            "qwen3_moe",
            "beam",
            "qwen3_omni_moe",
            "qwen3_omni_moe_thinker",
            "qwen3_omni_moe_text",
            "qwen3_next",
            "hunyuan_v1_moe",
            "flex_olmo",
            "olmoe",
            "cohere2_moe",
            "UnlimitedOcrTextModel",
        ],
        rules: &[EXPERTS_GATE_UP, EXPERTS_DOWN],
    },
    Mapping {
        keys: &["phimoe"],
        rules: &[
            Rename(".block_sparse_moe.", ".mlp."),
            Rename(".gate.weight", ".router.weight"),
            W1_W3_GATE_UP,
            W2_DOWN,
        ],
    },
    Mapping {
        keys: &["lfm3"],
        rules: &[Rename(r"\.self_attn\.gate_proj\.", ".self_attn.g_proj.")],
    },
    Mapping {
        keys: &["lfm2_moe"],
        rules: &[
            Convert {
                from: &[
                    "feed_forward.experts.*.w1.weight",
                    "feed_forward.experts.*.w3.weight",
                ],
                to: &["feed_forward.experts.gate_up_proj"],
                by: &[MergeModulelist(0), Concatenate(1)],
            },
            Convert {
                from: &["feed_forward.experts.*.w2.weight"],
                to: &["feed_forward.experts.down_proj"],
                by: &[MergeModulelist(0)],
            },
        ],
    },
    Mapping {
        keys: &["nemotron_h"],
        rules: &[
            Rename("backbone.", "model."),
            Convert {
                from: &["mixer.experts.*.up_proj.weight"],
                to: &["mixer.experts.up_proj"],
                by: &[MergeModulelist(0)],
            },
            Convert {
                from: &["mixer.experts.*.down_proj.weight"],
                to: &["mixer.experts.down_proj"],
                by: &[MergeModulelist(0)],
            },
        ],
    },
    Mapping {
        keys: &["jamba"],
        rules: &[
            Convert {
                from: &[
                    "feed_forward.experts.*.gate_proj.weight",
                    "feed_forward.experts.*.up_proj.weight",
                ],
                to: &["feed_forward.experts.gate_up_proj"],
                by: &[MergeModulelist(0), Concatenate(1)],
            },
            Convert {
                from: &["feed_forward.experts.*.down_proj.weight"],
                to: &["feed_forward.experts.down_proj"],
                by: &[MergeModulelist(0)],
            },
        ],
    },
    Mapping {
        keys: &["bailing_hybrid"],
        rules: &[
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Rename(r"^model\.word_embeddings\.", "model.embed_tokens."),
            Rename(r"\.attention\.", ".self_attn."),
            Rename(r"self_attn\.f_proj\.", "self_attn.forget_gate.f_proj."),
            Rename(r"self_attn\.dt_bias", "self_attn.forget_gate.dt_bias"),
            Rename(r"self_attn\.A_log", "self_attn.forget_gate.A_log"),
            Convert {
                from: &["q_conv1d.weight", "k_conv1d.weight", "v_conv1d.weight"],
                to: &["conv1d.weight"],
                by: &[Concatenate(0)],
            },
            Rename(r"\.self_attn\.dense\.", ".self_attn.o_proj."),
            Rename(
                r"\.mlp\.gate\.expert_bias",
                ".mlp.gate.e_score_correction_bias",
            ),
        ],
    },
    Mapping {
        keys: &["ernie4_5_moe"],
        rules: &[
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Rename(
                "mlp.moe_statics.e_score_correction_bias",
                "mlp.gate.moe_statics.e_score_correction_bias",
            ),
        ],
    },
    Mapping {
        keys: &["minimax_m2"],
        rules: &[
            Rename(".block_sparse_moe.", ".mlp."),
            W1_W3_GATE_UP,
            W2_DOWN,
            Rename(
                ".block_sparse_moe.e_score_correction_bias",
                ".mlp.e_score_correction_bias",
            ),
        ],
    },
    Mapping {
        keys: &["exaone_moe"],
        rules: &[
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Rename(
                "mlp.e_score_correction_bias",
                "mlp.gate.e_score_correction_bias",
            ),
        ],
    },
    Mapping {
        keys: &["kolibri1"],
        rules: &[
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Rename("moe.router.expert_bias", "mlp.gate.e_score_correction_bias"),
            Rename("post_attn_norm", "post_self_attn_layernorm"),
            Rename("post_ffn_norm", "post_mlp_layernorm"),
        ],
    },
    Mapping {
        keys: &["mimo_v2_flash"],
        rules: &[
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Rename("self_attn.attention_sink_bias", "self_attn.sinks"),
        ],
    },
    Mapping {
        keys: &["flint"],
        rules: &[
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Rename("self_attn.softmax_offset", "self_attn.sinks"),
        ],
    },
    Mapping {
        keys: &["hy_v3"],
        rules: &[
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Rename(r"mlp\.router\.gate\.weight", "mlp.gate.weight"),
            Rename(r"mlp\.expert_bias", "mlp.e_score_correction_bias"),
            Rename(r"mlp\.shared_mlp\.", "mlp.shared_experts."),
        ],
    },
    Mapping {
        keys: &["qwen3_5_moe_text"],
        rules: &[
            RemovePrefix {
                prefix: "language_model",
                after: "model",
            },
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
        ],
    },
    Mapping {
        keys: &["laguna"],
        rules: &[
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Rename(
                "mlp.experts.e_score_correction_bias",
                "mlp.gate.e_score_correction_bias",
            ),
            Rename("mlp.shared_expert.", "mlp.shared_experts."),
        ],
    },
    Mapping {
        keys: &["axk1"],
        rules: &[
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Rename("post_mlp_layernorm", "mlp.post_mlp_layernorm"),
        ],
    },
    Mapping {
        keys: &["qwen4_exp_text"],
        rules: &[
            RemovePrefix {
                prefix: "language_model",
                after: "model",
            },
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Convert {
                from: &["ngram_embedding.shard_*.weight"],
                to: &["ngram_embedding.weight"],
                by: &[ConcatenateShards(0, "split_ngram_parts")],
            },
        ],
    },
    Mapping {
        keys: &["MtpModel"],
        rules: &[
            RemovePrefix {
                prefix: "model",
                after: "",
            },
            RemovePrefix {
                prefix: "mtp",
                after: "",
            },
            Rename(".shared_head.norm.", ".post_norm."),
            Rename(".mtp_block.enorm.", ".enorm."),
            Rename(".mtp_block.hnorm.", ".hnorm."),
            Rename(".mtp_block.eh_proj.", ".eh_proj."),
            Rename(".mtp_block.post_norm.", ".post_norm."),
            Rename(r"\.hidden_norm\.", ".hnorm."),
            Rename(r"\.embed_norm\.", ".enorm."),
            Rename(r"\.input_proj\.", ".eh_proj."),
            Rename(r"^chain_norm\.", "shared_post_norm."),
            Rename(
                r"layers\.(\d+)\.transformer_block\.",
                r"layers.\1.mtp_block.",
            ),
            Rename(
                r"^layers\.(\d+)\.(?!(?:mtp_block|enorm|hnorm|eh_proj|post_norm)\.)",
                r"layers.\1.mtp_block.",
            ),
            Rename(r"^fc\.", "layers.0.eh_proj."),
            Rename(r"^pre_fc_norm_embedding\.", "layers.0.enorm."),
            Rename(r"^pre_fc_norm_hidden\.", "layers.0.hnorm."),
            Rename(r"^norm\.", "layers.0.post_norm."),
        ],
    },
    Mapping {
        keys: &["kimi_linear"],
        rules: &[
            Rename(r"self_attn\.f_a_proj\.", "self_attn.forget_gate.f_a_proj."),
            Rename(r"self_attn\.f_b_proj\.", "self_attn.forget_gate.f_b_proj."),
            Rename(r"self_attn\.dt_bias", "self_attn.forget_gate.dt_bias"),
            Rename(r"self_attn\.A_log", "self_attn.forget_gate.A_log"),
            Convert {
                from: &[
                    "self_attn.q_conv1d.weight",
                    "self_attn.k_conv1d.weight",
                    "self_attn.v_conv1d.weight",
                ],
                to: &["self_attn.conv1d.weight"],
                by: &[Concatenate(0)],
            },
            Rename(r"\.block_sparse_moe\.", r"\.mlp\."),
            DOT_W1_W3_GATE_UP,
            DOT_W2_DOWN,
        ],
    },
    Mapping {
        keys: &["mistral_large4_text"],
        rules: &[
            Rename(r"\.attention\.", r"\.self_attn\."),
            Rename(r"\.wq\.", ".q_proj."),
            Rename(r"\.wkv_a_with_mqa\.", r"\.kv_a_proj_with_mqa\."),
            Rename(r"\.wkv_b\.", ".kv_b_proj."),
            Rename(r"\.attention_norm\.", r"\.input_layernorm\."),
            Rename(r"\.ffn_norm\.", r"\.post_attention_layernorm\."),
            Rename(r"\.kv_a_norm\.", r"\.kv_a_layernorm\."),
            Rename(r"\.feed_forward\.", r"\.mlp\."),
            Rename(r"\.gate\.", r"\.mlp.gate\."),
            Rename(r"\.experts\.", r"\.mlp.experts\."),
            Rename(r"\.shared_experts\.", r"\.mlp.shared_experts\."),
            Rename(r"\.ssmax_scaling.s", r"\.softmax_scaling.scale"),
            Rename(r"\.ssmax_scaling.b", r"\.softmax_scaling.bias"),
            DOT_W1_W3_GATE_UP,
            DOT_W2_DOWN,
        ],
    },
];
