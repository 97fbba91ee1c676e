//! `gpt_neox`.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{RopeParameters, checks, json};

/// The part of a head that rotates, where nothing is stated.
const PARTIAL: f64 = 0.25;

config! {
    /// The configuration of a GPT-NeoX model.
    GptNeoXConfig {
        vocab_size: usize = 50_432,
        hidden_size: usize = 6144,
        num_hidden_layers: usize = 44,
        num_attention_heads: usize = 64,
        intermediate_size: usize = 24_576,
        hidden_act: String = "gelu".into(),
        attention_dropout: f64 = 0.0,
        /// Dropout on hidden states while training.
        hidden_dropout: f64 = 0.0,
        /// Dropout before the classifier while training.
        classifier_dropout: f64 = 0.1,
        max_position_embeddings: usize = 2048,
        initializer_range: f64 = 0.02,
        layer_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        /// Whether attention and MLP see the same input.
        use_parallel_residual: bool = true,
        rope_parameters: RopeParameters = RopeParameters::partial(DEFAULT_THETA, PARTIAL),
        attention_bias: bool = true,
        is_decoder: bool = false,
    }
    tokens { pad: None, bos: Some(0), eos: Some(2) }
}

rotary_decoder! {
    GptNeoXConfig: "gpt_neox" {
        sizes: [intermediate_size],
        eps: layer_norm_eps,
        rope: validate_partial,
        standardize: |raw| {
            // Not read under the names of other families, and kept.
            let unread = ["rope_theta", "partial_rotary_factor"].map(|key| (key, raw.remove(key)));
            let names = [("rotary_emb_base", "rope_theta"), ("rotary_pct", "partial_rotary_factor")];
            json::rename(raw, &names);
            rope::standardize_partial(raw, DEFAULT_THETA, PARTIAL)?;
            for (key, value) in unread {
                value.map(|value| raw.insert(key.to_owned(), value));
            }
            Ok(())
        },
        check: |config| checks::heads_divide(config.hidden_size, config.num_attention_heads),
    }
}
