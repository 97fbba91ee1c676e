//! Few rows of activations times blocks, in integers: every block is read once, so memory is the limit.

use std::ops::Range;

use super::{
    BlockMatrix, GROUP,
    activations::{CHUNK, Quantized},
    formats::{Format, with_format},
    int8::{Int8, int8_fn},
};
use crate::{Isa, shared::SharedMut};

/// Rows of weights that are read side by side.
pub(super) const WEIGHT_ROWS: usize = 4;

/// Rows of weights and the place of their products.
pub(super) struct Job<'a> {
    pub(super) weight: BlockMatrix<'a>,
    /// One for each row of weights.
    pub(super) bias: Option<&'a [f32]>,
    /// `[x rows, weight rows]`.
    pub(super) out: SharedMut<'a, f32>,
}

impl Job<'_> {
    /// Stores `products` of activation rows `i..` with weight rows `j..`, those of them that are in `rows`, `columns`.
    ///
    /// # Safety
    /// No other task reads or writes there.
    #[inline(always)]
    pub(super) unsafe fn store<const M: usize, const W: usize>(
        &self,
        products: [[f32; W]; M],
        (i, rows): (usize, usize),
        (j, columns): (usize, usize),
    ) {
        for (i, products) in (i..rows).zip(products) {
            let start = i * self.weight.rows + j;
            let columns = W.min(columns - j);
            // SAFETY: the caller's promise.
            let out = unsafe { self.out.part(start, columns) };
            out.copy_from_slice(&products[..columns]);
            if let Some(bias) = self.bias {
                for (out, bias) in out.iter_mut().zip(&bias[j..]) {
                    *out += bias;
                }
            }
        }
    }
}

/// Computes columns `rows` of the output: the products of `x` with these rows of weights.
///
/// # Safety
/// No other task reads or writes these columns.
pub(super) unsafe fn few_rows(isa: Isa, x: &Quantized, job: &Job<'_>, rows: Range<usize>) {
    assert!(x.cols == job.weight.cols && rows.end <= job.weight.rows);
    with_format!(job.weight.format, F => {
        let mut i = 0;
        while i < x.rows() {
            match x.rows() - i {
                1 => dot_rows::<F, 1, 4>(isa, x, i, job, rows.clone()),
                2 => dot_rows::<F, 2, 4>(isa, x, i, job, rows.clone()),
                _ => dot_rows::<F, 4, 2>(isa, x, i, job, rows.clone()),
            }
            i += 4;
        }
    });
}

int8_fn! {
    /// Rows `i..i + M` of activations, `W` rows of weights at a time. What lies beyond the last row is the last row
    /// again, and not stored.
    fn dot_rows<S, F: Format, const M, const W>(
        s, x: &Quantized, i: usize, job: &Job<'_>, rows: Range<usize>,
    ) {
        let row_bytes = job.weight.row_bytes();
        let ahead = prefetch_distance(W * row_bytes);
        for j in rows.clone().step_by(W) {
            // SAFETY: rows of `x` and of the weights are clamped to those that there are; the caller of `few_rows` owns
            // the columns.
            unsafe {
                let x_rows = std::array::from_fn::<_, M, _>(|m| (i + m).min(x.rows() - 1));
                let weights = std::array::from_fn::<_, W, _>(|w| {
                    job.weight.bytes.as_ptr().add((j + w).min(rows.end - 1) * row_bytes)
                });
                let products = products::<S, F, M, W>(s, x, x_rows, weights, ahead);
                job.store(products, (i, x.rows()), (j, rows.end));
            }
        }
    }
}

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// How many bytes ahead of a pass over `W` neighbouring rows, side by side, memory is asked for. The passes to come are
/// asked for from their first byte to their last: CPUs foresee one long stream better than `W` short ones.
fn prefetch_distance(pass: usize) -> usize {
    const MIN: usize = 1 << 12;
    pass * MIN.div_ceil(pass)
}

/// Sums in flight.
struct Sums<T, const M: usize, const W: usize> {
    ints: [[T; W]; M],
    /// Of the minima.
    minima: [[T; W]; M],
}

/// The products of some rows of `x` with rows of blocks.
#[inline(always)]
unsafe fn products<S: Int8, F: Format, const M: usize, const W: usize>(
    s: S,
    x: &Quantized,
    x_rows: [usize; M],
    mut weights: [*const u8; W],
    ahead: usize,
) -> [[f32; W]; M] {
    let mut sums = Sums {
        ints: [[s.zeros(); W]; M],
        minima: [[s.zeros(); W]; M],
    };
    let groups = x.cols / GROUP;
    let mut next = weights[0].wrapping_add(ahead);
    let mut first = 0;
    // SAFETY: a row has `groups` groups, and F::BYTES for each F::GROUPS of them.
    unsafe {
        while first + CHUNK <= groups {
            let bytes = CHUNK / F::GROUPS * F::BYTES;
            for line in (0..W * bytes).step_by(LINE) {
                s.prefetch(next.wrapping_add(line));
            }
            next = next.wrapping_add(W * bytes);
            chunk::<S, F, M, W>(s, x, x_rows, first, weights, CHUNK, &mut sums);
            first += CHUNK;
            for w in &mut weights {
                *w = w.add(CHUNK / F::GROUPS * F::BYTES);
            }
        }
        if first < groups {
            chunk::<S, F, M, W>(s, x, x_rows, first, weights, groups - first, &mut sums);
        }
    }
    let mut products = [[0.0; W]; M];
    for m in 0..M {
        for w in 0..W {
            products[m][w] = s.sum(sums.ints[m][w]);
            if F::MINIMA {
                products[m][w] += s.sum(sums.minima[m][w]);
            }
        }
    }
    products
}

/// Adds the products of `n` groups from group `first`.
#[inline(always)]
unsafe fn chunk<S: Int8, F: Format, const M: usize, const W: usize>(
    s: S,
    x: &Quantized,
    x_rows: [usize; M],
    first: usize,
    weights: [*const u8; W],
    n: usize,
    sums: &mut Sums<S::Floats, M, W>,
) {
    let mut scales = [[[0.0; CHUNK]; W]; M];
    let mut second_scales = scales;
    let mut ints = [std::ptr::null(); M];
    // SAFETY: the caller's promise; rows of scales and sums of `x` are whole chunks.
    unsafe {
        let mut x_scales = [s.zeros(); M];
        for m in 0..M {
            x_scales[m] = s.load_floats(x.scales.as_ptr().add(x_rows[m] * x.stride + first));
            ints[m] = x.ints.as_ptr().add(x_rows[m] * x.cols + first * GROUP).cast();
        }
        for w in 0..W {
            let w_scales = F::scales(s, weights[w], n);
            for m in 0..M {
                scales[m][w] = s.to_array(s.mul(w_scales, x_scales[m]));
            }
            if F::HALVES {
                let w_scales = F::second_scales(s, weights[w]);
                for m in 0..M {
                    second_scales[m][w] = s.to_array(s.mul(w_scales, x_scales[m]));
                }
            }
            if F::MINIMA {
                let minima = F::minima(s, weights[w], n);
                for m in 0..M {
                    let x_sums = s.load_floats(x.sums.as_ptr().add(x_rows[m] * x.stride + first));
                    sums.minima[m][w] = s.mul_add(minima, x_sums, sums.minima[m][w]);
                }
            }
        }
        let scales = [scales, second_scales];
        if n == CHUNK {
            // Unrolled, because shifts and offsets depend on the group.
            group::<S, F, M, W>(s, ints, weights, 0, &scales, sums);
            group::<S, F, M, W>(s, ints, weights, 1, &scales, sums);
            group::<S, F, M, W>(s, ints, weights, 2, &scales, sums);
            group::<S, F, M, W>(s, ints, weights, 3, &scales, sums);
            group::<S, F, M, W>(s, ints, weights, 4, &scales, sums);
            group::<S, F, M, W>(s, ints, weights, 5, &scales, sums);
            group::<S, F, M, W>(s, ints, weights, 6, &scales, sums);
            group::<S, F, M, W>(s, ints, weights, 7, &scales, sums);
        } else {
            for g in 0..n {
                group::<S, F, M, W>(s, ints, weights, g, &scales, sums);
            }
        }
    }
}

/// Adds the products of group `g` of a chunk.
#[inline(always)]
unsafe fn group<S: Int8, F: Format, const M: usize, const W: usize>(
    s: S,
    x: [*const u8; M],
    weights: [*const u8; W],
    g: usize,
    scales: &[[[[f32; CHUNK]; W]; M]; 2],
    sums: &mut Sums<S::Floats, M, W>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut ints = [F::ints(s, weights[0], g); W];
        for w in 1..W {
            ints[w] = F::ints(s, weights[w], g);
        }
        for m in 0..M {
            let x = s.load(x[m].add(g * GROUP));
            let zero = if F::ZERO == 0 {
                s.no_ints()
            } else {
                s.negate(s.dot(s.no_ints(), s.splat(F::ZERO), x))
            };
            for w in 0..W {
                let dot = if F::SIGNED {
                    s.dot_signed(ints[w], x)
                } else {
                    s.dot(zero, ints[w], x)
                };
                let sum = &mut sums.ints[m][w];
                *sum = if F::HALVES {
                    s.add_scaled_halves(*sum, dot, [scales[0][m][w][g], scales[1][m][w][g]])
                } else {
                    s.add_scaled(*sum, dot, scales[0][m][w][g])
                };
            }
        }
    }
}
