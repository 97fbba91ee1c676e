//! The gradients of norms: of their rows, their weight and their bias.

use std::ops::Range;

use crate::{
    Isa,
    pool::{self, Phase},
    rows::{GROUP, count_rows, load, store, sum_group},
    shared::{SharedMut, written},
    simd::{Simd, simd_fn},
};

/// Elements of a task.
const TASK: usize = 1 << 13;

/// The gradients of [`rms_norm`](crate::rms_norm): those of `x` and of the weight. `grad` and `x` are
/// `[rows, weight.len()]`.
///
/// # Panics
/// When lengths do not fit each other.
pub fn rms_norm_gradient(
    grad: &[f32],
    x: &[f32],
    weight: &[f32],
    offset: f32,
    eps: f32,
) -> [Vec<f32>; 2] {
    let isa = Isa::current();
    let (to_x, [to_weight]) = by_rows([grad, x], weight.len(), |[grad, x], to_x, [to_weight]| {
        rms_rows(isa, grad, x, weight, offset, eps, to_x, to_weight);
    });
    [to_x, to_weight]
}

/// The gradients of [`layer_norm`](crate::layer_norm): those of `x`, of the weight and of the bias. `grad` and `x` are
/// `[rows, weight.len()]`.
///
/// # Panics
/// When lengths do not fit each other.
pub fn layer_norm_gradient(grad: &[f32], x: &[f32], weight: &[f32], eps: f32) -> [Vec<f32>; 3] {
    let isa = Isa::current();
    let (to_x, [to_weight, to_bias]) = by_rows(
        [grad, x],
        weight.len(),
        |[grad, x], to_x, [to_weight, to_bias]| {
            layer_rows(isa, grad, x, weight, eps, to_x, to_weight, to_bias);
        },
    );
    [to_x, to_weight, to_bias]
}

/// Runs `task` on parts of the rows; it writes all of an output of their shape, and adds to sums over the rows. Each part has
/// sums of its own, and which rows go together depends on their number alone.
fn by_rows<const N: usize>(
    inputs: [&[f32]; 2],
    cols: usize,
    task: impl Fn([&[f32]; 2], &mut [f32], [&mut [f32]; N]) + Sync,
) -> (Vec<f32>, [Vec<f32>; N]) {
    let rows = count_rows(inputs[0], cols);
    assert_eq!(inputs[0].len(), inputs[1].len(), "grad has the shape of x");
    let grain = (TASK / cols).max(1);
    let tasks = rows.div_ceil(grain);
    let mut partial = vec![0.0; tasks * N * cols];
    let shared = SharedMut::new(&mut partial);
    let write = |out: &mut [f32]| {
        let out = SharedMut::new(out);
        pool::run_ranges(Phase::Prefill, rows, grain, |rows: Range<usize>| {
            let elements = rows.start * cols..rows.end * cols;
            let first = rows.start / grain * N;
            // SAFETY: every task has its own rows and sums.
            let (out, sums) = unsafe {
                let sums = std::array::from_fn(|i| shared.part((first + i) * cols, cols));
                (out.part(elements.start, elements.len()), sums)
            };
            task(inputs.map(|input| &input[elements.clone()]), out, sums);
        });
    };
    // SAFETY: every task writes all of its rows.
    let out = unsafe { written(inputs[0].len(), write) };
    let mut sums = [(); N].map(|()| vec![0.0; cols]);
    for task in partial.chunks_exact(N * cols) {
        for (i, part) in task.chunks_exact(cols).enumerate() {
            sums[i].iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
    }
    (out, sums)
}

simd_fn! {
    fn rms_rows<S>(
        s,
        grad: &[f32],
        x: &[f32],
        weight: &[f32],
        offset: f32,
        eps: f32,
        to_x: &mut [f32],
        to_weight: &mut [f32],
    ) {
        let (cols, group) = (weight.len(), GROUP * S::LANES);
        let rows = grad.chunks_exact(cols).zip(x.chunks_exact(cols));
        for ((grad, x), to_x) in rows.zip(to_x.chunks_exact_mut(cols)) {
            let (mut squares, mut products) = ([s.zero(); GROUP], [s.zero(); GROUP]);
            let parts = grad.chunks(group).zip(x.chunks(group)).zip(weight.chunks(group));
            for ((grad, x), weight) in parts {
                let (grad, x) = (load(s, grad, 0.0), load(s, x, 0.0));
                let weight = load(s, weight, 0.0);
                for i in 0..GROUP {
                    squares[i] = s.mul_add(x[i], x[i], squares[i]);
                    let weighed = s.mul(grad[i], s.add(weight[i], s.splat(offset)));
                    products[i] = s.mul_add(weighed, x[i], products[i]);
                }
            }
            let len = cols as f32;
            let scale = 1.0 / (sum_group(s, squares) / len + eps).sqrt();
            let back = -sum_group(s, products) * scale * scale * scale / len;
            let (scale, back) = (s.splat(scale), s.splat(back));
            for start in (0..cols).step_by(group) {
                let part = start..(start + group).min(cols);
                let grad = load(s, &grad[part.clone()], 0.0);
                let x = load(s, &x[part.clone()], 0.0);
                let weight = load(s, &weight[part.clone()], 0.0);
                let mut sums = load(s, &to_weight[part.clone()], 0.0);
                let mut out = [s.zero(); GROUP];
                for i in 0..GROUP {
                    let scaled = s.mul(grad[i], scale);
                    let weighed = s.mul(scaled, s.add(weight[i], s.splat(offset)));
                    out[i] = s.mul_add(x[i], back, weighed);
                    sums[i] = s.mul_add(scaled, x[i], sums[i]);
                }
                store(s, &mut to_x[part.clone()], out);
                store(s, &mut to_weight[part], sums);
            }
        }
    }
}

simd_fn! {
    fn layer_rows<S>(
        s,
        grad: &[f32],
        x: &[f32],
        weight: &[f32],
        eps: f32,
        to_x: &mut [f32],
        to_weight: &mut [f32],
        to_bias: &mut [f32],
    ) {
        let (cols, group) = (weight.len(), GROUP * S::LANES);
        let len = cols as f32;
        let rows = grad.chunks_exact(cols).zip(x.chunks_exact(cols));
        for ((grad, x), to_x) in rows.zip(to_x.chunks_exact_mut(cols)) {
            let (mean, scale) = moments(s, x, eps);
            let (center, scale) = (s.splat(mean), s.splat(scale));
            let (mut sums, mut products) = ([s.zero(); GROUP], [s.zero(); GROUP]);
            let parts = grad.chunks(group).zip(x.chunks(group)).zip(weight.chunks(group));
            for ((grad, x), weight) in parts {
                let (grad, x) = (load(s, grad, 0.0), load(s, x, mean));
                let weight = load(s, weight, 0.0);
                for i in 0..GROUP {
                    let weighed = s.mul(grad[i], weight[i]);
                    let normed = s.mul(s.sub(x[i], center), scale);
                    sums[i] = s.add(sums[i], weighed);
                    products[i] = s.mul_add(weighed, normed, products[i]);
                }
            }
            let sum = s.splat(sum_group(s, sums) / len);
            let product = s.splat(sum_group(s, products) / len);
            for start in (0..cols).step_by(group) {
                let part = start..(start + group).min(cols);
                let grad = load(s, &grad[part.clone()], 0.0);
                let x = load(s, &x[part.clone()], mean);
                let weight = load(s, &weight[part.clone()], 0.0);
                let mut weights = load(s, &to_weight[part.clone()], 0.0);
                let mut biases = load(s, &to_bias[part.clone()], 0.0);
                let mut out = [s.zero(); GROUP];
                for i in 0..GROUP {
                    let normed = s.mul(s.sub(x[i], center), scale);
                    let weighed = s.mul(grad[i], weight[i]);
                    let rest = s.sub(s.sub(weighed, sum), s.mul(normed, product));
                    out[i] = s.mul(rest, scale);
                    weights[i] = s.mul_add(grad[i], normed, weights[i]);
                    biases[i] = s.add(biases[i], grad[i]);
                }
                store(s, &mut to_x[part.clone()], out);
                store(s, &mut to_weight[part.clone()], weights);
                store(s, &mut to_bias[part], biases);
            }
        }
    }
}

/// The mean of a row, and one over its standard deviation.
#[inline(always)]
fn moments<S: Simd>(s: S, x: &[f32], eps: f32) -> (f32, f32) {
    let (len, group) = (x.len() as f32, GROUP * S::LANES);
    let mut sums = [s.zero(); GROUP];
    for x in x.chunks(group) {
        for (sum, x) in sums.iter_mut().zip(load(s, x, 0.0)) {
            *sum = s.add(*sum, x);
        }
    }
    let mean = sum_group(s, sums) / len;
    let (mut rests, mut squares) = ([s.zero(); GROUP], [s.zero(); GROUP]);
    for x in x.chunks(group) {
        for (i, x) in load(s, x, mean).into_iter().enumerate() {
            let deviation = s.sub(x, s.splat(mean));
            rests[i] = s.add(rests[i], deviation);
            squares[i] = s.mul_add(deviation, deviation, squares[i]);
        }
    }
    // By this much the rounded mean is off.
    let rest = sum_group(s, rests) / len;
    let variance = (sum_group(s, squares) / len - rest * rest).max(0.0);
    (mean + rest, 1.0 / (variance + eps).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{random::Random, rows::test_shapes};

    fn close(isa: Isa, got: &[f32], expected: &[f64], tolerance: f64) {
        assert_eq!(got.len(), expected.len());
        for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
            let off = (f64::from(got) - expected).abs();
            let allowed = tolerance * expected.abs().max(1.0);
            assert!(off <= allowed, "{isa:?}: {got} for {expected} at {i}");
        }
    }

    /// Gradients of `(x - mean) * scale * factor`, with the mean or with zero in its place.
    fn exact([grad, x]: [&[f32]; 2], factor: &[f64], eps: f64, centred: bool) -> [Vec<f64>; 3] {
        let cols = factor.len();
        let mut to_x = Vec::new();
        let (mut to_weight, mut to_bias) = (vec![0.0; cols], vec![0.0; cols]);
        for (grad, x) in grad.chunks(cols).zip(x.chunks(cols)) {
            let len = cols as f64;
            let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / len;
            let mean = if centred { mean } else { 0.0 };
            let x: Vec<f64> = x.iter().map(|&x| f64::from(x) - mean).collect();
            let variance = x.iter().map(|x| x * x).sum::<f64>() / len;
            let scale = 1.0 / (variance + eps).sqrt();
            let h: Vec<f64> = grad
                .iter()
                .zip(factor)
                .map(|(&g, f)| f64::from(g) * f)
                .collect();
            let dot: f64 = h.iter().zip(&x).map(|(h, x)| h * x).sum();
            let rest = if centred {
                h.iter().sum::<f64>() / len
            } else {
                0.0
            };
            for j in 0..cols {
                to_x.push(scale * (h[j] - rest - x[j] * scale * scale * dot / len));
                to_weight[j] += f64::from(grad[j]) * x[j] * scale;
                to_bias[j] += f64::from(grad[j]);
            }
        }
        [to_x, to_weight, to_bias]
    }

    #[test]
    fn gradients_are_those_of_f64() {
        for (rows, cols) in test_shapes().filter(|&(rows, _)| rows > 0) {
            let mut random = Random::new((rows * cols) as u64);
            let [grad, x] = [(); 2].map(|()| random.floats(rows * cols));
            let weight = random.floats(cols);
            for offset in [0.0, 1.0] {
                let factor: Vec<f64> = weight.iter().map(|&w| f64::from(w + offset)).collect();
                let [to_x, to_weight, _] = exact([&grad, &x], &factor, 1e-2f32.into(), false);
                for &isa in Isa::available() {
                    let [got, sums] =
                        isa.with(|| rms_norm_gradient(&grad, &x, &weight, offset, 1e-2));
                    close(isa, &got, &to_x, 3e-6);
                    close(isa, &sums, &to_weight, 3e-6);
                }
            }
            let factor: Vec<f64> = weight.iter().map(|&w| f64::from(w)).collect();
            let [to_x, to_weight, to_bias] = exact([&grad, &x], &factor, 1e-2f32.into(), true);
            for &isa in Isa::available() {
                let [got, weights, biases] =
                    isa.with(|| layer_norm_gradient(&grad, &x, &weight, 1e-2));
                close(isa, &got, &to_x, 3e-6);
                close(isa, &weights, &to_weight, 3e-6);
                close(isa, &biases, &to_bias, 3e-6);
            }
        }
    }
}
