//! Scores as numbers: normalised, and finite.

use super::{LogitsProcessor, Step};

/// `LogitNormalization`: scores become log-probabilities.
#[derive(Debug, Clone, Copy)]
pub struct LogitNormalization;

impl LogitsProcessor for LogitNormalization {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        log_softmax(scores);
    }
}

/// `InfNanRemoveLogitsProcessor`: NaN becomes 0, an infinity the largest or smallest finite number.
#[derive(Debug, Clone, Copy)]
pub struct InfNanRemove;

impl LogitsProcessor for InfNanRemove {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        for score in scores {
            *score = match score.is_nan() {
                true => 0.0,
                false => score.clamp(f32::MIN, f32::MAX),
            };
        }
    }
}

/// The largest score; `None` where one is not a number.
pub(crate) fn largest(scores: &[f32]) -> Option<f32> {
    // Lanes of their own, so that the compiler makes vectors of them.
    let (mut max, mut unordered) = ([f32::NEG_INFINITY; 16], [0_u32; 16]);
    let (chunks, rest) = scores.as_chunks::<16>();
    for chunk in chunks {
        for (lane, score) in chunk.iter().enumerate() {
            max[lane] = if *score > max[lane] {
                *score
            } else {
                max[lane]
            };
            unordered[lane] |= u32::from(score.is_nan());
        }
    }
    let any = unordered.contains(&1) || rest.iter().any(|score| score.is_nan());
    let both = max.iter().chain(rest).copied();
    (!any).then(|| both.fold(f32::NEG_INFINITY, f32::max))
}

/// Probabilities of scores, `[vocab]` to `[vocab]`.
pub(crate) fn softmax(scores: &[f32]) -> Vec<f32> {
    let mut probs = scores.to_vec();
    transformers_kernels::softmax(&mut probs, scores.len());
    probs
}

/// Scores to log-probabilities, in place.
pub(crate) fn log_softmax(scores: &mut [f32]) {
    let max = largest(scores).unwrap_or(f32::NAN);
    let sum: f32 = scores.iter().map(|score| (score - max).exp()).sum();
    let norm = max + sum.ln();
    scores.iter_mut().for_each(|score| *score -= norm);
}

/// The sum, in lanes of its own, so that the compiler makes vectors of them.
pub(crate) fn sum(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<16>();
    let mut sums = [0.0_f32; 16];
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().chain(rest).sum()
}

/// The entropy of probabilities in nats; those of 0 count nothing.
pub(super) fn entropy(probs: &[f32]) -> f32 {
    let terms = probs.iter().filter(|prob| **prob > 0.0);
    terms.map(|prob| -prob * prob.ln()).sum()
}
