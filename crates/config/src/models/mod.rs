//! The families whose configurations this crate knows. A family elsewhere implements [`ModelConfig`] just the same.

mod bert;
mod gemma3;
mod llama;
mod mistral;
mod qwen2;
mod qwen3;

use serde_json::{Map, Value};

use crate::{ModelConfig, Result};

pub use bert::BertConfig;
pub use gemma3::Gemma3TextConfig;
pub use llama::LlamaConfig;
pub use mistral::MistralConfig;
pub use qwen2::Qwen2Config;
pub use qwen3::Qwen3Config;

type Standardize = fn(&mut Map<String, Value>) -> Result<()>;

/// What is known of a model type before its configuration is typed.
pub(crate) enum Family {
    /// The configuration of a text model.
    Plain {
        /// [`ModelConfig::standardize`].
        standardize: Standardize,
        /// `tie_word_embeddings` where it is not stated.
        tied: bool,
    },
    /// A configuration with that of a text model inside.
    Wrapper {
        /// [`ModelConfig::standardize`] of the text model.
        standardize_text: Standardize,
    },
}

/// The family of `model_type`, if it is one of this crate's.
pub(crate) fn family(model_type: &str) -> Option<Family> {
    fn plain<C: ModelConfig>(tied: bool) -> Family {
        Family::Plain {
            standardize: C::standardize,
            tied,
        }
    }
    Some(match model_type {
        "bert" => plain::<BertConfig>(true),
        "gemma3" => Family::Wrapper {
            standardize_text: Gemma3TextConfig::standardize,
        },
        "gemma3_text" => plain::<Gemma3TextConfig>(true),
        "llama" => plain::<LlamaConfig>(false),
        "mistral" => plain::<MistralConfig>(false),
        "qwen2" => plain::<Qwen2Config>(false),
        "qwen3" => plain::<Qwen3Config>(false),
        _ => return None,
    })
}
