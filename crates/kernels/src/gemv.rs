//! Matrix products with few rows of activations, as in decoding: every weight is read once, so memory is the limit.
//!
//! Lanes run along the inner dimension, where weights lie next to each other in the checkpoint's layout `[out, in]`.

use std::ops::Range;

use crate::{
    Element, Isa,
    product::Product,
    simd::{Simd, simd_fn},
};

/// Rows of activations up to which this is faster than packing the weights for a register tile.
pub(crate) const MAX_ROWS: usize = 4;

/// Weights of one thread, with what they are multiplied by and where the products go.
pub(crate) struct Job<'a, T> {
    /// Activations, `[rows, cols]`, at most [`MAX_ROWS`] rows.
    pub(crate) x: &'a [f32],
    /// Weights, `[out_cols, cols]`.
    pub(crate) w: &'a [T],
    pub(crate) cols: usize,
    /// One for each row of weights.
    pub(crate) bias: Option<&'a [f32]>,
    /// `out.add(i * out_stride + j)` gets `bias[j] + Σ x[i, k] w[j, k]`.
    pub(crate) out: *mut f32,
    pub(crate) out_stride: usize,
}

impl<'a, T> Job<'a, T> {
    /// Columns `columns` of the output of a product whose weights are `w`.
    pub(crate) fn new(
        product: &Product<'a>,
        w: &'a [T],
        cols: usize,
        columns: Range<usize>,
    ) -> Self {
        Self {
            x: product.x,
            w: &w[columns.start * cols..columns.end * cols],
            cols,
            bias: product.bias.map(|bias| &bias[columns.clone()]),
            out: product.out.at(columns.start),
            out_stride: product.cols,
        }
    }
}

/// Computes `job`.
///
/// # Safety
/// Every place of the output is writable, and nobody else uses it meanwhile.
///
/// # Panics
/// When the slices' lengths do not fit each other.
pub(crate) unsafe fn gemv<T: Element>(isa: Isa, job: Job<'_, T>) {
    let rows = job.x.len() / job.cols;
    let out_cols = job.w.len() / job.cols;
    assert!(job.x.len() == rows * job.cols && job.w.len() == out_cols * job.cols);
    assert!(job.bias.is_none_or(|bias| bias.len() == out_cols));
    match rows {
        0 => {}
        1 => rows_of::<T, 1>(isa, &job),
        2 => rows_of::<T, 2>(isa, &job),
        3 => rows_of::<T, 3>(isa, &job),
        4 => rows_of::<T, 4>(isa, &job),
        _ => panic!("{rows} rows of activations are more than {MAX_ROWS}"),
    }
}

simd_fn! {
    /// `M` rows of activations; [`gemv`] has checked the lengths.
    fn rows_of<S, T: Element; const M>(s, job: &Job<'_, T>) {
        for j in 0..job.w.len() / job.cols {
            // SAFETY: the weights have row j, and so has the output; `gemv` has checked the rest.
            unsafe {
                match M {
                    1 => products::<S, T, M, 4>(s, job, j),
                    _ => products::<S, T, M, 2>(s, job, j),
                }
            }
        }
    }
}

/// The products of `M` rows of activations with weight row `j`, in `U` partial sums each.
///
/// One row after the other is the order that memory prefetchers like best: it reads one stream.
#[inline(always)]
unsafe fn products<S: Simd, T: Element, const M: usize, const U: usize>(
    s: S,
    job: &Job<'_, T>,
    j: usize,
) {
    let cols = job.cols;
    // SAFETY: the caller's promise; x has M rows, and every row `cols` elements.
    unsafe {
        let (x, w) = (job.x.as_ptr(), job.w.as_ptr().add(j * cols));
        let mut sums = [[s.zero(); U]; M];
        let mut k = 0;
        while k + U * S::LANES <= cols {
            for u in 0..U {
                let k = k + u * S::LANES;
                let weight = T::load(s, w.add(k));
                for i in 0..M {
                    sums[i][u] = s.mul_add(weight, s.load(x.add(i * cols + k)), sums[i][u]);
                }
            }
            k += U * S::LANES;
        }
        while k + S::LANES <= cols {
            let weight = T::load(s, w.add(k));
            for i in 0..M {
                sums[i][0] = s.mul_add(weight, s.load(x.add(i * cols + k)), sums[i][0]);
            }
            k += S::LANES;
        }
        for i in 0..M {
            for u in 1..U {
                sums[i][0] = s.add(sums[i][0], sums[i][u]);
            }
            let mut sum = s.sum(sums[i][0]);
            for k in k..cols {
                sum += *x.add(i * cols + k) * (*w.add(k)).to_f32();
            }
            let bias = job.bias.map_or(0.0, |bias| bias[j]);
            *job.out.add(i * job.out_stride + j) = sum + bias;
        }
    }
}
