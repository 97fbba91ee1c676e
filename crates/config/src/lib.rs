//! What a model is: typed configurations, rope parameters, generation config, GGUF key-values.
//!
//! [`AutoConfig`] reads the `config.json` of any model, of today's form or an older one, or the metadata of a GGUF
//! file. [`AutoConfig::typed`] makes a family's own struct of it, with the reference's defaults, validated:
//!
//! ```
//! use transformers_config::{AutoConfig, LayerType, LlamaConfig};
//!
//! let config = AutoConfig::from_json_str(
//!     r#"{"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "rope_theta": 500000.0}"#,
//! )?;
//! let llama: LlamaConfig = config.typed()?;
//! assert_eq!(llama.head_dim(), 16);
//! let rope = llama.rope_parameters.for_layer(LayerType::FullAttention).expect("llama has one for all layers");
//! assert_eq!(rope.rope_theta, 500_000.0);
//! # Ok::<(), transformers_config::ConfigError>(())
//! ```
//!
//! A family outside of this crate implements [`ModelConfig`] for a struct of its own.
#![forbid(unsafe_code)]

mod auto;
mod base;
pub mod checks;
mod declare;
mod dtypes;
mod error;
mod generation;
pub mod gguf;
mod gguf_config;
mod gguf_metadata;
mod json;
pub mod layer_types;
mod models;
pub mod rope;
mod wrappers;

pub use auto::AutoConfig;
pub use base::{BaseConfig, ModelConfig, ProblemType, TokenIds, token_id, token_ids};
pub use dtypes::{DTYPES, parse_dtype};
pub use error::{ConfigError, Result};
pub use generation::{
    EarlyStopping, GenerationConfig, Never, SeedingScheme, StopStrings,
    SynthIDTextWatermarkingConfig, Watermarking, WatermarkingConfig,
};
pub use gguf_metadata::GgufConfig;
pub use layer_types::LayerType;
pub use models::*;
pub use rope::{RopeConfig, RopeFrequencies, RopeParameters, RopeType};

/// The release of the reference whose form is written, as `transformers_version` in the files.
pub const REFERENCE_VERSION: &str = "5.23.0";
