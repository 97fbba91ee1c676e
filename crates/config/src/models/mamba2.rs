//! `mamba2`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::mamba::{forget_automatic_rank, fresh_time_steps};
use crate::declare::config;
use crate::{ConfigError, LayerType, ModelConfig, Result, checks, json};

config! {
    /// The configuration of a Mamba 2 model.
    Mamba2Config {
        /// The number of heads: what has a time step of its own.
        num_heads: usize = 128,
        /// The size of a head.
        head_dim: usize = 64,
        vocab_size: usize = 32_768,
        hidden_size: usize = 4096,
        state_size: usize = 128,
        num_hidden_layers: usize = 64,
        /// Added to the mean square in norms.
        layer_norm_epsilon: f64 = 1e-5,
        expand: usize = 2,
        conv_kernel: usize = 4,
        /// The groups of heads that share what enters and leaves their states.
        n_groups: usize = 8,
        /// Whether the projections into a mixer and out of it have biases.
        use_bias: bool = false,
        use_conv_bias: bool = true,
        /// The activation after the convolution.
        hidden_act: String = "silu".into(),
        initializer_range: f64 = 0.1,
        residual_in_fp32: bool = true,
        /// Kept for other readers; a sixteenth of the residual stream's width if null, or `auto` in a file.
        time_step_rank: Option<usize> = None,
        time_step_min: f64 = 0.001,
        time_step_max: f64 = 0.1,
        time_step_floor: f64 = 1e-4,
        /// What the time steps of a prompt are clamped to.
        time_step_limit: TimeStepLimit = TimeStepLimit::default(),
        rescale_prenorm_residual: bool = false,
        /// Whether to keep the states while generating.
        use_cache: bool = true,
        /// The tokens that are computed together. It changes how fast a prompt is, and no value.
        chunk_size: usize = 256,
        tie_word_embeddings: bool = false,
    }
    tokens { pad: Some(1), bos: Some(0), eos: Some(2) }
}

/// The shortest and the longest time step; a pair of numbers in files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeStepLimit {
    /// The shortest.
    pub min: f64,
    /// The longest, or infinity.
    pub max: f64,
}

impl Default for TimeStepLimit {
    fn default() -> Self {
        let (min, max) = (0.0, f64::INFINITY);
        Self { min, max }
    }
}

impl Serialize for TimeStepLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.min, self.max].map(json::float).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TimeStepLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limits = <[Value; 2]>::deserialize(deserializer)?;
        let number = |value| {
            json::to_float(value)
                .ok_or_else(|| D::Error::custom(format_args!("{value} is not a number")))
        };
        let [min, max] = &limits;
        let (min, max) = (number(min)?, number(max)?);
        Ok(Self { min, max })
    }
}

impl Mamba2Config {
    /// The width inside of a mixer.
    pub fn intermediate_size(&self) -> usize {
        self.expand.saturating_mul(self.hidden_size)
    }

    /// The channels of the convolution: those of the heads, and what enters and leaves the states of each group.
    pub fn conv_channels(&self) -> usize {
        let states = self.n_groups.saturating_mul(self.state_size);
        self.intermediate_size()
            .saturating_add(states.saturating_mul(2))
    }

    /// Every layer has a recurrent state.
    pub fn layer_types(&self) -> Vec<LayerType> {
        vec![LayerType::LinearAttention; self.num_hidden_layers]
    }

    fn check_heads(&self) -> Result<()> {
        let inner = self.intermediate_size();
        let invalid = |key: &str, reason| Err(ConfigError::invalid(key, reason));
        if self.num_heads.saturating_mul(self.head_dim) != inner {
            let (heads, size) = (self.num_heads, self.head_dim);
            let reason = format!("{heads} heads of {size} are not the mixer's width of {inner}");
            return invalid("num_heads", reason);
        }
        let divides = |size: usize| size.is_multiple_of(self.n_groups);
        if !divides(self.num_heads) || !divides(inner) {
            let (groups, heads) = (self.n_groups, self.num_heads);
            let reason = format!("{groups} groups cannot share {heads} heads evenly");
            return invalid("n_groups", reason);
        }
        Ok(())
    }
}

impl ModelConfig for Mamba2Config {
    const MODEL_TYPE: &'static str = "mamba2";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        forget_automatic_rank(raw);
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("state_size", self.state_size),
            ("conv_kernel", self.conv_kernel),
            ("num_heads", self.num_heads),
            ("head_dim", self.head_dim),
            ("n_groups", self.n_groups),
            ("expand", self.conv_channels()),
        ])?;
        self.check_heads()?;
        let TimeStepLimit { min, max } = self.time_step_limit;
        if min.is_nan() || max.is_nan() || min > max {
            let reason = format!("{min} to {max} is no range");
            return Err(ConfigError::invalid("time_step_limit", reason));
        }
        checks::not_negative("layer_norm_epsilon", self.layer_norm_epsilon)?;
        checks::not_negative("initializer_range", self.initializer_range)?;
        fresh_time_steps(self.time_step_min, self.time_step_max, self.time_step_floor)
    }

    fn complete(&mut self) {
        self.time_step_rank
            .get_or_insert(self.hidden_size.div_ceil(16));
    }
}
