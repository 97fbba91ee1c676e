//! Normalisation of rows: root mean square (Llama, Gemma) and mean and variance (BERT, GPT-2).

use crate::{
    Isa,
    rows::{GROUP, count_rows, for_rows, load, store, sum_group},
    shared::written,
    simd::{Simd, simd_fn},
};

/// `x / sqrt(mean(x²) + eps) * (offset + weight)` for rows of `weight.len()` elements: `x` and the result are
/// `[rows, weight.len()]`.
///
/// `offset` is 0 for Llama's norm and 1 for Gemma's.
///
/// # Panics
/// When lengths do not fit each other.
pub fn rms_norm(x: &[f32], weight: &[f32], offset: f32, eps: f32) -> Vec<f32> {
    let (isa, cols) = (Isa::current(), weight.len());
    let rows = count_rows(x, cols);
    let write = |out: &mut [f32]| {
        for_rows(rows, cols, [out], |rows, [out]| {
            let x = &x[rows.start * cols..rows.end * cols];
            rms_norm_rows(isa, x, weight, offset, eps, out);
        });
    };
    // SAFETY: every row is written, and none is read.
    unsafe { written(x.len(), write) }
}

/// `residual += x`, and the [`rms_norm`] of the sum: what lies between two blocks of a pre-norm decoder.
///
/// # Panics
/// When lengths do not fit each other.
pub fn add_rms_norm(
    x: &[f32],
    residual: &mut [f32],
    weight: &[f32],
    offset: f32,
    eps: f32,
) -> Vec<f32> {
    let (isa, cols) = (Isa::current(), weight.len());
    let rows = count_rows(x, cols);
    assert_eq!(residual.len(), x.len(), "residual has the shape of x");
    let write = |out: &mut [f32]| {
        for_rows(rows, cols, [residual, out], |rows, [residual, out]| {
            let x = &x[rows.start * cols..rows.end * cols];
            add_rms_norm_rows(isa, x, residual, weight, offset, eps, out);
        });
    };
    // SAFETY: every row is written, and none is read.
    unsafe { written(x.len(), write) }
}

/// `(x - mean(x)) / sqrt(var(x) + eps) * weight + bias` for rows of `weight.len()` elements, with the biased variance: `x`
/// and the result are `[rows, weight.len()]`.
///
/// # Panics
/// When lengths do not fit each other.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) -> Vec<f32> {
    layer_norm_of(x, None, weight, bias, eps)
}

/// The [`layer_norm`] of `x + residual`, as in BERT.
///
/// # Panics
/// When lengths do not fit each other.
pub fn add_layer_norm(
    x: &[f32],
    residual: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
) -> Vec<f32> {
    layer_norm_of(x, Some(residual), weight, bias, eps)
}

fn layer_norm_of(
    x: &[f32],
    residual: Option<&[f32]>,
    weight: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
) -> Vec<f32> {
    let (isa, cols) = (Isa::current(), weight.len());
    let rows = count_rows(x, cols);
    assert!(
        residual.is_none_or(|residual| residual.len() == x.len()),
        "residual has the shape of x"
    );
    assert!(
        bias.is_none_or(|bias| bias.len() == cols),
        "bias has the shape of weight"
    );
    let write = |out: &mut [f32]| {
        for_rows(rows, cols, [out], |rows, [out]| {
            let range = rows.start * cols..rows.end * cols;
            let residual = residual.map(|residual| &residual[range.clone()]);
            layer_norm_rows(isa, &x[range], residual, weight, bias, eps, out);
        });
    };
    // SAFETY: every row is written before it is read.
    unsafe { written(x.len(), write) }
}

simd_fn! {
    fn rms_norm_rows<S>(s, x: &[f32], weight: &[f32], offset: f32, eps: f32, out: &mut [f32]) {
        let cols = weight.len();
        for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
            rms_norm_row(s, x, weight, offset, eps, out);
        }
    }
}

simd_fn! {
    fn add_rms_norm_rows<S>(
        s,
        x: &[f32],
        residual: &mut [f32],
        weight: &[f32],
        offset: f32,
        eps: f32,
        out: &mut [f32],
    ) {
        let cols = weight.len();
        let rows = x.chunks_exact(cols).zip(residual.chunks_exact_mut(cols));
        for ((x, residual), out) in rows.zip(out.chunks_exact_mut(cols)) {
            add(s, x, residual);
            rms_norm_row(s, residual, weight, offset, eps, out);
        }
    }
}

simd_fn! {
    fn layer_norm_rows<S>(
        s,
        x: &[f32],
        residual: Option<&[f32]>,
        weight: &[f32],
        bias: Option<&[f32]>,
        eps: f32,
        out: &mut [f32],
    ) {
        let cols = weight.len();
        for (i, out) in out.chunks_exact_mut(cols).enumerate() {
            let row = i * cols..(i + 1) * cols;
            let residual = residual.map(|residual| &residual[row.clone()]);
            let mean = sum_into(s, &x[row], residual, out) / cols as f32;
            layer_norm_row(s, out, mean, weight, bias, eps);
        }
    }
}

#[inline(always)]
fn add<S: Simd>(s: S, x: &[f32], to: &mut [f32]) {
    let group = GROUP * S::LANES;
    for (x, to) in x.chunks(group).zip(to.chunks_mut(group)) {
        let (x, mut sum) = (load(s, x, 0.0), load(s, to, 0.0));
        for (sum, x) in sum.iter_mut().zip(x) {
            *sum = s.add(*sum, x);
        }
        store(s, to, sum);
    }
}

#[inline(always)]
fn rms_norm_row<S: Simd>(s: S, x: &[f32], weight: &[f32], offset: f32, eps: f32, out: &mut [f32]) {
    let group = GROUP * S::LANES;
    let mut squares = [s.zero(); GROUP];
    for x in x.chunks(group) {
        for (sum, x) in squares.iter_mut().zip(load(s, x, 0.0)) {
            *sum = s.mul_add(x, x, *sum);
        }
    }
    let mean = sum_group(s, squares) / x.len() as f32;
    let (scale, offset) = (s.splat(1.0 / (mean + eps).sqrt()), s.splat(offset));
    let rows = x.chunks(group).zip(weight.chunks(group));
    for ((x, weight), out) in rows.zip(out.chunks_mut(group)) {
        let (mut y, weight) = (load(s, x, 0.0), load(s, weight, 0.0));
        for (y, weight) in y.iter_mut().zip(weight) {
            *y = s.mul(s.mul(*y, scale), s.add(weight, offset));
        }
        store(s, out, y);
    }
}

/// `out = x + residual`; returns the sum of its elements.
#[inline(always)]
fn sum_into<S: Simd>(s: S, x: &[f32], residual: Option<&[f32]>, out: &mut [f32]) -> f32 {
    let group = GROUP * S::LANES;
    let mut sums = [s.zero(); GROUP];
    let mut residuals = residual.map(|residual| residual.chunks(group));
    for (x, out) in x.chunks(group).zip(out.chunks_mut(group)) {
        let mut y = load(s, x, 0.0);
        if let Some(residual) = residuals.as_mut().and_then(Iterator::next) {
            for (y, residual) in y.iter_mut().zip(load(s, residual, 0.0)) {
                *y = s.add(*y, residual);
            }
        }
        for (sum, y) in sums.iter_mut().zip(y) {
            *sum = s.add(*sum, y);
        }
        store(s, out, y);
    }
    sum_group(s, sums)
}

/// Normalises in place a row whose mean, rounded, is known.
#[inline(always)]
fn layer_norm_row<S: Simd>(
    s: S,
    x: &mut [f32],
    mean: f32,
    weight: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
) {
    let group = GROUP * S::LANES;
    let (rest, variance) = deviation(s, x, mean);
    let (mean, rest) = (s.splat(mean), s.splat(rest));
    let scale = s.splat(1.0 / (variance + eps).sqrt());
    let mut biases = bias.map(|bias| bias.chunks(group));
    for (x, weight) in x.chunks_mut(group).zip(weight.chunks(group)) {
        let bias = match biases.as_mut().and_then(Iterator::next) {
            Some(bias) => load(s, bias, 0.0),
            None => [s.zero(); GROUP],
        };
        let (mut y, weight) = (load(s, x, 0.0), load(s, weight, 0.0));
        for ((y, weight), bias) in y.iter_mut().zip(weight).zip(bias) {
            let deviation = s.sub(s.sub(*y, mean), rest);
            *y = s.mul_add(s.mul(deviation, scale), weight, bias);
        }
        store(s, x, y);
    }
}

/// The mean deviation from a rounded mean, and the biased variance.
///
/// The first says by how much the mean is off, which matters where it is large beside the deviations (Chan, Golub and
/// LeVeque, "Algorithms for computing the sample variance", 1983).
#[inline(always)]
fn deviation<S: Simd>(s: S, x: &[f32], mean: f32) -> (f32, f32) {
    let len = x.len() as f32;
    let center = s.splat(mean);
    let (mut sums, mut squares) = ([s.zero(); GROUP], [s.zero(); GROUP]);
    for x in x.chunks(GROUP * S::LANES) {
        for (i, x) in load(s, x, mean).into_iter().enumerate() {
            let deviation = s.sub(x, center);
            sums[i] = s.add(sums[i], deviation);
            squares[i] = s.mul_add(deviation, deviation, squares[i]);
        }
    }
    let rest = sum_group(s, sums) / len;
    let variance = sum_group(s, squares) / len - rest * rest;
    (rest, variance.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{random::Random, rows::test_shapes};

    fn assert_close(isa: Isa, got: &[f32], expected: &[f64], tolerance: f64) {
        assert_eq!(got.len(), expected.len());
        for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
            let off = (f64::from(got) - expected).abs();
            let allowed = tolerance * expected.abs().max(1.0);
            assert!(off <= allowed, "{isa:?}: {got} for {expected} at {i}");
        }
    }

    fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|&x| f64::from(x)).collect()
    }

    fn rms_norm_f64(x: &[f64], weight: &[f32], offset: f64, eps: f64) -> Vec<f64> {
        let rows = x.chunks(weight.len()).flat_map(|row| {
            let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
            let scale = 1.0 / (mean + eps).sqrt();
            let weights = weight.iter().map(move |&w| offset + f64::from(w));
            row.iter().zip(weights).map(move |(x, w)| x * scale * w)
        });
        rows.collect()
    }

    fn layer_norm_f64(x: &[f64], weight: &[f32], bias: Option<&[f32]>, eps: f64) -> Vec<f64> {
        let rows = x.chunks(weight.len()).flat_map(|row| {
            let len = row.len() as f64;
            let mean = row.iter().sum::<f64>() / len;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / len;
            let scale = 1.0 / (variance + eps).sqrt();
            row.iter().enumerate().map(move |(i, x)| {
                let bias = bias.map_or(0.0, |bias| f64::from(bias[i]));
                (x - mean) * scale * f64::from(weight[i]) + bias
            })
        });
        rows.collect()
    }

    #[test]
    fn rms_norm_is_that_of_f64() {
        for (rows, cols) in test_shapes() {
            let mut random = Random::new((rows * cols) as u64);
            let (x, residual) = (random.floats(rows * cols), random.floats(rows * cols));
            let weight = random.floats(cols);
            for (offset, eps) in [(0.0, 1e-5), (1.0, 1e-6)] {
                let expected = rms_norm_f64(&wide(&x), &weight, f64::from(offset), f64::from(eps));
                let sum: Vec<f32> = x.iter().zip(&residual).map(|(a, b)| a + b).collect();
                let of_sum = rms_norm_f64(&wide(&sum), &weight, f64::from(offset), f64::from(eps));
                for &isa in Isa::available() {
                    let out = isa.with(|| rms_norm(&x, &weight, offset, eps));
                    assert_close(isa, &out, &expected, 5e-7);

                    let mut stream = residual.clone();
                    let out = isa.with(|| add_rms_norm(&x, &mut stream, &weight, offset, eps));
                    assert_eq!(stream, sum, "{isa:?}");
                    assert_close(isa, &out, &of_sum, 5e-7);
                }
            }
        }
    }

    #[test]
    fn layer_norm_is_that_of_f64() {
        for (rows, cols) in test_shapes() {
            let mut random = Random::new((rows * cols) as u64);
            let (x, residual) = (random.floats(rows * cols), random.floats(rows * cols));
            let (weight, bias) = (random.floats(cols), random.floats(cols));
            let sum: Vec<f32> = x.iter().zip(&residual).map(|(a, b)| a + b).collect();
            for bias in [None, Some(&bias[..])] {
                let expected = layer_norm_f64(&wide(&x), &weight, bias, f64::from(1e-5f32));
                let of_sum = layer_norm_f64(&wide(&sum), &weight, bias, f64::from(1e-5f32));
                for &isa in Isa::available() {
                    let out = isa.with(|| layer_norm(&x, &weight, bias, 1e-5));
                    assert_close(isa, &out, &expected, 1e-6);
                    let out = isa.with(|| add_layer_norm(&x, &residual, &weight, bias, 1e-5));
                    assert_close(isa, &out, &of_sum, 1e-6);
                }
            }
        }
    }

    #[test]
    fn layer_norm_of_a_large_mean_keeps_the_deviations() {
        let mut random = Random::new(7);
        let x: Vec<f32> = (0..3 * 577)
            .map(|_| 1000.0 + 0.01 * random.float())
            .collect();
        let weight = vec![1.0; 577];
        let expected = layer_norm_f64(&wide(&x), &weight, None, 1e-12);
        for &isa in Isa::available() {
            let out = isa.with(|| layer_norm(&x, &weight, None, 1e-12));
            assert_close(isa, &out, &expected, 2e-6);
        }
    }

    #[test]
    fn a_constant_row_gives_the_bias() {
        let (x, weight, bias) = ([3.3; 100], [2.0; 100], [0.25; 100]);
        for &isa in Isa::available() {
            let out = isa.with(|| layer_norm(&x, &weight, Some(&bias), 1e-5));
            assert_close(isa, &out, &[0.25; 100], 1e-6);
        }
    }
}
