//! `bart` and its kin: `mbart`, `marian`, `pegasus`, `blenderbot` and `m2m_100`. They have the same fields, a few of them
//! more, and other defaults.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::json::rename;
use crate::{BaseConfig, ModelConfig, Result, TokenIds, checks};

/// Names that other families have for fields of these.
const NAMES: &[(&str, &str)] = &[
    ("hidden_size", "d_model"),
    ("num_attention_heads", "encoder_attention_heads"),
    ("num_hidden_layers", "encoder_layers"),
];

const FORCED_EOS: &[&str] = &["forced_eos_token_id"];

macro_rules! bart_config {
    (
        $(#[$meta:meta])*
        $name:ident, $model_type:literal {
            vocab_size: $vocab_size:expr,
            max_position_embeddings: $positions:expr,
            layers: [$encoder_layers:expr, $decoder_layers:expr],
            heads: $heads:expr,
            ffn_dim: $ffn_dim:expr,
            d_model: $d_model:expr,
            layerdrop: $layerdrop:expr,
            activation_function: $activation:expr,
            attention_dropout: $attention_dropout:expr,
            scale_embedding: $scale:expr,
            decoder_start_token_id: $start:expr,
            forced_eos_token_id: $forced:expr,
            $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr,)*
        }
        tokens { $($tokens:tt)* }
        generation_fields: $generation_fields:expr,
        $(validate: |$config:ident| $validate:expr,)?
        $(complete: |$this:ident| $complete:expr,)?
    ) => {
        config! {
            $(#[$meta])*
            $name {
                vocab_size: usize = $vocab_size,
                max_position_embeddings: usize = $positions,
                /// The number of encoder layers.
                encoder_layers: usize = $encoder_layers,
                /// The width inside of the encoder's MLPs.
                encoder_ffn_dim: usize = $ffn_dim,
                /// The number of the encoder's heads.
                encoder_attention_heads: usize = $heads,
                /// The number of decoder layers.
                decoder_layers: usize = $decoder_layers,
                /// The width inside of the decoder's MLPs.
                decoder_ffn_dim: usize = $ffn_dim,
                /// The number of the decoder's heads.
                decoder_attention_heads: usize = $heads,
                /// How often an encoder layer is left out while training.
                encoder_layerdrop: f64 = $layerdrop,
                /// How often a decoder layer is left out while training.
                decoder_layerdrop: f64 = $layerdrop,
                /// The MLPs' activation.
                activation_function: String = $activation.into(),
                /// The width of the residual stream.
                d_model: usize = $d_model,
                /// Dropout on hidden states while training.
                dropout: f64 = 0.1,
                attention_dropout: f64 = $attention_dropout,
                /// Dropout inside of the MLPs while training.
                activation_dropout: f64 = 0.0,
                /// The standard deviation of fresh weights.
                init_std: f64 = 0.02,
                /// Whether embeddings are multiplied by the root of their width.
                scale_embedding: bool = $scale,
                use_cache: bool = true,
                /// Whether this is an encoder–decoder.
                is_encoder_decoder: bool = true,
                /// The decoder's first token.
                #[serde(deserialize_with = "crate::base::token_id")]
                decoder_start_token_id: Option<u32> = $start,
                /// The token, or tokens, at the largest length of a generated text.
                #[serde(deserialize_with = "crate::base::token_ids")]
                forced_eos_token_id: Option<TokenIds> = Option::<u32>::map($forced, TokenIds::One),
                tie_word_embeddings: bool = true,
                $($(#[doc = $doc])+ $field: $type = $default,)*
            }
            tokens { $($tokens)* }
        }

        impl ModelConfig for $name {
            const MODEL_TYPE: &'static str = $model_type;
            const GENERATION_FIELDS: &'static [&'static str] = $generation_fields;

            fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
                rename(raw, NAMES);
                Ok(())
            }

            fn validate(&self) -> Result<()> {
                checks::layers(self.encoder_layers)?;
                checks::layers(self.decoder_layers)?;
                checks::sizes(&[
                    ("vocab_size", self.vocab_size),
                    ("max_position_embeddings", self.max_position_embeddings),
                    ("encoder_ffn_dim", self.encoder_ffn_dim),
                    ("decoder_ffn_dim", self.decoder_ffn_dim),
                ])?;
                for heads in [self.encoder_attention_heads, self.decoder_attention_heads] {
                    checks::attention(self.d_model, heads, heads, None)?;
                }
                $({
                    let $config = self;
                    $validate?;
                })?
                checks::not_negative("init_std", self.init_std)
            }

            $(fn complete(&mut self) {
                let $this = self;
                $complete;
            })?
        }
    };
}

bart_config! {
    /// The configuration of a bart model.
    BartConfig, "bart" {
        vocab_size: 50_265,
        max_position_embeddings: 1024,
        layers: [12, 12],
        heads: 16,
        ffn_dim: 4096,
        d_model: 1024,
        layerdrop: 0.0,
        activation_function: "gelu",
        attention_dropout: 0.0,
        scale_embedding: false,
        decoder_start_token_id: Some(2),
        forced_eos_token_id: Some(2),
        /// Dropout before the classifier while training.
        classifier_dropout: f64 = 0.0,
        /// Whether this is a decoder alone.
        is_decoder: bool = false,
    }
    tokens { pad: Some(1), bos: Some(0), eos: Some(2) }
    generation_fields: FORCED_EOS,
    complete: |config| three_labels(&mut config.base),
}

/// Without a number of labels it is three, as natural language inference has.
fn three_labels(base: &mut BaseConfig) {
    if base.id2label.is_none() && !base.extra.contains_key("num_labels") {
        let labels = || (0..3).map(|id| (id, format!("LABEL_{id}")));
        base.label2id = Some(labels().map(|(id, label)| (label, id)).collect());
        base.id2label = Some(labels().map(|(id, label)| (id.to_string(), label)).collect());
    }
}

bart_config! {
    /// The configuration of an mbart model.
    MBartConfig, "mbart" {
        vocab_size: 50_265,
        max_position_embeddings: 1024,
        layers: [12, 12],
        heads: 16,
        ffn_dim: 4096,
        d_model: 1024,
        layerdrop: 0.0,
        activation_function: "gelu",
        attention_dropout: 0.0,
        scale_embedding: false,
        decoder_start_token_id: None,
        forced_eos_token_id: Some(2),
        /// Dropout before the classifier while training.
        classifier_dropout: f64 = 0.0,
        /// Whether this is a decoder alone.
        is_decoder: bool = false,
    }
    tokens { pad: Some(1), bos: Some(0), eos: Some(2) }
    generation_fields: FORCED_EOS,
}

bart_config! {
    /// The configuration of a marian model.
    MarianConfig, "marian" {
        vocab_size: 58_101,
        max_position_embeddings: 1024,
        layers: [12, 12],
        heads: 16,
        ffn_dim: 4096,
        d_model: 1024,
        layerdrop: 0.0,
        activation_function: "gelu",
        attention_dropout: 0.0,
        scale_embedding: false,
        decoder_start_token_id: Some(58_100),
        forced_eos_token_id: Some(0),
        /// Rows of the decoder's embedding; as many as the encoder's if null.
        decoder_vocab_size: Option<usize> = None,
        /// Whether encoder and decoder have one embedding.
        share_encoder_decoder_embeddings: bool = true,
        /// Whether this is a decoder alone.
        is_decoder: bool = false,
    }
    tokens { pad: Some(58_100), bos: None, eos: Some(0) }
    generation_fields: FORCED_EOS,
    validate: |config| checks::sizes(&[("decoder_vocab_size", config.decoder_vocab_size())]),
    complete: |config| config.decoder_vocab_size = Some(config.decoder_vocab_size()),
}

impl MarianConfig {
    /// Rows of the decoder's embedding.
    pub fn decoder_vocab_size(&self) -> usize {
        match self.decoder_vocab_size {
            None | Some(0) => self.vocab_size,
            Some(size) => size,
        }
    }
}

bart_config! {
    /// The configuration of a pegasus model.
    PegasusConfig, "pegasus" {
        vocab_size: 50_265,
        max_position_embeddings: 1024,
        layers: [12, 12],
        heads: 16,
        ffn_dim: 4096,
        d_model: 1024,
        layerdrop: 0.0,
        activation_function: "gelu",
        attention_dropout: 0.0,
        scale_embedding: false,
        decoder_start_token_id: Some(0),
        forced_eos_token_id: Some(1),
        /// Whether this is a decoder alone.
        is_decoder: bool = false,
    }
    tokens { pad: Some(0), #[serde(skip_serializing_if = "Option::is_none")] bos: None, eos: Some(1) }
    generation_fields: FORCED_EOS,
}

bart_config! {
    /// The configuration of a blenderbot model.
    BlenderbotConfig, "blenderbot" {
        vocab_size: 8008,
        max_position_embeddings: 128,
        layers: [2, 24],
        heads: 32,
        ffn_dim: 10_240,
        d_model: 2560,
        layerdrop: 0.0,
        activation_function: "gelu",
        attention_dropout: 0.0,
        scale_embedding: false,
        decoder_start_token_id: Some(1),
        forced_eos_token_id: Some(2),
        /// No sequence of so many tokens of the input may be generated.
        encoder_no_repeat_ngram_size: usize = 3,
        /// Whether this is a decoder alone.
        is_decoder: bool = false,
    }
    tokens { pad: Some(0), bos: Some(1), eos: Some(2) }
    generation_fields: &["forced_eos_token_id", "encoder_no_repeat_ngram_size"],
}

bart_config! {
    /// The configuration of an `m2m_100` model, NLLB's among them.
    M2M100Config, "m2m_100" {
        vocab_size: 128_112,
        max_position_embeddings: 1024,
        layers: [12, 12],
        heads: 16,
        ffn_dim: 4096,
        d_model: 1024,
        layerdrop: 0.05,
        activation_function: "relu",
        attention_dropout: 0.1,
        scale_embedding: true,
        decoder_start_token_id: Some(2),
        forced_eos_token_id: None,
    }
    tokens { pad: Some(1), bos: Some(0), eos: Some(2) }
    generation_fields: &[],
}
