//! Tokens and sequences of tokens that are favoured, or forbidden.

use std::fmt;
use std::sync::Arc;

use super::{LogitsProcessor, Step, remove};

/// `SequenceBiasLogitsProcessor`: adds to the score of a sequence's last token where the row ends with the others.
#[derive(Debug, Clone)]
pub struct SequenceBias {
    biases: Arc<[(Vec<u32>, f32)]>,
}

impl SequenceBias {
    /// `biases`: sequences of at least one token, and what is added. Of equal sequences the last one counts.
    pub fn new(biases: impl IntoIterator<Item = (Vec<u32>, f32)>) -> Self {
        let mut kept: Vec<(Vec<u32>, f32)> = Vec::new();
        for (sequence, bias) in biases {
            match kept.iter_mut().find(|(other, _)| *other == sequence) {
                Some((_, other)) => *other = bias,
                None => kept.push((sequence, bias)),
            }
        }
        let biases = kept.into();
        Self { biases }
    }
}

impl LogitsProcessor for SequenceBias {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        for (sequence, bias) in &*self.biases {
            if let Some((last, before)) = sequence.split_last()
                && step.ids.ends_with(before)
                && let Some(score) = scores.get_mut(*last as usize)
            {
                *score += bias;
            }
        }
    }
}

/// `NoBadWordsLogitsProcessor`: sequences that may not be completed. A lone eos is not one.
#[derive(Debug, Clone)]
pub struct NoBadWords(SequenceBias);

impl NoBadWords {
    /// `words`: as token ids.
    pub fn new(words: &[Vec<u32>], eos: &[u32]) -> Self {
        let is_eos = |word: &&Vec<u32>| matches!(word[..], [id] if eos.contains(&id));
        let words = words.iter().filter(|word| !is_eos(word));
        Self(SequenceBias::new(
            words.map(|word| (word.clone(), f32::NEG_INFINITY)),
        ))
    }
}

impl LogitsProcessor for NoBadWords {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        self.0.process(step, scores);
    }
}

/// `SuppressTokensLogitsProcessor`: tokens that may not be generated.
#[derive(Debug, Clone)]
pub struct SuppressTokens(pub Vec<u32>);

impl LogitsProcessor for SuppressTokens {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        remove(scores, &self.0);
    }
}

/// `SuppressTokensAtBeginLogitsProcessor`: tokens that may not come first.
#[derive(Debug, Clone)]
pub struct SuppressTokensAtBegin {
    /// The tokens.
    pub ids: Vec<u32>,
    /// New tokens before the one in question: 0, or 1 after a forced first one.
    pub begin: usize,
}

impl LogitsProcessor for SuppressTokensAtBegin {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        if step.new_ids().len() == self.begin {
            remove(scores, &self.ids);
        }
    }
}

type Allowed = dyn Fn(usize, &[u32]) -> Vec<u32> + Send + Sync;

/// `PrefixConstrainedLogitsProcessor` (De Cao et al. 2020): only the tokens that a function allows after a row.
#[derive(Clone)]
pub struct PrefixConstrained(Arc<Allowed>);

impl PrefixConstrained {
    /// `allowed`: of the prompt's number in the batch and the row so far.
    pub fn new(allowed: impl Fn(usize, &[u32]) -> Vec<u32> + Send + Sync + 'static) -> Self {
        Self(Arc::new(allowed))
    }
}

impl fmt::Debug for PrefixConstrained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrefixConstrained").finish_non_exhaustive()
    }
}

impl LogitsProcessor for PrefixConstrained {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        let mut allowed = (self.0)(step.prompt, step.ids);
        allowed.sort_unstable();
        for (id, score) in scores.iter_mut().enumerate() {
            if allowed.binary_search(&(id as u32)).is_err() {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}
