//! `deberta-v2`: attention to contents and to relative positions, each on its own.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::{ConfigError, ModelConfig, Result, checks};

config! {
    /// The configuration of a deberta-v2 model, of which v3 is one.
    DebertaV2Config {
        vocab_size: usize = 128_100,
        hidden_size: usize = 1536,
        num_hidden_layers: usize = 24,
        num_attention_heads: usize = 24,
        intermediate_size: usize = 6144,
        hidden_act: String = "gelu".into(),
        hidden_dropout_prob: f64 = 0.1,
        attention_probs_dropout_prob: f64 = 0.1,
        max_position_embeddings: usize = 512,
        /// Rows of the segment embedding; 0 if there is none.
        type_vocab_size: usize = 0,
        initializer_range: f64 = 0.02,
        layer_norm_eps: f64 = 1e-7,
        /// Whether attention looks at relative positions.
        relative_attention: bool = false,
        /// The farthest that is told apart; `max_position_embeddings` if below 1.
        max_relative_positions: i64 = -1,
        /// Whether positions are added to the embeddings.
        position_biased_input: bool = true,
        /// Which scores there are beside those of contents: `c2p`, contents to positions, and `p2c`, the other way.
        pos_att_type: Option<Vec<String>> = None,
        /// Dropout in the pooler while training; published files say `0`, and are written so.
        pooler_dropout: Value = 0.0.into(),
        /// Width of the pooler, `hidden_size` if absent.
        pooler_hidden_size: Option<usize> = None,
        /// The pooler's activation.
        pooler_hidden_act: String = "gelu".into(),
        /// Whether the head for masked tokens has bert's names.
        legacy: bool = true,
        /// Width of the embeddings, `hidden_size` if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        embedding_size: Option<usize> = None,
        /// Size of a head, `hidden_size / num_attention_heads` if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        attention_head_size: Option<usize> = None,
        /// So many distances are told apart to each side, the far ones in groups; all of them if not positive.
        #[serde(skip_serializing_if = "Option::is_none")]
        position_buckets: Option<i64> = None,
        /// Whether positions go through the projections of contents.
        #[serde(skip_serializing_if = "Option::is_none")]
        share_att_key: Option<bool> = None,
        /// `layer_norm` if the table of positions is normed.
        #[serde(skip_serializing_if = "Option::is_none")]
        norm_rel_ebd: Option<String> = None,
        /// Width of a convolution beside the first layer; none if 0 or absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        conv_kernel_size: Option<usize> = None,
        /// Groups of that convolution.
        #[serde(skip_serializing_if = "Option::is_none")]
        conv_groups: Option<usize> = None,
        /// Its activation, `tanh` if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        conv_act: Option<String> = None,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: Some(0), bos: None, eos: None }
}

impl DebertaV2Config {
    /// Width of the embeddings.
    pub fn embedding_size(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        let divided = || self.hidden_size.checked_div(self.num_attention_heads);
        self.attention_head_size.or_else(divided).unwrap_or(0)
    }

    /// The farthest distance that is told apart.
    pub fn max_relative_positions(&self) -> usize {
        let stated = usize::try_from(self.max_relative_positions).ok();
        stated
            .filter(|max| *max > 0)
            .unwrap_or(self.max_position_embeddings)
    }

    /// The groups of distances to each side, if they are grouped.
    pub fn position_buckets(&self) -> Option<usize> {
        let buckets = usize::try_from(self.position_buckets?).ok();
        buckets.filter(|buckets| *buckets > 0)
    }

    /// Half of the rows of the table of positions.
    pub fn position_span(&self) -> usize {
        self.position_buckets()
            .unwrap_or_else(|| self.max_relative_positions())
    }

    /// Whether there are scores of this type.
    pub fn has_scores(&self, kind: &str) -> bool {
        let kinds = self.pos_att_type.iter().flatten();
        kinds.into_iter().any(|known| known == kind)
    }

    /// Whether the table of positions is normed.
    pub fn norms_positions(&self) -> bool {
        let norms = self.norm_rel_ebd.as_deref().unwrap_or_default();
        norms
            .split('|')
            .any(|norm| norm.trim().eq_ignore_ascii_case("layer_norm"))
    }
}

impl ModelConfig for DebertaV2Config {
    const MODEL_TYPE: &'static str = "deberta-v2";

    /// `pos_att_type` may be one string with bars.
    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        if let Some(Value::String(kinds)) = raw.get("pos_att_type") {
            let kinds = kinds.to_lowercase();
            let kinds = kinds.split('|').map(str::trim).collect();
            raw.insert("pos_att_type".into(), kinds);
        }
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size.max(1)),
            ("embedding_size", self.embedding_size()),
            ("max_relative_positions", self.max_relative_positions()),
            ("position_buckets", self.position_span()),
            ("conv_groups", self.conv_groups.unwrap_or(1)),
        ])?;
        checks::heads_divide(self.hidden_size, self.num_attention_heads)?;
        checks::attention(
            self.hidden_size,
            self.num_attention_heads,
            self.num_attention_heads,
            self.attention_head_size,
        )?;
        if self.attention_head_size.is_some_and(|_| self.head_dim() * self.num_attention_heads != self.hidden_size) {
            return Err(ConfigError::invalid(
                "attention_head_size",
                "the heads together must be as wide as `hidden_size`",
            ));
        }
        if self.conv_kernel_size.is_some_and(|size| size > 0 && size % 2 == 0) {
            return Err(ConfigError::invalid(
                "conv_kernel_size",
                "it must be odd, so that texts keep their length",
            ));
        }
        if !self.hidden_size.is_multiple_of(self.conv_groups.unwrap_or(1)) {
            return Err(ConfigError::invalid(
                "conv_groups",
                "`hidden_size` must be a multiple of it",
            ));
        }
        checks::not_negative("layer_norm_eps", self.layer_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)
    }

    fn complete(&mut self) {
        self.pooler_hidden_size = Some(self.pooler_hidden_size.unwrap_or(self.hidden_size));
    }
}
