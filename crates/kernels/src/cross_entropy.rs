//! Cross-entropy of logits against one class for each row, without a second copy of the logits.

use crate::{
    Isa,
    math::exp,
    rows::{GROUP, count_rows, for_rows, load, max_group, store, sum_group},
    simd::simd_fn,
};

/// The logarithm of every row's sum of `e^logit`: `logits` is `[rows, cols]`, `out` is `[rows]`. What a row loses is this
/// less the logit of its class.
///
/// # Panics
/// When lengths do not fit each other.
pub fn log_sum_exp(logits: &[f32], cols: usize, out: &mut [f32]) {
    let (isa, rows) = (Isa::current(), count_rows(logits, cols));
    assert_eq!(out.len(), rows, "out is [{rows}]");
    for_rows(rows, cols, [out], |rows, [out]| {
        for (row, out) in rows.zip(out) {
            *out = log_sum_exp_of(isa, &logits[row * cols..(row + 1) * cols]);
        }
    });
}

/// The gradient of the losses of all rows, times `factor`: `factor * (softmax(logits) - one_hot(target))` takes the place
/// of the logits, and zero in rows whose target is negative. `sums` is what [`log_sum_exp`] gave.
///
/// # Panics
/// When lengths do not fit each other, or a target is no column.
pub fn cross_entropy_gradient(
    logits: &mut [f32],
    cols: usize,
    targets: &[i32],
    sums: &[f32],
    factor: f32,
) {
    let (isa, rows) = (Isa::current(), count_rows(logits, cols));
    assert!(
        targets.len() == rows && sums.len() == rows,
        "one for each row"
    );
    for_rows(rows, cols, [logits], |rows, [logits]| {
        for (row, logits) in rows.zip(logits.chunks_exact_mut(cols)) {
            match usize::try_from(targets[row]) {
                Ok(target) => {
                    soften(isa, logits, sums[row], factor);
                    logits[target] -= factor;
                }
                Err(_) => logits.fill(0.0),
            }
        }
    });
}

simd_fn! {
    fn log_sum_exp_of<S>(s, row: &[f32]) -> f32 {
        let group = GROUP * S::LANES;
        let mut largest = [s.splat(f32::NEG_INFINITY); GROUP];
        for part in row.chunks(group) {
            for (max, x) in largest.iter_mut().zip(load(s, part, f32::NEG_INFINITY)) {
                *max = s.max(x, *max);
            }
        }
        let max = max_group(s, largest);
        let mut sums = [s.zero(); GROUP];
        for part in row.chunks(group) {
            for (sum, x) in sums.iter_mut().zip(load(s, part, f32::NEG_INFINITY)) {
                *sum = s.add(*sum, exp(s, s.sub(x, s.splat(max))));
            }
        }
        max + sum_group(s, sums).ln()
    }
}

simd_fn! {
    fn soften<S>(s, row: &mut [f32], sum: f32, factor: f32) {
        for part in row.chunks_mut(GROUP * S::LANES) {
            let mut y = load(s, part, 0.0);
            for y in &mut y {
                *y = s.mul(exp(s, s.sub(*y, s.splat(sum))), s.splat(factor));
            }
            store(s, part, y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{random::Random, rows::test_shapes};

    #[test]
    fn rows_are_those_of_f64() {
        for (rows, cols) in test_shapes() {
            let mut random = Random::new((rows * cols) as u64);
            let spread = |x: f32| x * 20.0;
            let x: Vec<f32> = random.floats(rows * cols).into_iter().map(spread).collect();
            let target = |row: usize| match row % 5 {
                4 => -1,
                _ => (random.next() % cols as u64) as i32,
            };
            let targets: Vec<i32> = (0..rows).map(target).collect();
            for &isa in Isa::available() {
                let (mut sums, mut grad) = (vec![f32::NAN; rows], x.clone());
                isa.with(|| log_sum_exp(&x, cols, &mut sums));
                isa.with(|| cross_entropy_gradient(&mut grad, cols, &targets, &sums, 0.25));
                for row in 0..rows {
                    let range = row * cols..(row + 1) * cols;
                    let exps = x[range.clone()].iter().map(|&x| f64::from(x).exp());
                    let sum: f64 = exps.clone().sum();
                    assert!((f64::from(sums[row]) - sum.ln()).abs() <= 3e-6, "{isa:?}");
                    for (i, (&got, e)) in grad[range].iter().zip(exps).enumerate() {
                        let hit = f64::from(u8::from(i as i32 == targets[row]));
                        let expected = match targets[row] {
                            ..0 => 0.0,
                            _ => 0.25 * (e / sum - hit),
                        };
                        let off = (f64::from(got) - expected).abs();
                        assert!(off <= 1e-6, "{isa:?}: {got} for {expected}");
                    }
                }
            }
        }
    }
}
