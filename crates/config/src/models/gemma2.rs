//! `gemma2`: sliding and full layers in turn, and soft caps.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, RopeParameters, checks, layer_types};

config! {
    /// The configuration of a gemma2 model.
    Gemma2Config {
        vocab_size: usize = 256_000,
        hidden_size: usize = 2304,
        intermediate_size: usize = 9216,
        num_hidden_layers: usize = 26,
        num_attention_heads: usize = 8,
        num_key_value_heads: usize = 4,
        head_dim: usize = 256,
        /// The MLP's activation.
        hidden_activation: String = "gelu_pytorch_tanh".into(),
        max_position_embeddings: usize = 8192,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        tie_word_embeddings: bool = true,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_bias: bool = false,
        attention_dropout: Option<f64> = Some(0.0),
        /// Scores are divided by its square root.
        query_pre_attn_scalar: usize = 256,
        sliding_window: Option<usize> = Some(4096),
        layer_types: Option<Vec<LayerType>> = None,
        /// Bounds the logits by a hyperbolic tangent.
        final_logit_softcapping: Option<f64> = Some(30.0),
        /// Bounds the attention scores by a hyperbolic tangent.
        attn_logit_softcapping: Option<f64> = Some(50.0),
        /// Kept for other readers: with eager attention, the reference's masks are causal whatever it says.
        use_bidirectional_attention: Option<bool> = None,
    }
    tokens { pad: Some(0), bos: Some(2), eos: Some(1) }
}

rotary_decoder! {
    Gemma2Config: "gemma2" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        layer_types: |config| layer_types::every_nth_full(config.num_hidden_layers, 2),
        sizes: [intermediate_size, query_pre_attn_scalar, sliding_window],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
        check: |config| {
            checks::divisor("final_logit_softcapping", config.final_logit_softcapping)?;
            checks::divisor("attn_logit_softcapping", config.attn_logit_softcapping)?;
            checks::window(config.sliding_window, &config.layer_types())
        },
    }
}
