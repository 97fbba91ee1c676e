//! Text encoders, and what is neither text nor image.

use super::rules::Mapping;
use super::rules::Op::Chunk;
use super::rules::Rule::{Convert, RemovePrefix, Rename};

pub(super) const MAPPINGS: &[Mapping] = &[
    Mapping {
        keys: &["esm"],
        rules: &[
            Rename(
                "encoder.layer.*.attention.self.rotary_embeddings.inv_freq",
                "rotary_embeddings.inv_freq",
            ),
            Rename("LayerNorm.gamma", "LayerNorm.weight"),
            Rename("LayerNorm.beta", "LayerNorm.bias"),
        ],
    },
    Mapping {
        keys: &["timesfm2_5"],
        rules: &[Rename("ff0", "fc1"), Rename("ff1", "fc2")],
    },
    Mapping {
        keys: &["t5gemma2_encoder"],
        rules: &[
            Rename(
                r"(?<!decoder\.)(?<!text_model\.)embed_tokens\.",
                "text_model.embed_tokens.",
            ),
            Rename(
                r"(?<!decoder\.)(?<!text_model\.)(?<!layer)(?<!_)norm\.",
                "text_model.norm.",
            ),
            Rename(
                r"(?<!vision_model.encoder\.)(?<!vision_tower.encoder\.)(?<!decoder\.)(?<!text_model\.)layers.",
                "text_model.layers.",
            ),
        ],
    },
    Mapping {
        keys: &["nomic_bert"],
        rules: &[
            Rename("encoder.layers", "layers"),
            Rename("emb_ln", "embeddings.LayerNorm"),
            Rename("attn.out_proj", "self_attn.o_proj"),
            Rename("fc11", "up_proj"),
            Rename("fc12", "gate_proj"),
            Rename("fc2", "down_proj"),
            Rename("norm1", "post_attention_layernorm"),
            Rename("norm2", "post_mlp_layernorm"),
            Convert {
                from: &["attn.Wqkv"],
                to: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                by: &[Chunk(0)],
            },
        ],
    },
    Mapping {
        keys: &["gte"],
        rules: &[
            RemovePrefix {
                prefix: "new",
                after: "",
            },
            Rename("encoder.layer", "layers"),
            Rename("attention.o_proj", "self_attn.o_proj"),
            Rename("attn_ln", "post_attention_layernorm"),
            Rename("mlp_ln", "post_mlp_layernorm"),
            Rename("lm_head.norm", "lm_head.layer_norm"),
            Convert {
                from: &["attention.qkv_proj"],
                to: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                by: &[Chunk(0)],
            },
            Convert {
                from: &["mlp.up_gate_proj"],
                to: &["mlp.up_proj", "mlp.gate_proj"],
                by: &[Chunk(0)],
            },
        ],
    },
    Mapping {
        keys: &["jina_embeddings_v3"],
        rules: &[
            Rename("emb_ln", "embeddings.LayerNorm"),
            Rename("encoder.layers", "layers"),
            Rename("mixer.out_proj", "self_attn.o_proj"),
            Rename("norm1", "post_attention_layernorm"),
            Rename("norm2", "post_mlp_layernorm"),
            Convert {
                from: &["mixer.Wqkv"],
                to: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                by: &[Chunk(0)],
            },
        ],
    },
    Mapping {
        keys: &["UltrabertModel"],
        rules: &[RemovePrefix {
            prefix: "ultrabert",
            after: "",
        }],
    },
    Mapping {
        keys: &["UltrabertForMaskedLM"],
        rules: &[
            Rename(r"^ultrabert\.", "model."),
            Rename(r"^cls\.", "head.decoder."),
        ],
    },
    Mapping {
        keys: &[
            "UltrabertForSequenceClassification",
            "UltrabertForTokenClassification",
            "UltrabertForQuestionAnswering",
        ],
        rules: &[Rename(r"^ultrabert\.", "model.")],
    },
    Mapping {
        keys: &["UltraVBertForMaskedLM"],
        rules: &[
            Rename(r"^head\.decoder\.", "lm_head."),
            Rename(r"^head\.", "projection_head."),
        ],
    },
    Mapping {
        keys: &["jev"],
        rules: &[Rename("^weight", "proj.weight")],
    },
];
