//! Matrix products with few rows of activations, as in decoding: every weight is read once, so memory is the limit.
//!
//! Lanes run along the inner dimension, where weights lie next to each other in the checkpoint's layout `[out, in]`.

use std::ops::Range;

use crate::{
    Element, Isa,
    product::Product,
    simd::{Simd, simd_fn},
};

/// Rows of activations up to which reading the weights takes longer than the arithmetic.
pub(crate) const FEW: usize = 4;

/// The most rows of activations, and those of vectors of 16: as many as a batch of requests or a draft has.
const MAX_ROWS: usize = 16;

/// Rows of weights that are read side by side where there are more than [`FEW`] rows of activations.
pub(crate) const WEIGHT_ROWS: usize = 4;

/// The highest tile: its sums with [`WEIGHT_ROWS`], these and a vector of activations are 29 of 32 registers.
const MAX_HEIGHT: usize = 6;

/// Whether this is faster than packing the weights for a register tile.
pub(crate) fn is_for(isa: Isa, rows: usize) -> bool {
    rows <= FEW || rows <= MAX_ROWS && lanes(isa) == 16
}

simd_fn! {
    fn lanes<S>(_s) -> usize {
        S::LANES
    }
}

/// Weights of one thread, with what they are multiplied by and where the products go.
pub(crate) struct Job<'a, T> {
    /// Activations, `[rows, cols]`, so many rows as [`is_for`] says.
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
    assert!(rows <= MAX_ROWS, "{rows} rows of activations");
    dot(isa, &job, rows);
}

simd_fn! {
    /// [`gemv`] has checked the lengths.
    fn dot<S, T: Element>(s, job: &Job<'_, T>, rows: usize) {
        let out_cols = job.w.len() / job.cols;
        let whole = match rows {
            0..=FEW => 0,
            _ => out_cols / WEIGHT_ROWS * WEIGHT_ROWS,
        };
        // SAFETY: the weights and the output have these rows; `gemv` has checked the rest.
        unsafe {
            for j in (0..whole).step_by(WEIGHT_ROWS) {
                in_tiles::<S, T, WEIGHT_ROWS>(s, job, rows, j);
            }
            for j in whole..out_cols {
                match rows {
                    0 => {}
                    1 => one_by_one::<S, T, 1, 4>(s, job, j),
                    2 => one_by_one::<S, T, 2, 2>(s, job, j),
                    3 => one_by_one::<S, T, 3, 2>(s, job, j),
                    4 => one_by_one::<S, T, 4, 2>(s, job, j),
                    _ => in_tiles::<S, T, 1>(s, job, rows, j),
                }
            }
        }
    }
}

/// The products of `M` rows of activations with weight row `j`, in `U` partial sums each.
///
/// One row after the other is the order that memory prefetchers like best: it reads one stream.
#[inline(always)]
unsafe fn one_by_one<S: Simd, T: Element, const M: usize, const U: usize>(
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
            finish(job, (i, j), [s.sum(sums[i][0])], k);
        }
    }
}

/// The products of more than [`FEW`] rows of activations with `W` rows of weights from row `j` on, in tiles whose heights
/// differ by one at most. Meanwhile the next rows of weights are on their way from memory.
#[inline(always)]
unsafe fn in_tiles<S: Simd, T: Element, const W: usize>(
    s: S,
    job: &Job<'_, T>,
    rows: usize,
    j: usize,
) {
    let tiles = rows.div_ceil(MAX_HEIGHT);
    for tile in 0..tiles {
        let (i, end) = (rows * tile / tiles, rows * (tile + 1) / tiles);
        let ahead = W + W * tile / tiles..W + W * (tile + 1) / tiles;
        // SAFETY: the caller's promise.
        unsafe {
            match end - i {
                3 => product::<S, T, 3, W>(s, job, (i, j), ahead),
                4 => product::<S, T, 4, W>(s, job, (i, j), ahead),
                5 => product::<S, T, 5, W>(s, job, (i, j), ahead),
                6 => product::<S, T, 6, W>(s, job, (i, j), ahead),
                height => unreachable!("a tile of {height} rows"),
            }
        }
    }
}

/// The products of rows `i..i + M` of activations with rows `j..j + W` of weights, while memory is asked for the rows
/// `j + ahead`.
#[inline(always)]
unsafe fn product<S: Simd, T: Element, const M: usize, const W: usize>(
    s: S,
    job: &Job<'_, T>,
    (i, j): (usize, usize),
    ahead: Range<usize>,
) {
    let cols = job.cols;
    // SAFETY: the caller's promise; every row has `cols` elements.
    unsafe {
        let (x, w) = (job.x.as_ptr().add(i * cols), job.w.as_ptr().add(j * cols));
        let mut sums = [[s.zero(); W]; M];
        let mut k = 0;
        while k + S::LANES <= cols {
            for row in ahead.clone() {
                s.prefetch(w.wrapping_add(row * cols + k));
            }
            let mut weights = [s.zero(); W];
            for n in 0..W {
                weights[n] = T::load(s, w.add(n * cols + k));
            }
            for m in 0..M {
                let x = s.load(x.add(m * cols + k));
                for n in 0..W {
                    sums[m][n] = s.mul_add(weights[n], x, sums[m][n]);
                }
            }
            k += S::LANES;
        }
        for (m, sums) in sums.into_iter().enumerate() {
            let sums = match sums.first_chunk() {
                Some(four) if W == 4 => {
                    let mut all = [0.0; W];
                    all.copy_from_slice(&s.sum4(*four));
                    all
                }
                _ => sums.map(|sum| s.sum(sum)),
            };
            finish(job, (i + m, j), sums, k);
        }
    }
}

/// Adds the products of the elements from `k` on and the biases to `sums`, of row `i` of activations and the rows from
/// `j` on of weights, and stores them.
#[inline(always)]
unsafe fn finish<T: Element, const W: usize>(
    job: &Job<'_, T>,
    (i, j): (usize, usize),
    mut sums: [f32; W],
    k: usize,
) {
    let cols = job.cols;
    // SAFETY: the caller's promise; every row has `cols` elements.
    unsafe {
        let (x, w) = (job.x.as_ptr().add(i * cols), job.w.as_ptr().add(j * cols));
        for (n, sum) in sums.iter_mut().enumerate() {
            for k in k..cols {
                *sum += *x.add(k) * (*w.add(n * cols + k)).to_f32();
            }
            *sum += job.bias.map_or(0.0, |bias| bias[j + n]);
            *job.out.add(i * job.out_stride + j + n) = *sum;
        }
    }
}
