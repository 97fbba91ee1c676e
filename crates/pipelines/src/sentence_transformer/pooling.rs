//! From the states of a text's tokens to one vector (the reference's `Pooling` module).
//!
//! Every mode but `max` is a weighted sum over the tokens, so that what tells them apart is a row of weights.

use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use serde_json::{Map, Value};

use crate::PipelineError;

/// How the states of the tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Cls,
    Max,
    Mean,
    MeanSqrtLen,
    WeightedMean,
    LastToken,
}

/// Today's name and the former boolean key of each mode, in the order in which former files concatenate them.
const MODES: [(Mode, &str, &str); 6] = [
    (Mode::Cls, "cls", "pooling_mode_cls_token"),
    (Mode::Max, "max", "pooling_mode_max_tokens"),
    (Mode::Mean, "mean", "pooling_mode_mean_tokens"),
    (
        Mode::MeanSqrtLen,
        "mean_sqrt_len_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
    ),
    (
        Mode::WeightedMean,
        "weightedmean",
        "pooling_mode_weightedmean_tokens",
    ),
    (Mode::LastToken, "lasttoken", "pooling_mode_lasttoken"),
];

/// The modes whose vectors are concatenated, and whether a prompt's tokens count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pooling {
    modes: Vec<Mode>,
    pub include_prompt: bool,
}

impl Default for Pooling {
    fn default() -> Self {
        Self {
            modes: vec![Mode::Mean],
            include_prompt: true,
        }
    }
}

impl Pooling {
    /// Reads the module's `config.json`, the keys of which changed from a boolean for each mode to `pooling_mode`.
    pub fn from_config(config: &Map<String, Value>, path: &Path) -> Result<Self, PipelineError> {
        let is_on = |key: &str| config.get(key) == Some(&Value::Bool(true));
        let modes = match config.get("pooling_mode") {
            Some(Value::Array(names)) => names
                .iter()
                .map(|name| mode(name, path))
                .collect::<Result<_, _>>()?,
            Some(name) => vec![mode(name, path)?],
            None => MODES
                .iter()
                .filter(|(_, _, key)| is_on(key))
                .map(|(mode, ..)| *mode)
                .collect(),
        };
        Ok(Self {
            modes: if modes.is_empty() {
                vec![Mode::Mean]
            } else {
                modes
            },
            include_prompt: config.get("include_prompt") != Some(&Value::Bool(false)),
        })
    }

    /// States `[batch, seq, hidden]` to `[batch, modes * hidden]`. Row `i` pools the tokens `spans[i]`.
    pub fn forward(&self, states: Tensor<3>, spans: &[Span]) -> Tensor<2> {
        let pooled = self.modes.iter().map(|mode| match mode {
            Mode::Max => max(states.clone(), spans),
            mode => weighted_sum(states.clone(), spans, *mode),
        });
        Tensor::cat(pooled.collect(), 1)
    }
}

fn mode(name: &Value, path: &Path) -> Result<Mode, PipelineError> {
    let known = MODES.iter().find(|(_, known, _)| name == known);
    known
        .map(|(mode, ..)| *mode)
        .ok_or_else(|| PipelineError::InvalidKey {
            path: path.to_path_buf(),
            key: "pooling_mode",
            reason: format!(
                "{name} is not one of {}",
                MODES.map(|(_, known, _)| known).join(", ")
            ),
        })
}

/// The tokens of a row that are pooled: never none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// The first one; those before it are the prompt's.
    pub start: usize,
    /// One past the last; padding follows.
    pub end: usize,
}

impl Span {
    /// The weights of `seq` tokens in the sum that `mode` stands for.
    fn weights(self, mode: Mode, seq: usize) -> Vec<f32> {
        let count = (self.end - self.start) as f32;
        // Positions count from 1 and from the beginning of the row, a prompt that does not count included.
        let positions: f32 = (self.start + 1..=self.end)
            .map(|position| position as f32)
            .sum();
        let weight = |index: usize| match mode {
            Mode::Cls => f32::from(index == self.start),
            Mode::LastToken => f32::from(index + 1 == self.end),
            Mode::Mean => 1.0 / count,
            Mode::MeanSqrtLen => 1.0 / count.sqrt(),
            Mode::WeightedMean => (index + 1) as f32 / positions,
            Mode::Max => 1.0,
        };
        let inside = |index: &usize| (self.start..self.end).contains(index);
        (0..seq)
            .map(|index| if inside(&index) { weight(index) } else { 0.0 })
            .collect()
    }
}

fn weighted_sum(states: Tensor<3>, spans: &[Span], mode: Mode) -> Tensor<2> {
    weights(&states, spans, mode).matmul(states).squeeze_dim(1)
}

fn max(states: Tensor<3>, spans: &[Span]) -> Tensor<2> {
    let outside = weights(&states, spans, Mode::Max)
        .swap_dims(1, 2)
        .equal_elem(0.0);
    let outside = outside.expand(states.dims());
    states
        .mask_fill(outside, f32::NEG_INFINITY)
        .max_dim(1)
        .squeeze_dim(1)
}

/// `[batch, 1, seq]`.
fn weights(states: &Tensor<3>, spans: &[Span], mode: Mode) -> Tensor<3> {
    let [batch, seq, _] = states.dims();
    let values: Vec<f32> = spans
        .iter()
        .flat_map(|span| span.weights(mode, seq))
        .collect();
    Tensor::from_data(TensorData::new(values, [batch, 1, seq]), &states.device())
}
