//! Softmax of rows.

use crate::{
    Isa,
    math::exp,
    rows::{GROUP, count_rows, for_rows, load, max_group, store, sum_group},
    simd::{Simd, simd_fn},
};

/// Replaces every row of `x: [rows, cols]` by its softmax, `exp(x - max) / Σ exp(x - max)`.
///
/// As in PyTorch, a row is NaN throughout when it holds a NaN or an infinity, or nothing but negative infinities.
///
/// # Panics
/// When `x` is not whole rows.
pub fn softmax(x: &mut [f32], cols: usize) {
    let (isa, rows) = (Isa::current(), count_rows(x, cols));
    for_rows(rows, cols, [x], |_, [x]| softmax_rows(isa, x, cols));
}

simd_fn! {
    fn softmax_rows<S>(s, x: &mut [f32], cols: usize) {
        for row in x.chunks_exact_mut(cols) {
            softmax_row(s, row);
        }
    }
}

#[inline(always)]
fn softmax_row<S: Simd>(s: S, row: &mut [f32]) {
    let max = s.splat(largest(s, row));
    let mut sums = [s.zero(); GROUP];
    for part in row.chunks_mut(GROUP * S::LANES) {
        // Lanes beyond the row's end add nothing.
        let mut y = load(s, part, f32::NEG_INFINITY);
        for (y, sum) in y.iter_mut().zip(&mut sums) {
            *y = exp(s, s.sub(*y, max));
            *sum = s.add(*sum, *y);
        }
        store(s, part, y);
    }
    let scale = s.splat(1.0 / sum_group(s, sums));
    for part in row.chunks_mut(GROUP * S::LANES) {
        let mut y = load(s, part, 0.0);
        for y in &mut y {
            *y = s.mul(*y, scale);
        }
        store(s, part, y);
    }
}

/// The largest element that is not NaN.
#[inline(always)]
fn largest<S: Simd>(s: S, row: &[f32]) -> f32 {
    let mut max = [s.splat(f32::NEG_INFINITY); GROUP];
    for part in row.chunks(GROUP * S::LANES) {
        for (max, v) in max.iter_mut().zip(load(s, part, f32::NEG_INFINITY)) {
            *max = s.max(v, *max);
        }
    }
    max_group(s, max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{random::Random, rows::test_shapes};

    /// The softmax, and by how much its elements may be off: by what exp and the sum are, and by the rounding of
    /// `x - max`, which exp makes as large as the difference.
    fn softmax_f64(row: &[f32]) -> impl Iterator<Item = (f64, f64)> {
        let max = row
            .iter()
            .fold(f64::NEG_INFINITY, |max, &x| max.max(x.into()));
        let exp = move |&x: &f32| (f64::from(x) - max).exp();
        let sum: f64 = row.iter().map(exp).sum();
        row.iter().map(move |x| {
            let rounding = (max - f64::from(x.max(-1e3))) * f64::from(f32::EPSILON) / 2.0;
            (exp(x) / sum, exp(x) / sum * (5e-7 + rounding) + 1e-37)
        })
    }

    #[test]
    fn rows_are_those_of_f64() {
        for (rows, cols) in test_shapes() {
            let mut random = Random::new((rows * cols) as u64);
            let mut x = random.floats(rows * cols);
            // Logits are spread, and masks are negative infinity.
            for (i, x) in x.iter_mut().enumerate() {
                let masked = cols > 1 && (i % cols) % 7 == 1;
                *x = if masked { f32::NEG_INFINITY } else { *x * 30.0 };
            }
            for &isa in Isa::available() {
                let mut y = x.clone();
                isa.with(|| softmax(&mut y, cols));
                for (x, y) in x.chunks(cols).zip(y.chunks(cols)) {
                    for ((&x, &y), (expected, allowed)) in x.iter().zip(y).zip(softmax_f64(x)) {
                        let off = (f64::from(y) - expected).abs();
                        assert!(off <= allowed, "{isa:?}: {y} for {expected}");
                        assert!(x > f32::NEG_INFINITY || y == 0.0, "{isa:?}: masked");
                    }
                }
            }
        }
    }

    #[test]
    fn large_values_do_not_overflow() {
        for &isa in Isa::available() {
            let mut x = [3e38, 3e38, -3e38, 3e38];
            isa.with(|| softmax(&mut x, 4));
            for (got, expected) in x.into_iter().zip([1.0f32 / 3.0, 1.0 / 3.0, 0.0, 1.0 / 3.0]) {
                assert!((got - expected).abs() < 1e-7, "{isa:?}: {x:?}");
            }
        }
    }

    #[test]
    fn rows_without_a_softmax_are_nan() {
        for cols in [3, 16, 40, 100] {
            for (first, rest) in [
                (f32::NEG_INFINITY, f32::NEG_INFINITY),
                (f32::NAN, 1.0),
                (f32::INFINITY, 1.0),
            ] {
                for &isa in Isa::available() {
                    let mut x = vec![rest; 2 * cols];
                    x[..cols].fill(0.5);
                    x[cols] = first;
                    isa.with(|| softmax(&mut x, cols));
                    assert!(
                        x[..cols]
                            .iter()
                            .all(|x| (x * cols as f32 - 1.0).abs() < 1e-6)
                    );
                    assert!(
                        x[cols..].iter().all(|x| x.is_nan()),
                        "{isa:?}: {first}, {rest}"
                    );
                }
            }
        }
    }
}
