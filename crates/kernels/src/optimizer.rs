//! What an optimizer does to all parameters: one pass over memory, on all threads.

use crate::{
    Isa,
    pool::{self, Phase},
    rows::{GROUP, load, store, sum_group},
    shared::SharedMut,
    simd::simd_fn,
};

/// Elements of a task.
const TASK: usize = 1 << 15;

/// The numbers of a step of AdamW (Loshchilov and Hutter 2019), as `torch.optim.AdamW` computes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    keep: f32,
    first: f32,
    second: f32,
    rate: f32,
    scale: f32,
    epsilon: f32,
    grad_scale: f32,
}

impl AdamW {
    /// Step number `step`, which begins with 1.
    pub fn new(
        step: u64,
        learning_rate: f64,
        [first, second]: [f64; 2],
        epsilon: f64,
        weight_decay: f64,
    ) -> Self {
        let past = |beta: f64| beta.powf(step as f64);
        Self {
            keep: (1.0 - learning_rate * weight_decay) as f32,
            first: (1.0 - first) as f32,
            second: second as f32,
            rate: (learning_rate / (1.0 - past(first))) as f32,
            scale: (1.0 / (1.0 - past(second)).sqrt()) as f32,
            epsilon: epsilon as f32,
            grad_scale: 1.0,
        }
    }

    /// Gradients count times this, as where their norm is clipped.
    #[must_use]
    pub fn with_grad_scale(self, grad_scale: f32) -> Self {
        Self { grad_scale, ..self }
    }

    /// Takes the step: changes `weight` and the two `moments` by `grad`, in place.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn step(self, weight: &mut [f32], grad: &[f32], moments: [&mut [f32]; 2]) {
        let (isa, len) = (Isa::current(), weight.len());
        let [first, second] = moments;
        let lens = [grad.len(), first.len(), second.len()];
        assert_eq!(lens, [len; 3], "all have the shape of the weight");
        let outs = [weight, first, second].map(SharedMut::new);
        pool::run_ranges(Phase::Prefill, len, TASK, |range| {
            // SAFETY: ranges are disjoint.
            let parts = outs.map(|out| unsafe { out.part(range.start, range.len()) });
            let [weight, first, second] = parts;
            adamw(isa, self, weight, &grad[range], first, second);
        });
    }
}

simd_fn! {
    fn adamw<S>(
        s,
        by: AdamW,
        weight: &mut [f32],
        grad: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let group = GROUP * S::LANES;
        let (keep, rate) = (s.splat(by.keep), s.splat(-by.rate));
        let [share, kept] = [s.splat(by.first), s.splat(by.second)];
        let new = s.splat(1.0 - by.second);
        let (scale, epsilon) = (s.splat(by.scale), s.splat(by.epsilon));
        let parts = weight.chunks_mut(group).zip(grad.chunks(group));
        let moments = first.chunks_mut(group).zip(second.chunks_mut(group));
        for ((weight, grad), (first, second)) in parts.zip(moments) {
            let (mut w, g) = (load(s, weight, 0.0), load(s, grad, 0.0));
            let (mut m, mut v) = (load(s, first, 0.0), load(s, second, 0.0));
            for i in 0..GROUP {
                let g = s.mul(g[i], s.splat(by.grad_scale));
                m[i] = s.mul_add(share, s.sub(g, m[i]), m[i]);
                v[i] = s.mul_add(s.mul(new, g), g, s.mul(kept, v[i]));
                let size = s.mul_add(s.sqrt(v[i]), scale, epsilon);
                w[i] = s.mul_add(s.div(m[i], size), rate, s.mul(w[i], keep));
            }
            store(s, weight, w);
            store(s, first, m);
            store(s, second, v);
        }
    }
}

/// The sum of squares, in an order that depends on the length alone.
pub fn square_sum(x: &[f32]) -> f64 {
    let isa = Isa::current();
    let mut sums = vec![0.0; x.len().div_ceil(TASK)];
    let shared = SharedMut::new(&mut sums);
    pool::run_ranges(Phase::Prefill, x.len(), TASK, |range| {
        // SAFETY: every task has a sum of its own.
        let sum = unsafe { shared.part(range.start / TASK, 1) };
        sum[0] = f64::from(squares(isa, &x[range]));
    });
    sums.iter().sum()
}

simd_fn! {
    fn squares<S>(s, x: &[f32]) -> f32 {
        let mut sums = [s.zero(); GROUP];
        for x in x.chunks(GROUP * S::LANES) {
            for (sum, x) in sums.iter_mut().zip(load(s, x, 0.0)) {
                *sum = s.mul_add(x, x, *sum);
            }
        }
        sum_group(s, sums)
    }
}

/// `sum += x`, as where gradients are accumulated.
///
/// # Panics
/// When lengths differ.
pub fn accumulate(x: &[f32], sum: &mut [f32]) {
    assert_eq!(x.len(), sum.len(), "sum has the shape of x");
    let (isa, len) = (Isa::current(), x.len());
    let sum = SharedMut::new(sum);
    pool::run_ranges(Phase::Prefill, len, TASK, |range| {
        // SAFETY: ranges are disjoint.
        let sum = unsafe { sum.part(range.start, range.len()) };
        add(isa, &x[range], sum);
    });
}

simd_fn! {
    fn add<S>(s, x: &[f32], sum: &mut [f32]) {
        let group = GROUP * S::LANES;
        for (x, sum) in x.chunks(group).zip(sum.chunks_mut(group)) {
            let (x, mut y) = (load(s, x, 0.0), load(s, sum, 0.0));
            for (y, x) in y.iter_mut().zip(x) {
                *y = s.add(*y, x);
            }
            store(s, sum, y);
        }
    }
}

/// `x *= by`, as where gradients are clipped.
pub fn scale(x: &mut [f32], by: f32) {
    let len = x.len();
    let x = SharedMut::new(x);
    pool::run_ranges(Phase::Prefill, len, TASK, |range| {
        // SAFETY: ranges are disjoint.
        let x = unsafe { x.part(range.start, range.len()) };
        x.iter_mut().for_each(|x| *x *= by);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn steps_are_those_of_f64() {
        for len in if cfg!(miri) {
            [5, 40, 70]
        } else {
            [1, 63, 40_000]
        } {
            for &isa in Isa::available() {
                let mut random = Random::new(len as u64);
                let mut weight = random.floats(len);
                let (mut m, mut v) = (vec![0.0; len], vec![0.0; len]);
                let mut exact: Vec<[f64; 3]> =
                    weight.iter().map(|&w| [f64::from(w), 0.0, 0.0]).collect();
                let (lr, betas, eps, decay) = (0.01, [0.9, 0.95], 1e-6, 0.1);
                for step in 1..4 {
                    let grad = random.floats(len);
                    let by = AdamW::new(step, lr, betas, eps, decay).with_grad_scale(0.5);
                    isa.with(|| by.step(&mut weight, &grad, [&mut m, &mut v]));
                    for ([w, m, v], grad) in exact.iter_mut().zip(&grad) {
                        let grad = 0.5 * f64::from(*grad);
                        *m = betas[0] * *m + (1.0 - betas[0]) * grad;
                        *v = betas[1] * *v + (1.0 - betas[1]) * grad * grad;
                        let [m, v] = [(*m, betas[0]), (*v, betas[1])]
                            .map(|(x, beta)| x / (1.0 - beta.powi(step as i32)));
                        *w = *w * (1.0 - lr * decay) - lr * m / (v.sqrt() + eps);
                    }
                }
                for (got, [exact, ..]) in weight.iter().zip(&exact) {
                    assert!(
                        (f64::from(*got) - exact).abs() <= 1e-6,
                        "{isa:?}: {got} for {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn sums() {
        for len in [0, 1, 100, TASK, TASK + 77] {
            let mut random = Random::new(3);
            let (x, y) = (random.floats(len), random.floats(len));
            let expected: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
            assert!((square_sum(&x) - expected).abs() <= 1e-5 * expected);
            let mut sum = y.clone();
            accumulate(&x, &mut sum);
            assert!((0..len).all(|i| sum[i] == x[i] + y[i]));
            scale(&mut sum, 0.5);
            assert!((0..len).all(|i| sum[i] == 0.5 * (x[i] + y[i])));
        }
    }
}
