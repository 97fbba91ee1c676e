//! `falcon`: rotary positions or linear biases, one key head, groups of them, or one for every query.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{ConfigError, RopeParameters, checks, json};

config! {
    /// The configuration of a falcon model.
    FalconConfig {
        vocab_size: usize = 65_024,
        hidden_size: usize = 4544,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 71,
        /// Norms before a parallel block, of the new architecture only; 2 if null.
        num_ln_in_parallel_attn: Option<usize> = None,
        /// Added to the variance in norms.
        layer_norm_epsilon: f64 = 1e-5,
        initializer_range: f64 = 0.02,
        use_cache: bool = true,
        /// Dropout on hidden states while training.
        hidden_dropout: Option<f64> = Some(0.0),
        attention_dropout: Option<f64> = Some(0.0),
        /// Key and value heads of the new architecture; as many as query heads if null.
        num_kv_heads: Option<usize> = None,
        /// Whether scores are biased by distance, in the place of rotary positions.
        alibi: bool = false,
        /// Whether key heads are shared by groups of query heads, and blocks are parallel.
        new_decoder_architecture: bool = false,
        /// Whether all query heads share one key head, in the old architecture.
        multi_query: bool = true,
        /// Whether attention and MLP see the same input.
        parallel_attn: bool = true,
        /// Whether projections have biases.
        bias: bool = false,
        max_position_embeddings: usize = 2048,
        rope_parameters: RopeParameters = RopeParameters::default(),
        /// The width inside of the MLP; four times that of the residual stream if null.
        ffn_hidden_size: Option<usize> = None,
        /// The MLP's activation.
        activation: String = "gelu".into(),
        tie_word_embeddings: bool = true,
    }
    tokens { pad: None, bos: Some(11), eos: Some(11) }
}

impl FalconConfig {
    /// The number of key and value heads that are computed.
    pub fn key_heads(&self) -> usize {
        match (self.new_decoder_architecture, self.multi_query) {
            (true, _) => self.num_key_value_heads(),
            (false, true) => 1,
            (false, false) => self.num_attention_heads,
        }
    }

    /// The width inside of the MLP.
    pub fn intermediate_size(&self) -> usize {
        self.ffn_hidden_size.unwrap_or(4 * self.hidden_size)
    }

    /// Whether attention and MLP have norms of their own before a parallel block.
    pub fn two_norms(&self) -> bool {
        self.new_decoder_architecture && self.num_ln_in_parallel_attn.unwrap_or(2) == 2
    }
}

rotary_decoder! {
    FalconConfig: "falcon" {
        kv_heads: num_kv_heads,
        sizes: [ffn_hidden_size],
        eps: layer_norm_epsilon,
        standardize: |raw| {
            json::rename(raw, &[("n_embed", "hidden_size")]);
            rope::standardize(raw, DEFAULT_THETA)
        },
        check: |config| {
            if config.new_decoder_architecture && !config.parallel_attn {
                let reason = "blocks of the new architecture are parallel";
                return Err(ConfigError::invalid("parallel_attn", reason));
            }
            checks::heads_divide(config.hidden_size, config.num_attention_heads)
        },
        complete: |config| config.ffn_hidden_size = Some(config.intermediate_size()),
    }
}
