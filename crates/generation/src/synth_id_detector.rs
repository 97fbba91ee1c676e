//! Whether a text was marked by SynthID-Text: a small model that was trained to know.

use serde::Deserialize;
use transformers_config::SynthIDTextWatermarkingConfig;
use transformers_hub::{HubOptions, ModelFiles, ModelSource};
use transformers_weights::{Checkpoint, DType, OpenOptions, WeightsError};

use crate::{GenerateError, SynthIDTextWatermark};

/// Says how likely it is that a text was marked by SynthID-Text (`SynthIDTextWatermarkDetector` with its
/// `BayesianDetectorModel`): a logistic regression of how the rounds of the tournament ended.
#[derive(Debug, Clone)]
pub struct SynthIDTextWatermarkDetector {
    watermark: SynthIDTextWatermark,
    /// Texts end with it.
    eos: u32,
    weights: Weights,
}

/// The trained parameters.
#[derive(Debug, Clone)]
struct Weights {
    /// `[rounds]`.
    beta: Vec<f32>,
    /// `[rounds][rounds]`.
    delta: Vec<Vec<f32>>,
    prior: f32,
}

/// The file beside the weights.
#[derive(Deserialize)]
struct DetectorConfig {
    watermarking_config: Option<SynthIDTextWatermarkingConfig>,
}

impl SynthIDTextWatermarkDetector {
    /// Reads a detector that the reference saved, with the watermark that it was trained for. `eos`: the token that ends
    /// texts.
    ///
    /// # Errors
    /// Files that are not there or not a detector's.
    pub fn from_pretrained(
        source: impl Into<ModelSource>,
        eos: u32,
    ) -> Result<Self, GenerateError> {
        let files = ModelFiles::resolve(source, &HubOptions::default())?;
        let path = files.require("config.json")?;
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| GenerateError::file(&path, error))?;
        let config: DetectorConfig =
            serde_json::from_str(&text).map_err(|error| GenerateError::file(&path, error))?;
        let Some(config) = config.watermarking_config else {
            let reason = "no `watermarking_config`: it is not a detector that was trained";
            return Err(GenerateError::file(&path, reason));
        };
        let weights = Weights::read(&files, config.keys.len())?;
        Ok(Self {
            watermark: SynthIDTextWatermark::new(config),
            eos,
            weights,
        })
    }

    /// The probability that `ids` were marked, from 0 to 1; for texts shorter than `ngram_len`, what it is of any text.
    pub fn detect(&self, ids: &[u32]) -> f32 {
        let before = self.watermark.config().ngram_len - 1;
        let end = ids.iter().position(|id| *id == self.eos);
        let counted = end.unwrap_or(ids.len()).saturating_sub(before);
        let values = self.watermark.g_values(ids);
        let fresh = self.watermark.context_repetition_mask(ids);
        let counted = values.iter().zip(fresh).take(counted);
        let counted = counted.filter(|(_, fresh)| *fresh);
        let odds: f32 = counted
            .map(|(values, _)| self.weights.log_odds(values))
            .sum();
        let prior = self.weights.prior.clamp(1e-5, 1.0 - 1e-5);
        sigmoid(prior.ln() - (1.0 - prior).ln() + odds)
    }
}

impl Weights {
    fn read(files: &ModelFiles, rounds: usize) -> Result<Self, GenerateError> {
        let checkpoint = Checkpoint::open(files, &OpenOptions::default())?;
        let read = |name: &str, len: usize| -> Result<Vec<f32>, GenerateError> {
            let tensor = checkpoint.tensor(name)?.cast(DType::F32)?.aligned();
            match tensor.as_slice::<f32>() {
                Some(values) if values.len() == len => Ok(values.to_vec()),
                _ => Err(GenerateError::DetectorShape {
                    name: name.to_owned(),
                    found: tensor.shape().to_vec(),
                    expected: len,
                }),
            }
        };
        let delta = read("likelihood_model_watermarked.delta", rounds * rounds)?;
        Ok(Self {
            beta: read("likelihood_model_watermarked.beta", rounds)?,
            delta: delta.chunks(rounds).map(<[f32]>::to_vec).collect(),
            prior: read("prior", 1)?[0],
        })
    }

    /// How much likelier the values of one sequence are in marked texts than in others, as a logarithm.
    fn log_odds(&self, values: &[u8]) -> f32 {
        let round = |round: usize| {
            let earlier = self.delta[round].iter().zip(values).take(round);
            let logit: f32 = earlier
                .map(|(delta, value)| delta * f32::from(*value))
                .sum();
            // Whether two different tokens met in this round.
            let two = sigmoid(logit + self.beta[round]);
            let likelihood = 0.5 * ((f32::from(values[round]) + 0.5) * two + 1.0 - two);
            likelihood.max(1e-30).ln() - 0.5f32.ln()
        };
        (0..values.len()).map(round).sum()
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

impl From<WeightsError> for GenerateError {
    fn from(error: WeightsError) -> Self {
        Self::Model(error.into())
    }
}
