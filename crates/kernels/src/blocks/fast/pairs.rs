//! Blocks of one group: two of them side by side fill a vector, and one after the other are one stream of memory.

use std::{cell::RefCell, ops::Range};

use super::Blocks;
use crate::{
    Isa,
    blocks::{
        GROUP,
        activations::{split_group, total},
        formats::{Group, with_group},
        int8::{Int8, int8_fn},
    },
    simd::simd_fn,
};

/// Two groups of activations as integers of two bytes.
#[derive(Clone, Copy, Default)]
#[repr(C, align(32))]
struct Pair {
    /// The high bytes of the first halves of both groups, then those of their second halves.
    high: [[i8; 32]; 2],
    /// The low bytes.
    low: [[i8; 32]; 2],
    /// The scale of the first group four times, then that of the second.
    scales: [f32; 8],
    /// The sums of the groups' quantised elements, in the first and in the fifth place.
    sums: [f32; 8],
    /// The sums of the groups' integers, negated, in the same places.
    offsets: [i32; 8],
}

/// Rows of activations in pairs of groups. What is missing to the last pair is zero.
#[derive(Default)]
pub(in crate::blocks) struct PairedRows {
    cols: usize,
    /// Pairs of a row.
    len: usize,
    pairs: Vec<Pair>,
}

impl PairedRows {
    /// Calls `f` with the rows of `x`, which have `cols` elements, in whole groups.
    pub(in crate::blocks) fn with<R>(
        isa: Isa,
        x: &[f32],
        cols: usize,
        f: impl FnOnce(&Self) -> R,
    ) -> R {
        thread_local! {
            static SCRATCH: RefCell<PairedRows> = RefCell::default();
        }
        let mut rows = SCRATCH.take();
        rows.assign(isa, x, cols);
        let result = f(&rows);
        SCRATCH.set(rows);
        result
    }

    fn assign(&mut self, isa: Isa, x: &[f32], cols: usize) {
        self.cols = cols;
        self.len = (cols / GROUP).div_ceil(2);
        self.pairs
            .resize(x.len() / cols * self.len, Pair::default());
        let rows = x
            .chunks_exact(cols)
            .zip(self.pairs.chunks_exact_mut(self.len));
        for (x, pairs) in rows {
            quantize(isa, x, pairs);
        }
    }

    fn rows(&self) -> usize {
        self.pairs.len() / self.len
    }
}

simd_fn! {
    /// Quantises a row.
    fn quantize<S>(s, x: &[f32], pairs: &mut [Pair]) {
        for (x, pair) in x.chunks(2 * GROUP).zip(pairs) {
            if x.len() < 2 * GROUP {
                *pair = Pair::default();
            }
            for (i, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
                let (mut high, mut low) = ([0; GROUP], [0; GROUP]);
                let scale = split_group(s, x, &mut high, &mut low);
                let total = total(&high, &low);
                for half in 0..2 {
                    let part = 16 * half..16 * (half + 1);
                    pair.high[half][16 * i..][..16].copy_from_slice(&high[part.clone()]);
                    pair.low[half][16 * i..][..16].copy_from_slice(&low[part]);
                }
                pair.scales[4 * i..][..4].fill(scale);
                pair.sums[4 * i] = scale * total as f32;
                pair.offsets[4 * i] = -total;
            }
        }
    }
}

/// Computes columns `rows` of the output: the products of `x` with these rows of weights.
///
/// # Safety
/// No other task reads or writes these columns.
pub(in crate::blocks) unsafe fn few_rows(
    isa: Isa,
    x: &PairedRows,
    product: &Blocks<'_>,
    rows: Range<usize>,
) {
    assert!(x.cols == product.weight.cols && rows.end <= product.weight.rows);
    with_group!(product.weight.format, F => {
        let mut i = 0;
        while i < x.rows() {
            match x.rows() - i {
                1 => dot_rows::<F, 1>(isa, x, i, product, rows.clone()),
                2 => dot_rows::<F, 2>(isa, x, i, product, rows.clone()),
                _ => dot_rows::<F, 4>(isa, x, i, product, rows.clone()),
            }
            i += 4;
        }
    });
}

int8_fn! {
    /// Rows `i..i + M` of activations. What lies beyond the last row is the last row again, and not stored.
    fn dot_rows<S, F: Group, const M>(
        s, x: &PairedRows, i: usize, product: &Blocks<'_>, rows: Range<usize>,
    ) {
        let mut x_rows = [x.pairs.as_ptr(); M];
        for (m, row) in x_rows.iter_mut().enumerate() {
            *row = x.pairs[(i + m).min(x.rows() - 1) * x.len..].as_ptr();
        }
        for j in rows.clone() {
            // SAFETY: rows of `x` and of the weights are those that there are; the caller of `few_rows` owns the columns.
            unsafe {
                let weights = product.weight.bytes.as_ptr().add(j * product.weight.row_bytes());
                let products = products::<S, F, M>(s, x_rows, weights, x.cols / GROUP);
                product.store(products.map(|p| [p]), (i, x.rows()), (j, rows.end));
            }
        }
    }
}

/// The products of `M` rows of activations with a row of `groups` blocks.
///
/// # Safety
/// The rows have so many groups.
#[inline(always)]
unsafe fn products<S: Int8, F: Group, const M: usize>(
    s: S,
    mut x: [*const Pair; M],
    mut weights: *const u8,
    groups: usize,
) -> [f32; M] {
    let mut sums = [s.zeros(); M];
    // SAFETY: the caller's promise; beside the second of a lone group, activations are zero.
    unsafe {
        for _ in 0..groups / 4 {
            for i in 0..2 {
                let first = weights.add(2 * i * F::BYTES);
                add_pair::<S, F, M>(
                    s,
                    x.map(|x| &*x.add(i)),
                    [first, first.add(F::BYTES)],
                    &mut sums,
                );
            }
            weights = weights.add(4 * F::BYTES);
            x = x.map(|x| x.add(2));
        }
        if groups % 4 >= 2 {
            let second = weights.add(F::BYTES);
            add_pair::<S, F, M>(s, x.map(|x| &*x), [weights, second], &mut sums);
            weights = weights.add(2 * F::BYTES);
            x = x.map(|x| x.add(1));
        }
        if !groups.is_multiple_of(2) {
            add_pair::<S, F, M>(s, x.map(|x| &*x), [weights; 2], &mut sums);
        }
    }
    sums.map(|sum| s.sum(sum))
}

/// How many bytes ahead memory is asked for: prefetchers stop at the end of a page.
const AHEAD: usize = 1 << 12;

/// Adds the products with two blocks.
///
/// # Safety
/// The blocks are readable.
#[inline(always)]
unsafe fn add_pair<S: Int8, F: Group, const M: usize>(
    s: S,
    x: [&Pair; M],
    blocks: [*const u8; 2],
    sums: &mut [S::Floats; M],
) {
    // SAFETY: the caller's promise.
    unsafe {
        s.prefetch(blocks[0].wrapping_add(AHEAD));
        let ints = F::pair(s, blocks);
        let scales = s.spread_halves(blocks);
        for (x, sum) in x.iter().zip(sums) {
            let dot = |bytes: &[[i8; 32]; 2], offsets| {
                let halves = bytes.each_ref().map(|half| s.load(half.as_ptr().cast()));
                let dot = |from| s.dot(s.dot(from, ints[0], halves[0]), ints[1], halves[1]);
                match F::ZERO {
                    _ if F::SIGNED => s.dot_signed_pair(offsets, ints, halves),
                    0 => dot(s.no_ints()),
                    8 => dot(s.shift_left::<3>(offsets)),
                    16 => dot(s.shift_left::<4>(offsets)),
                    zero => unreachable!("integers do not count from {zero}"),
                }
            };
            let offsets = s.load_ints(x.offsets.as_ptr());
            let dots = s.join(dot(&x.high, s.no_ints()), dot(&x.low, offsets));
            let scales = s.mul(scales, s.load_floats(x.scales.as_ptr()));
            *sum = s.mul_add(s.to_floats(dots), scales, *sum);
            if F::MINIMA {
                let minima = s.spread_halves(blocks.map(|p| p.add(2)));
                *sum = s.mul_add(minima, s.load_floats(x.sums.as_ptr()), *sum);
            }
        }
    }
}
