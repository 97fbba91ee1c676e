//! Blocks of eight groups, with scales of their own for each.

use std::ops::Range;

use super::{Blocks, LINE};
use crate::{
    Isa,
    blocks::{
        GROUP,
        activations::{CHUNK, Quantized},
        formats::{Format, SuperBlock, with_super_block},
        int8::{Int8, int8_fn},
    },
};

/// Rows of weights that are read side by side.
pub(in crate::blocks) const WEIGHT_ROWS: usize = 4;

/// Computes columns `rows` of the output: the products of `x` with these rows of weights.
///
/// # Safety
/// No other task reads or writes these columns.
pub(in crate::blocks) unsafe fn few_rows(
    isa: Isa,
    x: &Quantized,
    job: &Blocks<'_>,
    rows: Range<usize>,
) {
    assert!(x.cols == job.weight.cols && rows.end <= job.weight.rows);
    with_super_block!(job.weight.format, F => {
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
    fn dot_rows<S, F: SuperBlock, const M, const W>(
        s, x: &Quantized, i: usize, job: &Blocks<'_>, rows: Range<usize>,
    ) {
        let row_bytes = job.weight.row_bytes();
        let ahead = prefetch_distance(W * row_bytes);
        for j in rows.clone().step_by(W) {
            // SAFETY: rows of `x` and of the weights are clamped to those that there are; the caller of `few_rows` owns
            // the columns.
            unsafe {
                let mut x_rows = [0; M];
                for (m, row) in x_rows.iter_mut().enumerate() {
                    *row = (i + m).min(x.rows() - 1);
                }
                let mut weights = [job.weight.bytes.as_ptr(); W];
                for (w, p) in weights.iter_mut().enumerate() {
                    *p = p.add((j + w).min(rows.end - 1) * row_bytes);
                }
                let side_by_side = Rows::new(x, x_rows, weights, ahead);
                let products = products::<S, F, M, W>(s, side_by_side, x.cols / GROUP);
                job.store(products, (i, x.rows()), (j, rows.end));
            }
        }
    }
}

/// How many bytes ahead of a pass over `W` neighbouring rows, side by side, memory is asked for. The passes to come are
/// asked for from their first byte to their last: CPUs foresee one long stream better than `W` short ones.
fn prefetch_distance(pass: usize) -> usize {
    const MIN: usize = 1 << 12;
    pass * MIN.div_ceil(pass)
}

/// Where `M` rows of activations and `W` rows of weights, or what is left of them, begin.
struct Rows<const M: usize, const W: usize> {
    high: [*const i8; M],
    low: [*const i8; M],
    scales: [*const f32; M],
    sums: [*const f32; M],
    weights: [*const u8; W],
    /// What to ask the memory for.
    next: *const u8,
}

impl<const M: usize, const W: usize> Rows<M, W> {
    #[inline(always)]
    fn new(x: &Quantized, x_rows: [usize; M], weights: [*const u8; W], ahead: usize) -> Self {
        let mut rows = Self {
            high: [x.high.as_ptr(); M],
            low: [x.low.as_ptr(); M],
            scales: [x.scales.as_ptr(); M],
            sums: [x.sums.as_ptr(); M],
            weights,
            next: weights[0].wrapping_add(ahead),
        };
        for (m, row) in x_rows.into_iter().enumerate() {
            rows.high[m] = x.high[row * x.cols..].as_ptr();
            rows.low[m] = x.low[row * x.cols..].as_ptr();
            rows.scales[m] = x.scales[row * x.cols / GROUP..].as_ptr();
            rows.sums[m] = x.sums[row * x.cols / GROUP..].as_ptr();
        }
        rows
    }

    /// Passes a chunk.
    #[inline(always)]
    fn advance<F: Format>(&mut self) {
        let bytes = CHUNK / F::GROUPS * F::BYTES;
        for m in 0..M {
            self.high[m] = self.high[m].wrapping_add(CHUNK * GROUP);
            self.low[m] = self.low[m].wrapping_add(CHUNK * GROUP);
            self.scales[m] = self.scales[m].wrapping_add(CHUNK);
            self.sums[m] = self.sums[m].wrapping_add(CHUNK);
        }
        for w in &mut self.weights {
            *w = w.wrapping_add(bytes);
        }
        self.next = self.next.wrapping_add(W * bytes);
    }
}

/// Sums in flight.
struct Sums<T, const M: usize, const W: usize> {
    ints: [[T; W]; M],
    /// Of the minima.
    minima: [[T; W]; M],
}

/// Products of a scale of activations with a scale of weights, for the groups of a chunk, or for their first and their
/// second halves.
type Scales<const M: usize, const W: usize> = [[[[f32; CHUNK]; W]; M]; 2];

/// The products of rows of `groups` groups.
///
/// # Safety
/// The rows have so many groups.
#[inline(always)]
unsafe fn products<S: Int8, F: SuperBlock, const M: usize, const W: usize>(
    s: S,
    mut rows: Rows<M, W>,
    groups: usize,
) -> [[f32; W]; M] {
    let mut sums = Sums {
        ints: [[s.zeros(); W]; M],
        minima: [[s.zeros(); W]; M],
    };
    // SAFETY: the caller's promise.
    unsafe {
        for _ in 0..groups / CHUNK {
            chunk::<S, F, M, W>(s, &rows, &mut sums);
            rows.advance::<F>();
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

/// Adds the products of a block.
#[inline(always)]
unsafe fn chunk<S: Int8, F: SuperBlock, const M: usize, const W: usize>(
    s: S,
    rows: &Rows<M, W>,
    sums: &mut Sums<S::Floats, M, W>,
) {
    let mut scales: Scales<M, W> = [[[[0.0; CHUNK]; W]; M]; 2];
    // SAFETY: the caller's promise; scales and sums of activations are whole chunks.
    unsafe {
        for w in 0..W {
            let p = rows.weights[w];
            let first = F::scales(s, p, CHUNK);
            for m in 0..M {
                let x = s.load_floats(rows.scales[m]);
                scales[0][m][w] = s.to_array(s.mul(first, x));
                if F::HALVES {
                    scales[1][m][w] = s.to_array(s.mul(F::second_scales(s, p), x));
                }
                if F::MINIMA {
                    let x = s.load_floats(rows.sums[m]);
                    sums.minima[m][w] = s.mul_add(F::minima(s, p, CHUNK), x, sums.minima[m][w]);
                }
            }
        }
        // From memory, a scale is broadcast as it is loaded; left to itself, the compiler shuffles registers instead.
        let scales = std::hint::black_box(&scales);
        // Unrolled, because shifts and offsets depend on the group.
        group::<S, F, M, W>(s, rows, 0, scales, sums);
        group::<S, F, M, W>(s, rows, 1, scales, sums);
        group::<S, F, M, W>(s, rows, 2, scales, sums);
        group::<S, F, M, W>(s, rows, 3, scales, sums);
        group::<S, F, M, W>(s, rows, 4, scales, sums);
        group::<S, F, M, W>(s, rows, 5, scales, sums);
        group::<S, F, M, W>(s, rows, 6, scales, sums);
        group::<S, F, M, W>(s, rows, 7, scales, sums);
    }
}

/// Adds the products of group `g` of a chunk.
#[inline(always)]
unsafe fn group<S: Int8, F: SuperBlock, const M: usize, const W: usize>(
    s: S,
    rows: &Rows<M, W>,
    g: usize,
    scales: &Scales<M, W>,
    sums: &mut Sums<S::Floats, M, W>,
) {
    // Spread over the groups: a burst of requests would fill the queue of outstanding ones and hold up the loads.
    let bytes = W * F::BYTES / F::GROUPS;
    for line in (0..bytes).step_by(LINE) {
        s.prefetch(rows.next.wrapping_add(g * bytes + line));
    }
    // SAFETY: the caller's promise.
    unsafe {
        let mut ints = [F::ints(s, rows.weights[0], g); W];
        for w in 1..W {
            ints[w] = F::ints(s, rows.weights[w], g);
        }
        for m in 0..M {
            let high = s.load(rows.high[m].add(g * GROUP).cast());
            let low = s.load(rows.low[m].add(g * GROUP).cast());
            let dot = |from, w| s.join(s.dot(s.no_ints(), w, high), s.dot(from, w, low));
            let zero = if F::ZERO == 0 {
                s.no_ints()
            } else {
                s.negate(dot(s.no_ints(), s.splat(F::ZERO)))
            };
            for w in 0..W {
                let dot = dot(zero, ints[w]);
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
