//! How generated texts are marked: the two configs of the reference.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{ConfigError, Result};

/// A way to mark generated texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Watermarking {
    /// Green lists.
    GreenList(WatermarkingConfig),
    /// SynthID-Text.
    SynthIDText(SynthIDTextWatermarkingConfig),
}

/// Which of the two it is, the fields say: only SynthID-Text has keys.
impl<'de> Deserialize<'de> for Watermarking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let read = match value.get("keys").or_else(|| value.get("ngram_len")) {
            Some(_) => serde_json::from_value(value).map(Self::SynthIDText),
            None => serde_json::from_value(value).map(Self::GreenList),
        };
        read.map_err(serde::de::Error::custom)
    }
}

/// Marks by green lists (Kirchenbauer et al. 2023): a random part of the vocabulary, chosen by the tokens before, gains
/// score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatermarkingConfig {
    /// The part of the vocabulary that is green.
    pub greenlist_ratio: f64,
    /// What green tokens gain.
    pub bias: f64,
    /// The secret.
    pub hashing_key: i64,
    /// What chooses the green tokens.
    pub seeding_scheme: SeedingScheme,
    /// Tokens before the one in question that choose.
    pub context_width: usize,
}

/// What chooses the green tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeedingScheme {
    /// The last token.
    LeftHash,
    /// The last tokens and the one in question: slower, and harder to remove.
    SelfHash,
}

impl Default for WatermarkingConfig {
    fn default() -> Self {
        Self {
            greenlist_ratio: 0.25,
            bias: 2.0,
            hashing_key: 15_485_863,
            seeding_scheme: SeedingScheme::LeftHash,
            context_width: 1,
        }
    }
}

/// Marks by a tournament of random functions of the last tokens (Dathathri et al. 2024).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthIDTextWatermarkingConfig {
    /// Tokens that the functions see, the one in question included.
    pub ngram_len: usize,
    /// The secrets, one for each round of the tournament.
    pub keys: Vec<i64>,
    /// Contexts of which each is marked only once.
    #[serde(default = "context_history_size")]
    pub context_history_size: usize,
    /// Seeds the table of the functions' values.
    #[serde(default)]
    pub sampling_table_seed: u64,
    /// The size of that table.
    #[serde(default = "sampling_table_size")]
    pub sampling_table_size: usize,
    /// Leave the first `ngram_len - 1` tokens as they are.
    #[serde(default)]
    pub skip_first_ngram_calls: bool,
    /// Mark a uniform distribution instead of the model's.
    #[serde(default)]
    pub debug_mode: bool,
}

fn context_history_size() -> usize {
    1024
}

fn sampling_table_size() -> usize {
    1 << 16
}

impl SynthIDTextWatermarkingConfig {
    /// With the defaults of the reference for the rest.
    pub fn new(ngram_len: usize, keys: Vec<i64>) -> Self {
        Self {
            ngram_len,
            keys,
            context_history_size: context_history_size(),
            sampling_table_seed: 0,
            sampling_table_size: sampling_table_size(),
            skip_first_ngram_calls: false,
            debug_mode: false,
        }
    }
}

impl Watermarking {
    /// Refuses values with which nothing can be marked.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the key.
    pub fn validate(&self) -> Result<()> {
        let check = |fine: bool, key: &str, expected: &str| match fine {
            true => Ok(()),
            false => Err(ConfigError::invalid(
                format!("watermarking_config.{key}"),
                format!("it must be {expected}"),
            )),
        };
        match self {
            Self::GreenList(config) => {
                let ratio = config.greenlist_ratio;
                let between = ratio > 0.0 && ratio < 1.0;
                check(between, "greenlist_ratio", "above 0 and below 1")?;
                check(config.bias.is_finite(), "bias", "a finite number")?;
                check(config.context_width > 0, "context_width", "at least 1")
            }
            Self::SynthIDText(config) => {
                check(config.ngram_len > 1, "ngram_len", "at least 2")?;
                check(!config.keys.is_empty(), "keys", "at least one number")?;
                let history = 1..=1 << 24;
                let fits = history.contains(&config.context_history_size);
                check(fits, "context_history_size", "within 1 to 2^24")?;
                let fits = history.contains(&config.sampling_table_size);
                check(fits, "sampling_table_size", "within 1 to 2^24")
            }
        }
    }
}
