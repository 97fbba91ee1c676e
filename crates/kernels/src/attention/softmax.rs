//! Scores become weights, a tile of keys at a time.

use super::{
    product::{load, store},
    task::{Row, Task},
};
use crate::{math::tanh, simd::Simd};

/// Applies cap, bias and visibility to a row's scores, whole vectors of them: of key `first` and those after it.
#[inline(always)]
pub(super) fn finish_scores<S: Simd>(
    s: S,
    task: &Task<'_>,
    row: &Row,
    first: usize,
    scores: &mut [f32],
) {
    let inside = |key: usize| key.clamp(first, first + scores.len()) - first;
    let visible = inside(row.keys.start)..inside(row.keys.end);
    if let Some(cap) = task.problem.options.softcap {
        let (cap, inverse) = (s.splat(cap), s.splat(1.0 / cap));
        for scores in scores.chunks_exact_mut(S::LANES) {
            let x = s.mul(load(s, scores), inverse);
            store(s, scores, s.mul(cap, tanh(s, x)));
        }
    }
    if let Some(bias) = task.problem.options.bias {
        let bias = bias.at(task.batch, row.head, row.query);
        // SAFETY: the bias has been checked to reach to the last key.
        let bias =
            unsafe { std::slice::from_raw_parts(bias.add(first + visible.start), visible.len()) };
        let scores = &mut scores[visible.clone()];
        for (scores, bias) in scores.chunks_mut(S::LANES).zip(bias.chunks(S::LANES)) {
            store(s, scores, s.add(load(s, scores), load(s, bias)));
        }
    }
    scores[..visible.start].fill(f32::NEG_INFINITY);
    scores[visible.end..].fill(f32::NEG_INFINITY);
}

/// What a row has seen so far: the largest score, and the sum of `e^(score - max)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) max: f32,
    pub(super) sum: f32,
}

impl Seen {
    pub(super) const NOTHING: Self = Self {
        max: f32::NEG_INFINITY,
        sum: 0.0,
    };

    /// What to multiply the weighted values' sum by: one over the weights' sum, the sink's included; 0 where there is no
    /// weight.
    pub(super) fn normaliser(self, sink: Option<f32>) -> f32 {
        if self.sum == 0.0 {
            return 0.0;
        }
        let Some(sink) = sink else {
            return 1.0 / self.sum;
        };
        let max = self.max.max(sink);
        let factor = (self.max - max).exp();
        factor / (self.sum * factor + (sink - max).exp())
    }
}

/// Replaces scores, whole vectors of them, by weights `e^(score - max)`, and gives the factor for what was summed before.
#[inline(always)]
pub(super) fn weigh<S: Simd>(s: S, seen: &mut Seen, scores: &mut [f32]) -> f32 {
    // SAFETY: chunks have LANES elements.
    unsafe {
        let mut largest = s.splat(seen.max);
        for scores in scores.chunks_exact(S::LANES) {
            largest = s.max(s.load(scores.as_ptr()), largest);
        }
        let max = s.max_lane(largest);
        // While all is hidden there is nothing to subtract: infinities' difference is no number.
        let base = s.splat(if max == f32::NEG_INFINITY { 0.0 } else { max });
        let mut sum = s.zero();
        for scores in scores.chunks_exact_mut(S::LANES) {
            let weights = exp(s, s.sub(s.load(scores.as_ptr()), base));
            sum = s.add(sum, weights);
            s.store(scores.as_mut_ptr(), weights);
        }
        let factor = if max == seen.max {
            1.0
        } else {
            let mut lanes = [0.0; 16];
            s.store(lanes.as_mut_ptr(), exp(s, s.sub(s.splat(seen.max), base)));
            lanes[0]
        };
        seen.sum = seen.sum * factor + s.sum(sum);
        seen.max = max;
        factor
    }
}

/// `e^x` for `x` up to 0; 0 below -87.7, NaN of NaN. The relative error is at most `2e-7 + 4e-9 |x|`, and without fused
/// multiply-adds `2e-7 + 6e-8 |x|`: a weight's share of the sum falls faster than its error grows.
///
/// Half the work of [`math::exp`](crate::math::exp), which reaches further.
#[inline(always)]
fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // The operands' order lets a NaN through. -88 is 2^-127 and a bit, which becomes 0.
    let x = s.max(s.splat(-88.0), x);
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-std::f32::consts::LN_2), x);
    let mut p = s.splat(8.312_501e-3);
    for coefficient in [4.189_033e-2, 1.666_711_6e-1, 4.999_923e-1, 1.0, 1.0] {
        p = s.mul_add(p, r, s.splat(coefficient));
    }
    s.mul(p, s.exp2_whole(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd::simd_fn};

    simd_fn! {
        fn map_exp<S>(s, x: &mut [f32]) {
            for x in x.chunks_mut(S::LANES) {
                let y = exp(s, load(s, x));
                store(s, x, y);
            }
        }
    }

    fn exp_of(isa: Isa, x: &[f32]) -> Vec<f32> {
        let mut y = x.to_vec();
        map_exp(isa, &mut y);
        y
    }

    #[test]
    fn exp_is_within_its_bound() {
        let steps = if cfg!(miri) { 1 << 8 } else { 1 << 16 };
        let x: Vec<f32> = (0..steps)
            .map(|i| -87.5 * i as f32 / steps as f32)
            .collect();
        for &isa in Isa::available() {
            let per_unit = if isa.name() == "scalar" { 6e-8 } else { 4e-9 };
            for (&x, y) in x.iter().zip(exp_of(isa, &x)) {
                let exact = f64::from(x).exp();
                let error = (f64::from(y) - exact).abs() / exact;
                let bound = 2e-7 + per_unit * f64::from(-x);
                assert!(error <= bound, "{isa:?}: exp({x}) = {y}, off by {error:e}");
            }
        }
    }

    #[test]
    fn exp_at_the_edges() {
        let x = [0.0, -0.0, -88.0, -1e30, f32::MIN, f32::NEG_INFINITY];
        for &isa in Isa::available() {
            assert_eq!(exp_of(isa, &x), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0], "{isa:?}");
            assert!(exp_of(isa, &[f32::NAN])[0].is_nan(), "{isa:?}");
        }
    }
}
