//! `t5`, `mt5` and `umt5`: encoder–decoders with relative positions. They have the same fields and other defaults.

use serde_json::{Map, Value, json};

use crate::declare::config;
use crate::json::rename;
use crate::{ConfigError, ModelConfig, Result, checks};

/// Names that other families have for fields of these.
const NAMES: &[(&str, &str)] = &[
    ("head_dim", "d_kv"),
    ("hidden_size", "d_model"),
    ("num_attention_heads", "num_heads"),
    ("num_hidden_layers", "num_layers"),
];

macro_rules! t5_config {
    (
        $(#[$meta:meta])*
        $name:ident, $model_type:literal, standardize: $standardize:path,
        vocab_size: $vocab_size:expr, d_ff: $d_ff:expr, num_layers: $num_layers:expr, num_heads: $num_heads:expr,
        feed_forward_proj: $feed_forward_proj:expr, decoder_start_token_id: $start:expr,
        $(bos: $($bos:tt)*)?
    ) => {
        config! {
            $(#[$meta])*
            $name {
                vocab_size: usize = $vocab_size,
                /// The width of the residual stream.
                d_model: usize = 512,
                /// The size of a head.
                d_kv: usize = 64,
                /// The width inside of the MLP.
                d_ff: usize = $d_ff,
                /// The number of encoder layers.
                num_layers: usize = $num_layers,
                /// The number of decoder layers; as many as the encoder's if null.
                num_decoder_layers: Option<usize> = None,
                /// The number of heads.
                num_heads: usize = $num_heads,
                /// The number of distances that are told apart.
                relative_attention_num_buckets: usize = 32,
                /// From this distance on all are alike.
                relative_attention_max_distance: usize = 128,
                /// Dropout while training.
                dropout_rate: f64 = 0.1,
                /// Added to the mean square in norms.
                layer_norm_epsilon: f64 = 1e-6,
                /// Factor on the spread of fresh weights.
                initializer_factor: f64 = 1.0,
                /// The MLP: an activation (`relu`), or `gated-` and an activation (`gated-gelu`).
                feed_forward_proj: String = $feed_forward_proj.into(),
                /// Whether this is an encoder–decoder.
                is_encoder_decoder: bool = true,
                use_cache: bool = true,
                classifier_dropout: f64 = 0.0,
                is_decoder: bool = false,
                /// The decoder's first token.
                #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "crate::base::token_id")]
                decoder_start_token_id: Option<u32> = $start,
                /// Whether the decoder's states are scaled before the output layer (T5 1.0).
                #[serde(skip_serializing_if = "Option::is_none")]
                scale_decoder_outputs: Option<bool> = None,
                tie_word_embeddings: bool = true,
            }
            tokens { pad: Some(0), $(#[serde($($bos)*)])? bos: None, eos: Some(1) }
        }

        impl $name {
            /// The number of decoder layers.
            pub fn num_decoder_layers(&self) -> usize {
                self.num_decoder_layers.unwrap_or(self.num_layers)
            }

            /// The MLP's activation, and whether the MLP is gated.
            ///
            /// # Errors
            /// `feed_forward_proj` has neither form.
            pub fn activation(&self) -> Result<(&str, bool)> {
                activation(&self.feed_forward_proj)
            }
        }

        impl ModelConfig for $name {
            const MODEL_TYPE: &'static str = $model_type;

            fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
                rename(raw, NAMES);
                $standardize(raw);
                Ok(())
            }

            fn validate(&self) -> Result<()> {
                checks::layers(self.num_layers)?;
                checks::layers(self.num_decoder_layers())?;
                checks::sizes(&[
                    ("vocab_size", self.vocab_size),
                    ("d_ff", self.d_ff),
                    ("relative_attention_max_distance", self.relative_attention_max_distance),
                ])?;
                checks::attention(self.d_model, self.num_heads, self.num_heads, Some(self.d_kv))?;
                buckets(self.relative_attention_num_buckets, self.relative_attention_max_distance)?;
                checks::not_negative("layer_norm_epsilon", self.layer_norm_epsilon)?;
                checks::not_negative("initializer_factor", self.initializer_factor)?;
                self.activation().map(|_| ())
            }

            fn complete(&mut self) {
                self.num_decoder_layers = Some(self.num_decoder_layers());
                // The reference writes what it makes of `feed_forward_proj`.
                if let Ok((name, gated)) = activation(&self.feed_forward_proj) {
                    let extra = &mut self.base.extra;
                    extra.insert("dense_act_fn".into(), name.into());
                    extra.insert("is_gated_act".into(), gated.into());
                }
            }
        }
    };
}

t5_config! {
    /// The configuration of a t5 model.
    T5Config, "t5", standardize: scale_if_tied,
    vocab_size: 32_128, d_ff: 2048, num_layers: 6, num_heads: 8,
    feed_forward_proj: "relu", decoder_start_token_id: None,
    bos: skip_serializing_if = "Option::is_none"
}

t5_config! {
    /// The configuration of an mt5 model.
    MT5Config, "mt5", standardize: as_it_is,
    vocab_size: 250_112, d_ff: 1024, num_layers: 8, num_heads: 6,
    feed_forward_proj: "gated-gelu", decoder_start_token_id: Some(0),
}

t5_config! {
    /// The configuration of a umt5 model.
    UMT5Config, "umt5", standardize: as_it_is,
    vocab_size: 250_112, d_ff: 1024, num_layers: 8, num_heads: 6,
    feed_forward_proj: "gated-gelu", decoder_start_token_id: Some(0),
    bos: skip_serializing_if = "Option::is_none"
}

/// Files before v5 say with the tie which of T5's two versions they are.
fn scale_if_tied(raw: &mut Map<String, Value>) {
    let tied = raw.get("tie_word_embeddings") != Some(&json!(false));
    raw.entry("scale_decoder_outputs")
        .or_insert_with(|| tied.into());
}

fn as_it_is(_raw: &mut Map<String, Value>) {}

fn activation(feed_forward_proj: &str) -> Result<(&str, bool)> {
    match feed_forward_proj.split('-').collect::<Vec<_>>()[..] {
        ["gated", "gelu"] => Ok(("gelu_new", true)),
        ["gated", name] => Ok((name, true)),
        [name] => Ok((name, false)),
        _ => Err(ConfigError::invalid(
            "feed_forward_proj",
            format!("`{feed_forward_proj}` is neither an activation nor `gated-` and an activation"),
        )),
    }
}

/// A quarter of the buckets counts single tokens, so that there must be four; the logarithms of the others end beyond it.
fn buckets(count: usize, max_distance: usize) -> Result<()> {
    if !(4..=checks::MAX_SIZE).contains(&count) || max_distance <= count / 2 {
        return Err(ConfigError::invalid(
            "relative_attention_num_buckets",
            format!("{count} buckets do not divide distances up to {max_distance}"),
        ));
    }
    Ok(())
}
