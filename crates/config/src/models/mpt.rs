//! `mpt`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::declare::config;
use crate::json::rename;
use crate::{LayerType, ModelConfig, Result, checks};

config! {
    /// The configuration of an MPT model.
    MptConfig {
        /// The width of the residual stream.
        d_model: usize = 2048,
        /// The number of heads.
        n_heads: usize = 16,
        /// The number of layers.
        n_layers: usize = 24,
        /// The width inside of the MLP over that of the residual stream. The reference computes with four whatever it says.
        expansion_ratio: usize = 4,
        /// The longest text in tokens.
        max_seq_len: usize = 2048,
        vocab_size: usize = 50_368,
        /// Dropout on what is added to the residual stream while training.
        resid_pdrop: f64 = 0.0,
        /// Added to the variance in norms.
        layer_norm_epsilon: f64 = 1e-5,
        /// Dropout on the embeddings while training.
        emb_pdrop: f64 = 0.0,
        /// Kept for other readers: there are no learned positions.
        learned_pos_emb: bool = true,
        /// The attention.
        attn_config: MptAttentionConfig = MptAttentionConfig::default(),
        /// Kept for other readers.
        init_device: String = "cpu".into(),
        /// Kept for other readers: logits are not scaled.
        logit_scale: Option<Value> = None,
        /// Kept for other readers: there are no biases.
        no_bias: bool = true,
        /// Kept for other readers.
        embedding_fraction: f64 = 1.0,
        /// Kept for other readers.
        norm_type: String = "low_precision_layernorm".into(),
        use_cache: bool = false,
        initializer_range: f64 = 0.02,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: None, bos: None, eos: None }
}

/// `attn_config` of an MPT model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MptAttentionConfig {
    /// `multihead_attention` or `multiquery_attention`; only the first is computed.
    pub attn_type: String,
    /// Dropout on attention weights while training.
    pub attn_pdrop: usize,
    /// Kept for other readers.
    pub attn_impl: String,
    /// What queries, keys and values are clamped to, on both sides of zero.
    pub clip_qkv: Option<f64>,
    /// Factor on the scores; `head_dim^-0.5` if null.
    pub softmax_scale: Option<f64>,
    /// Kept for other readers.
    pub prefix_lm: bool,
    /// Kept for other readers.
    pub qk_ln: bool,
    /// Kept for other readers.
    pub attn_uses_sequence_id: bool,
    /// Kept for other readers: scores are biased by distance in any case.
    pub alibi: bool,
    /// Kept for other readers: the reference computes with eight whatever it says.
    pub alibi_bias_max: usize,
    /// Other keys, those of the reference's base class among them.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What the reference writes into `attn_config` beside its own fields.
fn base_fields() -> Value {
    json!({
        "_name_or_path": "",
        "architectures": null,
        "chunk_size_feed_forward": 0,
        "dtype": null,
        "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
        "is_encoder_decoder": false,
        "label2id": {"LABEL_0": 0, "LABEL_1": 1},
        "model_type": "",
        "output_attentions": false,
        "output_hidden_states": false,
        "problem_type": null,
        "return_dict": true,
    })
}

impl Default for MptAttentionConfig {
    fn default() -> Self {
        Self {
            attn_type: "multihead_attention".into(),
            attn_pdrop: 0,
            attn_impl: "torch".into(),
            clip_qkv: None,
            softmax_scale: None,
            prefix_lm: false,
            qk_ln: false,
            attn_uses_sequence_id: false,
            alibi: true,
            alibi_bias_max: 8,
            extra: Map::new(),
        }
    }
}

impl MptConfig {
    /// Every layer attends to all earlier positions.
    pub fn layer_types(&self) -> Vec<LayerType> {
        vec![LayerType::FullAttention; self.n_layers]
    }
}

impl ModelConfig for MptConfig {
    const MODEL_TYPE: &'static str = "mpt";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        let names = [
            ("hidden_size", "d_model"),
            ("num_attention_heads", "n_heads"),
            ("num_hidden_layers", "n_layers"),
        ];
        rename(raw, &names);
        if raw.get("attn_config").is_some_and(Value::is_null) {
            raw.remove("attn_config");
        }
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.n_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("max_seq_len", self.max_seq_len),
            ("attn_config.alibi_bias_max", self.attn_config.alibi_bias_max),
        ])?;
        checks::attention(self.d_model, self.n_heads, self.n_heads, None)?;
        checks::not_negative("attn_config.clip_qkv", self.attn_config.clip_qkv.unwrap_or(0.0))?;
        checks::not_negative("layer_norm_epsilon", self.layer_norm_epsilon)?;
        checks::not_negative("initializer_range", self.initializer_range)
    }

    fn complete(&mut self) {
        let stated = std::mem::take(&mut self.attn_config.extra);
        let base = base_fields().as_object().cloned().unwrap_or_default();
        self.attn_config.extra = base.into_iter().chain(stated).collect();
        let dtype = self.attn_config.extra.get_mut("dtype");
        if let (Some(inner @ Value::Null), Some(dtype)) = (dtype, &self.base.dtype) {
            *inner = dtype.as_str().into();
        }
    }
}
