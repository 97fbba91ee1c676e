//! Logits processors: each changes the scores of the next token, in place (the reference's `logits_process`).

use std::cmp::Ordering;
use std::fmt::Debug;

/// A change of the scores of one row.
pub trait LogitsProcessor: Debug + Send + Sync {
    /// `ids`: the row so far, prompt included and left padding not; `prompt_len`: how much of it is the prompt;
    /// `scores`: `[vocab]`.
    fn process(&self, ids: &[u32], prompt_len: usize, scores: &mut [f32]);
}

/// `RepetitionPenaltyLogitsProcessor` (Keskar et al. 2019): tokens of the row so far lose score by this factor.
#[derive(Debug, Clone, Copy)]
pub struct RepetitionPenalty(pub f32);

impl LogitsProcessor for RepetitionPenalty {
    fn process(&self, ids: &[u32], _prompt_len: usize, scores: &mut [f32]) {
        let mut seen: Vec<u32> = ids.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            if let Some(score) = scores.get_mut(id as usize) {
                *score = if *score < 0.0 {
                    *score * self.0
                } else {
                    *score / self.0
                };
            }
        }
    }
}

/// `MinNewTokensLengthLogitsProcessor`: no eos before so many new tokens.
#[derive(Debug, Clone)]
pub struct MinNewTokens {
    /// The least number of new tokens.
    pub min: usize,
    /// The tokens that end a row.
    pub eos: Vec<u32>,
}

impl LogitsProcessor for MinNewTokens {
    fn process(&self, ids: &[u32], prompt_len: usize, scores: &mut [f32]) {
        if ids.len() - prompt_len < self.min {
            for &id in &self.eos {
                if let Some(score) = scores.get_mut(id as usize) {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
    }
}

/// `ForcedBOSTokenLogitsProcessor` and `ForcedEOSTokenLogitsProcessor`: nothing but these tokens at one place of the row.
#[derive(Debug, Clone)]
pub struct ForcedTokens {
    len: usize,
    tokens: Vec<u32>,
}

impl ForcedTokens {
    /// Forces `tokens` on rows of `len` tokens, prompt included.
    pub fn at(len: usize, tokens: Vec<u32>) -> Self {
        Self { len, tokens }
    }
}

impl LogitsProcessor for ForcedTokens {
    fn process(&self, ids: &[u32], _prompt_len: usize, scores: &mut [f32]) {
        if ids.len() != self.len {
            return;
        }
        scores.fill(f32::NEG_INFINITY);
        for &token in &self.tokens {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = 0.0;
            }
        }
    }
}

/// `TemperatureLogitsWarper`: scores divided by the temperature.
#[derive(Debug, Clone, Copy)]
pub struct Temperature(pub f32);

impl LogitsProcessor for Temperature {
    fn process(&self, _ids: &[u32], _prompt_len: usize, scores: &mut [f32]) {
        scores.iter_mut().for_each(|score| *score /= self.0);
    }
}

/// `TopKLogitsWarper`: only the `k` highest scores, and those equal to the last of them, stay.
#[derive(Debug, Clone, Copy)]
pub struct TopK(pub usize);

impl LogitsProcessor for TopK {
    fn process(&self, _ids: &[u32], _prompt_len: usize, scores: &mut [f32]) {
        let k = self.0.clamp(1, scores.len());
        if k == scores.len() {
            return;
        }
        let mut sorted = scores.to_vec();
        let (_, threshold, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        let threshold = *threshold;
        drop_where(scores, |score| score < threshold);
    }
}

/// `TopPLogitsWarper` (Holtzman et al. 2020): the fewest tokens that together reach the probability `p` stay.
#[derive(Debug, Clone, Copy)]
pub struct TopP(pub f32);

impl LogitsProcessor for TopP {
    fn process(&self, _ids: &[u32], _prompt_len: usize, scores: &mut [f32]) {
        let probs = softmax(scores);
        // Ascending, as the reference sorts: what is dropped is a prefix of at most 1 - p; the last one always stays.
        let mut order: Vec<usize> = (0..scores.len()).filter(|i| probs[*i] > 0.0).collect();
        order.sort_by(|a, b| {
            scores[*a]
                .partial_cmp(&scores[*b])
                .unwrap_or(Ordering::Equal)
        });
        order.pop();
        let mut cumulative = 0.0f32;
        for index in order {
            cumulative += probs[index];
            if cumulative > 1.0 - self.0 {
                break;
            }
            scores[index] = f32::NEG_INFINITY;
        }
    }
}

/// `MinPLogitsWarper`: tokens below `p` times the highest probability go.
#[derive(Debug, Clone, Copy)]
pub struct MinP(pub f32);

impl LogitsProcessor for MinP {
    fn process(&self, _ids: &[u32], _prompt_len: usize, scores: &mut [f32]) {
        let probs = softmax(scores);
        let threshold = self.0 * probs.iter().copied().fold(0.0, f32::max);
        for (score, prob) in scores.iter_mut().zip(probs) {
            if prob < threshold {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

fn drop_where(scores: &mut [f32], drop: impl Fn(f32) -> bool) {
    for score in scores {
        if drop(*score) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// Probabilities of scores, `[vocab]` to `[vocab]`.
pub(crate) fn softmax(scores: &[f32]) -> Vec<f32> {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut probs: Vec<f32> = scores.iter().map(|score| (score - max).exp()).collect();
    let sum: f32 = probs.iter().sum();
    probs.iter_mut().for_each(|prob| *prob /= sum);
    probs
}
