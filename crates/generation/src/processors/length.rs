//! Processors that know how long a row is.

use super::{LogitsProcessor, Step, force, remove};

/// `MinNewTokensLengthLogitsProcessor`, and `MinLengthLogitsProcessor` less the prompt: no eos before so many new tokens.
#[derive(Debug, Clone)]
pub struct MinNewTokens {
    /// The least number of new tokens.
    pub min: usize,
    /// The tokens that end a row.
    pub eos: Vec<u32>,
}

impl LogitsProcessor for MinNewTokens {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        if step.new_ids().len() < self.min {
            remove(scores, &self.eos);
        }
    }
}

/// `ForcedBOSTokenLogitsProcessor`: the token after the first one, which for an encoder-decoder is the decoder's start.
#[derive(Debug, Clone, Copy)]
pub struct ForcedBos(pub u32);

impl LogitsProcessor for ForcedBos {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        if step.ids.len() == 1 {
            force(scores, &[self.0]);
        }
    }
}

/// `ForcedEOSTokenLogitsProcessor`: what the last token that there is room for must be.
#[derive(Debug, Clone)]
pub struct ForcedEos {
    /// The most new tokens of a row.
    pub max_new_tokens: usize,
    /// The tokens to choose from.
    pub eos: Vec<u32>,
}

impl LogitsProcessor for ForcedEos {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        if step.new_ids().len() + 1 == self.max_new_tokens {
            force(scores, &self.eos);
        }
    }
}

/// `ExponentialDecayLengthPenalty`: from `start` new tokens on, the end gains score exponentially.
#[derive(Debug, Clone)]
pub struct ExponentialDecayLengthPenalty {
    /// New tokens before it begins; negative for before the prompt's end.
    pub start: i64,
    /// The factor for every token; above 1 the end comes sooner.
    pub factor: f64,
    /// The tokens that end a row.
    pub eos: Vec<u32>,
}

impl LogitsProcessor for ExponentialDecayLengthPenalty {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        let beyond = step.new_ids().len() as i64 - self.start;
        if beyond <= 0 {
            return;
        }
        let gain = (self.factor.powf(beyond as f64) - 1.0) as f32;
        for &id in &self.eos {
            match scores.get_mut(id as usize) {
                Some(score) if score.is_finite() => *score += score.abs() * gain,
                _ => {}
            }
        }
    }
}
