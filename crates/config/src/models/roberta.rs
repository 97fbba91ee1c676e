//! `roberta`, and the same under two more names: `xlm-roberta` and `camembert`.

use crate::declare::config;
use crate::{ModelConfig, Result, checks};

/// Declares one of them; they differ in the default vocabulary.
macro_rules! roberta {
    ($name:ident, $model_type:literal, $vocab_size:literal) => {
        config! {
            #[doc = concat!("The configuration of a ", $model_type, " model.")]
            $name {
                vocab_size: usize = $vocab_size,
                hidden_size: usize = 768,
                num_hidden_layers: usize = 12,
                num_attention_heads: usize = 12,
                intermediate_size: usize = 3072,
                hidden_act: String = "gelu".into(),
                hidden_dropout_prob: f64 = 0.1,
                attention_probs_dropout_prob: f64 = 0.1,
                /// Rows of the position embedding; the first ones, up to the padding's, stand for no position.
                max_position_embeddings: usize = 512,
                type_vocab_size: usize = 2,
                initializer_range: f64 = 0.02,
                layer_norm_eps: f64 = 1e-12,
                use_cache: bool = true,
                classifier_dropout: Option<f64> = None,
                is_decoder: bool = false,
                add_cross_attention: bool = false,
                tie_word_embeddings: bool = true,
            }
            tokens { pad: Some(1), bos: Some(0), eos: Some(2) }
        }

        impl ModelConfig for $name {
            const MODEL_TYPE: &'static str = $model_type;

            fn validate(&self) -> Result<()> {
                checks::layers(self.num_hidden_layers)?;
                checks::sizes(&[
                    ("vocab_size", self.vocab_size),
                    ("intermediate_size", self.intermediate_size),
                    ("max_position_embeddings", self.max_position_embeddings),
                    ("type_vocab_size", self.type_vocab_size),
                ])?;
                checks::self_attention(self.hidden_size, self.num_attention_heads)?;
                checks::not_negative("layer_norm_eps", self.layer_norm_eps)?;
                checks::not_negative("initializer_range", self.initializer_range)
            }
        }
    };
}

roberta!(RobertaConfig, "roberta", 50_265);
roberta!(XLMRobertaConfig, "xlm-roberta", 30_522);
roberta!(CamembertConfig, "camembert", 30_522);
