//! Which cache a generation keeps its tokens in: `cache_implementation` and `cache_config`.

use serde::Deserialize;
use serde_json::Value;
use transformers_config::GenerationConfig;
use transformers_modeling::PreTrainedModel;
use transformers_modeling::nn::{Cache, CacheBits, CacheImplementation, QuantizedCacheOptions};

use crate::GenerateError;

/// What `cache_implementation` may say.
const KNOWN: &str = "dynamic, static, sliding_window, quantized";

/// Makes empty caches of the kind that was chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheFactory {
    /// `None`: the model's choice.
    implementation: Option<CacheImplementation>,
}

/// The keys of `cache_config`, as the reference's integer backends take them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuantizedConfig {
    #[serde(default, rename = "backend")]
    _backend: Option<Backend>,
    #[serde(default = "four")]
    nbits: usize,
    #[serde(default, rename = "axis_key")]
    _axis_key: Option<PerToken>,
    #[serde(default, rename = "axis_value")]
    _axis_value: Option<PerToken>,
    q_group_size: Option<usize>,
    residual_length: Option<usize>,
}

fn four() -> usize {
    4
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Backend {
    Quanto,
    Hqq,
}

/// Groups lie within a token.
#[derive(Deserialize)]
#[serde(try_from = "usize")]
struct PerToken;

impl TryFrom<usize> for PerToken {
    type Error = String;

    fn try_from(axis: usize) -> Result<Self, String> {
        match axis {
            0 => Ok(Self),
            axis => Err(format!("axis {axis} is not supported, only 0 is")),
        }
    }
}

impl CacheFactory {
    /// As `config` says, for sequences of at most `max_len` tokens.
    pub fn new(config: &GenerationConfig, max_len: usize) -> Result<Self, GenerateError> {
        let implementation = match config.cache_implementation.as_deref() {
            None => None,
            Some("dynamic") => Some(CacheImplementation::Dynamic),
            Some("static" | "sliding_window") => Some(CacheImplementation::Static {
                max_cache_len: config.max_cache_len.unwrap_or(0).max(max_len),
            }),
            Some("quantized") => {
                let options = quantized(config.cache_config.as_ref())?;
                Some(CacheImplementation::Quantized(options))
            }
            Some(name) => {
                return Err(GenerateError::CacheImplementation {
                    name: name.to_owned(),
                    known: KNOWN,
                });
            }
        };
        Ok(Self { implementation })
    }

    /// An empty cache of `model`.
    pub fn empty<M: PreTrainedModel + ?Sized>(
        self,
        model: &M,
    ) -> Result<Box<dyn Cache>, GenerateError> {
        let own = || model.new_cache().ok_or(GenerateError::NotADecoder);
        match (self.implementation, model.cache_layout()) {
            (None | Some(CacheImplementation::Dynamic), None) | (None, Some(_)) => own(),
            (Some(implementation), Some(layout)) => Ok(layout.cache(implementation)),
            (Some(_), None) => {
                own()?;
                Err(GenerateError::OwnCache)
            }
        }
    }
}

fn quantized(config: Option<&Value>) -> Result<QuantizedCacheOptions, GenerateError> {
    let wrong = |problem: String| GenerateError::CacheConfig { problem };
    let given = config
        .cloned()
        .unwrap_or_else(|| Value::Object(Default::default()));
    let given: QuantizedConfig =
        serde_json::from_value(given).map_err(|error| wrong(error.to_string()))?;
    let default = QuantizedCacheOptions::default();
    Ok(QuantizedCacheOptions {
        bits: match given.nbits {
            4 => CacheBits::Four,
            8 => CacheBits::Eight,
            bits => return Err(wrong(format!("`nbits` is {bits}: it may be 4 or 8"))),
        },
        q_group_size: given.q_group_size.unwrap_or(default.q_group_size),
        residual_length: given.residual_length.unwrap_or(default.residual_length),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(config: Value, expect: &str) {
        let config: GenerationConfig = serde_json::from_value(config).expect("a config");
        let found = match CacheFactory::new(&config, 10) {
            Ok(factory) => format!("{:?}", factory.implementation),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expect), "{found}");
    }

    #[test]
    fn names_choose_caches() {
        check(json!({}), "None");
        check(json!({"cache_implementation": "dynamic"}), "Dynamic");
        let fixed = json!({"cache_implementation": "static"});
        check(fixed, "Static { max_cache_len: 10 }");
        let larger = json!({"cache_implementation": "static", "max_cache_len": 64});
        check(larger, "Static { max_cache_len: 64 }");
        check(json!({"cache_implementation": "paged"}), KNOWN);
    }

    #[test]
    fn quantised_caches_have_options() {
        let check = |config, expect| {
            let config = json!({"cache_implementation": "quantized", "cache_config": config});
            check(config, expect);
        };
        check(json!({}), "Four, q_group_size: 64, residual_length: 128");
        check(
            json!({"nbits": 8, "backend": "quanto", "residual_length": 4}),
            "Eight",
        );
        check(json!({"nbits": 2}), "4 or 8");
        check(json!({"backend": "fp8"}), "quanto");
        check(json!({"axis_key": 1}), "axis 1");
        check(json!({"group": 1}), "q_group_size");
    }
}
