//! `olmo2`.

use crate::RopeParameters;
use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};

config! {
    /// The configuration of an OLMo 2 model.
    Olmo2Config {
        vocab_size: usize = 50_304,
        hidden_size: usize = 4096,
        intermediate_size: usize = 11_008,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: Option<usize> = None,
        /// The size of a head, where it is stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 2048,
        initializer_range: f64 = 0.02,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        rms_norm_eps: f64 = 1e-5,
    }
    tokens { pad: Some(1), bos: None, eos: Some(50_279) }
}

rotary_decoder! {
    Olmo2Config: "olmo2" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        sizes: [intermediate_size],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
    }
}
