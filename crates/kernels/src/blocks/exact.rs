//! Few rows of activations times blocks, in f32.

use std::ops::Range;

use super::fast::Blocks;
use crate::{Isa, simd::simd_fn};

/// Elements of a row that are dequantised at a time.
const DEPTH: usize = 256;

/// Rows of weights at a time.
const WEIGHT_ROWS: usize = 4;

/// Computes columns `rows` of the output: the products of `x` with these rows of weights.
///
/// # Safety
/// No other task reads or writes these columns.
pub(super) unsafe fn few_rows(isa: Isa, x: &[f32], job: &Blocks<'_>, rows: Range<usize>) {
    let x_rows = x.len() / job.weight.cols;
    assert!(rows.end <= job.weight.rows);
    for i in (0..x_rows).step_by(4) {
        match x_rows - i {
            1 => dot_rows::<1>(isa, isa, x, i, job, rows.clone()),
            2 => dot_rows::<2>(isa, isa, x, i, job, rows.clone()),
            _ => dot_rows::<4>(isa, isa, x, i, job, rows.clone()),
        }
    }
}

simd_fn! {
    /// Rows `i..i + M` of activations. What lies beyond the last row is the last row again, and not stored.
    fn dot_rows<S; const M>(s, isa: Isa, x: &[f32], i: usize, job: &Blocks<'_>, rows: Range<usize>) {
        let (x_rows, cols) = (x.len() / job.weight.cols, job.weight.cols);
        let mut w = [[0.0; DEPTH]; WEIGHT_ROWS];
        for j in rows.clone().step_by(WEIGHT_ROWS) {
            let mut sums = [[s.zero(); WEIGHT_ROWS]; M];
            for start in (0..cols).step_by(DEPTH) {
                let depth = DEPTH.min(cols - start);
                for (r, w) in w.iter_mut().enumerate() {
                    let row = (j + r).min(rows.end - 1);
 job.weight.read(isa, row, start, &mut w[..depth]);
                }
                let x: [&[f32]; M] = std::array::from_fn(|m| {
                    &x[(i + m).min(x_rows - 1) * cols + start..][..depth]
                });
                for k in (0..depth).step_by(S::LANES) {
                    for (x, sums) in x.iter().zip(&mut sums) {
                        // SAFETY: depths are whole blocks, which are whole vectors.
                        unsafe {
                            let x = s.load(x.as_ptr().add(k));
                            for (w, sum) in w.iter().zip(sums) {
                                *sum = s.mul_add(s.load(w.as_ptr().add(k)), x, *sum);
                            }
                        }
                    }
                }
            }
            let mut products = [[0.0; WEIGHT_ROWS]; M];
            for (sums, products) in sums.iter().zip(&mut products) {
                for (sum, product) in sums.iter().zip(products) {
                    *product = s.sum(*sum);
                }
            }
            // SAFETY: the caller of `few_rows` owns the columns.
            unsafe { job.store(products, (i, x_rows), (j, rows.end)) };
        }
    }
}
