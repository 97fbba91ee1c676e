//! Processors against repetition.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{LogitsProcessor, Step, remove};

/// `RepetitionPenaltyLogitsProcessor` (Keskar et al. 2019): tokens of the row so far lose score by this factor.
#[derive(Debug, Clone, Copy)]
pub struct RepetitionPenalty(pub f32);

impl LogitsProcessor for RepetitionPenalty {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        penalize(step.ids, self.0, scores);
    }
}

/// `EncoderRepetitionPenaltyLogitsProcessor`: tokens of the encoder's input gain score by this factor.
#[derive(Debug, Clone)]
pub struct EncoderRepetitionPenalty {
    /// Above 1, they become likelier.
    pub penalty: f32,
    /// The encoder's input.
    pub encoder_ids: Arc<[u32]>,
}

impl LogitsProcessor for EncoderRepetitionPenalty {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        penalize(&self.encoder_ids, 1.0 / self.penalty, scores);
    }
}

fn penalize(ids: &[u32], penalty: f32, scores: &mut [f32]) {
    let mut seen = vec![false; scores.len()];
    for &id in ids {
        let seen = seen.get_mut(id as usize);
        if let (Some(seen), Some(score)) = (seen, scores.get_mut(id as usize))
            && !std::mem::replace(seen, true)
        {
            *score = match *score < 0.0 {
                true => *score * penalty,
                false => *score / penalty,
            };
        }
    }
}

/// Tokens that were generated lose score: once by `presence`, and by `frequency` for each time. The API of OpenAI
/// defines them so; the reference has neither.
#[derive(Debug, Clone, Copy)]
pub struct FrequencyPresencePenalty {
    /// For each time that a token was generated.
    pub frequency: f32,
    /// For every token that was generated at all.
    pub presence: f32,
}

impl LogitsProcessor for FrequencyPresencePenalty {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        let mut counts: HashMap<u32, f32> = HashMap::new();
        for &id in step.new_ids() {
            *counts.entry(id).or_default() += 1.0;
        }
        for (id, count) in counts {
            if let Some(score) = scores.get_mut(id as usize) {
                *score -= self.presence + self.frequency * count;
            }
        }
    }
}

/// `NoRepeatNGramLogitsProcessor`: no sequence of so many tokens comes twice.
#[derive(Debug, Clone, Copy)]
pub struct NoRepeatNGram(pub usize);

impl LogitsProcessor for NoRepeatNGram {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        remove(scores, &continuations(step.ids, step.ids, self.0));
    }
}

/// `EncoderNoRepeatNGramLogitsProcessor`: no sequence of so many tokens of the encoder's input is generated.
#[derive(Debug, Clone)]
pub struct EncoderNoRepeatNGram {
    /// The length of the sequences.
    pub size: usize,
    /// The encoder's input.
    pub encoder_ids: Arc<[u32]>,
}

impl LogitsProcessor for EncoderNoRepeatNGram {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        remove(
            scores,
            &continuations(&self.encoder_ids, step.ids, self.size),
        );
    }
}

/// What follows the last `size - 1` tokens of `ids` wherever they are in `text`.
fn continuations(text: &[u32], ids: &[u32], size: usize) -> Vec<u32> {
    if size == 0 || ids.len() + 1 < size {
        return Vec::new();
    }
    let before = &ids[ids.len() + 1 - size..];
    let windows = text.windows(size);
    let follows = windows.filter(|window| window.starts_with(before));
    follows.map(|window| window[size - 1]).collect()
}

/// DRY ("don't repeat yourself"): a token that would make the end of the row longer a repetition of what was there loses
/// `multiplier * base^(length - allowed)`. Known from llama.cpp and others; the reference has none.
#[derive(Debug, Clone)]
pub struct Dry {
    /// The loss at the length that is no longer allowed; 0 is off.
    pub multiplier: f32,
    /// The growth for every further token.
    pub base: f32,
    /// Repetitions up to this length cost nothing.
    pub allowed: usize,
    /// Tokens that no repetition goes across, such as those of a line break.
    pub breakers: HashSet<u32>,
}

/// Longer repetitions lose no more than this.
const LONGEST: usize = 50;

impl LogitsProcessor for Dry {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        let ids = step.ids;
        let mut longest: HashMap<u32, usize> = HashMap::new();
        for (end, &next) in ids.iter().enumerate().skip(1) {
            let same = std::iter::zip(ids[..end].iter().rev(), ids.iter().rev());
            let same = same.take_while(|(a, b)| a == b && !self.breakers.contains(a));
            let length = same.take(LONGEST).count();
            if length > 0 && !self.breakers.contains(&next) {
                let known = longest.entry(next).or_default();
                *known = length.max(*known);
            }
        }
        for (id, length) in longest {
            if length >= self.allowed
                && let Some(score) = scores.get_mut(id as usize)
            {
                *score -= self.multiplier * self.base.powi((length - self.allowed) as i32);
            }
        }
    }
}
