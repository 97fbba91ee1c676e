//! What sampling chooses from: the temperature, and filters that leave the likelier tokens.

use std::cmp::Ordering;

use super::numbers::entropy;
use super::{LogitsProcessor, Step, largest, softmax};
use crate::sampler::highest;

/// `TemperatureLogitsWarper`: scores divided by the temperature.
#[derive(Debug, Clone, Copy)]
pub struct Temperature(pub f32);

impl LogitsProcessor for Temperature {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        scores.iter_mut().for_each(|score| *score /= self.0);
    }
}

/// `TopKLogitsWarper`: only the `k` highest scores, and those equal to the last of them, stay.
#[derive(Debug, Clone, Copy)]
pub struct TopK(pub usize);

impl LogitsProcessor for TopK {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        let threshold = nth_highest(scores, self.0);
        for score in scores {
            *score = if *score < threshold {
                f32::NEG_INFINITY
            } else {
                *score
            };
        }
    }
}

/// `TopPLogitsWarper` (Holtzman et al. 2020): the fewest tokens that together reach the probability `p` stay.
#[derive(Debug, Clone, Copy)]
pub struct TopP {
    /// The probability.
    pub p: f32,
    /// So many tokens stay in any case.
    pub min_tokens_to_keep: usize,
}

impl LogitsProcessor for TopP {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        let probs = softmax(scores);
        // Where rounding decides, a token goes.
        let most = 1.0 - self.p + f32::EPSILON;
        // Tokens below this have at most `most` together, however many there are.
        let floor = most / probs.len() as f32;
        let (mut rest, mut dropped) = (at_least(&probs, floor), 0.0);
        match rest.len() < self.min_tokens_to_keep {
            true => rest = at_least(&probs, 0.0),
            false => {
                dropped = sum_below(&probs, floor);
                drop_below(scores, &probs, floor);
            }
        }
        rest.retain(|index| scores[*index] > f32::NEG_INFINITY);
        let keep = self.min_tokens_to_keep.max(1);
        drop_least(&mut rest, scores, &probs, most - dropped, keep);
    }
}

/// `MinPLogitsWarper`: tokens below `p` times the highest probability go.
#[derive(Debug, Clone, Copy)]
pub struct MinP {
    /// The part of the highest probability.
    pub p: f32,
    /// So many tokens stay in any case.
    pub min_tokens_to_keep: usize,
}

impl LogitsProcessor for MinP {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        let probs = softmax(scores);
        let threshold = self.p * largest(&probs).unwrap_or(0.0);
        drop_improbable(scores, &probs, threshold, self.min_tokens_to_keep);
    }
}

/// `TopHLogitsWarper`: of the hundred likeliest tokens, the likeliest ones that together have at most the part `h` of
/// the entropy, and the first.
#[derive(Debug, Clone, Copy)]
pub struct TopH(pub f32);

impl TopH {
    const CANDIDATES: usize = 100;
}

impl LogitsProcessor for TopH {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        let order = highest(scores, Self::CANDIDATES);
        let candidates: Vec<f32> = order.iter().map(|index| scores[*index]).collect();
        let probs = softmax(&candidates);
        let limit = self.0 * entropy(&probs);
        let mut cumulative = 0.0;
        let within = probs.iter().take_while(|prob| {
            cumulative += entropy(std::slice::from_ref(*prob));
            cumulative <= limit
        });
        let kept = &order[..within.count().max(1).min(order.len())];
        drop_where(scores, |_, index| !kept.contains(&index));
    }
}

/// `TypicalLogitsWarper` (Meister et al. 2022): the tokens whose surprise is nearest to the entropy, up to the
/// probability `mass`.
#[derive(Debug, Clone, Copy)]
pub struct Typical {
    /// The probability.
    pub mass: f32,
    /// So many tokens stay in any case.
    pub min_tokens_to_keep: usize,
}

impl LogitsProcessor for Typical {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        let probs = softmax(scores);
        let entropy = entropy(&probs);
        let shift: Vec<f32> = probs.iter().map(|p| (-p.ln() - entropy).abs()).collect();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| ascending(shift[*a], shift[*b]));
        let mut cumulative = 0.0;
        let before = order.iter().take_while(|index| {
            cumulative += probs[**index];
            cumulative < self.mass
        });
        let Some(&last) = order.get(before.count().min(order.len().saturating_sub(1))) else {
            return;
        };
        for &index in order.iter().skip(self.min_tokens_to_keep) {
            if shift[index] > shift[last] {
                scores[index] = f32::NEG_INFINITY;
            }
        }
    }
}

/// `EpsilonLogitsWarper` (Hewitt et al. 2022): tokens less likely than `epsilon` go.
#[derive(Debug, Clone, Copy)]
pub struct Epsilon {
    /// The least probability.
    pub epsilon: f32,
    /// So many tokens stay in any case.
    pub min_tokens_to_keep: usize,
}

impl LogitsProcessor for Epsilon {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        let probs = softmax(scores);
        drop_improbable(scores, &probs, self.epsilon, self.min_tokens_to_keep);
    }
}

/// `EtaLogitsWarper` (Hewitt et al. 2022): as [`Epsilon`], with a threshold that falls with the entropy.
#[derive(Debug, Clone, Copy)]
pub struct Eta {
    /// The threshold at its highest.
    pub epsilon: f32,
    /// So many tokens stay in any case.
    pub min_tokens_to_keep: usize,
}

impl LogitsProcessor for Eta {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        let probs = softmax(scores);
        let adapted = self.epsilon.sqrt() * (-entropy(&probs)).exp();
        let threshold = self.epsilon.min(adapted);
        drop_improbable(scores, &probs, threshold, self.min_tokens_to_keep);
    }
}

/// XTC ("exclude top choices"): of several tokens that are at least as likely as `threshold`, only the least likely
/// stays. A draw at every step says whether. Known from llama.cpp and others; the reference has none.
#[derive(Debug, Clone, Copy)]
pub struct Xtc {
    /// How often it is applied.
    pub probability: f32,
    /// The least probability of a top choice; above 0.5 there are never two.
    pub threshold: f32,
    /// Seeds the draws.
    pub seed: u64,
}

impl LogitsProcessor for Xtc {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        let drawn = crate::sampler::uniform(self.seed, step.prompt, step.new_ids().len());
        if drawn >= self.probability {
            return;
        }
        let probs = softmax(scores);
        let mut top: Vec<usize> = (0..scores.len())
            .filter(|index| probs[*index] >= self.threshold)
            .collect();
        top.sort_by(|a, b| ascending(probs[*b], probs[*a]));
        top.pop();
        for index in top {
            scores[index] = f32::NEG_INFINITY;
        }
    }
}

/// The tokens of at least this probability.
fn at_least(probs: &[f32], floor: f32) -> Vec<usize> {
    let mut found = Vec::new();
    for (chunk, part) in probs.chunks(16).enumerate() {
        // Most chunks of a large vocabulary have none.
        if part.iter().fold(false, |any, prob| any | (*prob >= floor)) {
            let there = part.iter().enumerate().filter(|(_, prob)| **prob >= floor);
            found.extend(there.map(|(index, _)| 16 * chunk + index));
        }
    }
    found
}

/// What the other tokens have together.
fn sum_below(probs: &[f32], floor: f32) -> f32 {
    let mut sums = [0.0_f32; 16];
    for part in probs.chunks(16) {
        for (sum, prob) in sums.iter_mut().zip(part) {
            *sum += if *prob < floor { *prob } else { 0.0 };
        }
    }
    sums.iter().sum()
}

/// Removes these other tokens.
fn drop_below(scores: &mut [f32], probs: &[f32], floor: f32) {
    for (score, prob) in scores.iter_mut().zip(probs) {
        *score = if *prob < floor {
            f32::NEG_INFINITY
        } else {
            *score
        };
    }
}

/// Of the tokens `order`, removes the least likely ones that together have at most the probability `most`; `keep` of them
/// stay. Halves are dropped or looked into, so that nothing is sorted; of equal tokens the first goes first, as in the
/// reference's ascending order.
fn drop_least(order: &mut [usize], scores: &mut [f32], probs: &[f32], mut most: f32, keep: usize) {
    let count = order.len().saturating_sub(keep);
    let less = |a: &usize, b: &usize| ascending(scores[*a], scores[*b]).then(a.cmp(b));
    if count == 0 {
        return;
    }
    if count < order.len() {
        order.select_nth_unstable_by(count, less);
    }
    let mut dropped = 0;
    let mut open = count;
    while open > 0 {
        let half = open.div_ceil(2);
        let part = &mut order[dropped..dropped + open];
        if half < part.len() {
            part.select_nth_unstable_by(half, less);
        }
        let mass: f32 = part[..half].iter().map(|index| probs[*index]).sum();
        if mass <= most {
            (dropped, open, most) = (dropped + half, open - half, most - mass);
        } else {
            open = if open == 1 { 0 } else { half };
        }
    }
    for index in &order[..dropped] {
        scores[*index] = f32::NEG_INFINITY;
    }
}

fn ascending(a: f32, b: f32) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

/// The `n`th highest score; the lowest one where there are fewer.
fn nth_highest(scores: &[f32], n: usize) -> f32 {
    if n >= scores.len() {
        return f32::NEG_INFINITY;
    }
    let n = n.max(1);
    if n > 128 {
        let mut sorted = scores.to_vec();
        return *sorted
            .select_nth_unstable_by(n - 1, |a, b| b.total_cmp(a))
            .1;
    }
    // The few highest, ascending: of a large vocabulary hardly a score is among them.
    let mut kept: Vec<f32> = Vec::with_capacity(n + 1);
    for part in scores.chunks(16) {
        let above = |any: bool, score: &f32| any | (*score > kept[0]);
        if kept.len() == n && !part.iter().fold(false, above) {
            continue;
        }
        for score in part {
            if kept.len() == n && score.total_cmp(&kept[0]).is_le() {
                continue;
            }
            let at = kept.partition_point(|other| other.total_cmp(score).is_lt());
            kept.insert(at, *score);
            if kept.len() > n {
                kept.remove(0);
            }
        }
    }
    kept[0]
}

fn drop_where(scores: &mut [f32], drop: impl Fn(f32, usize) -> bool) {
    for (index, score) in scores.iter_mut().enumerate() {
        if drop(*score, index) {
            *score = f32::NEG_INFINITY;
        }
    }
}

fn drop_improbable(scores: &mut [f32], probs: &[f32], threshold: f32, keep: usize) {
    let kept = nth_highest(scores, keep);
    drop_where(scores, |score, index| {
        probs[index] < threshold && score < kept
    });
}
