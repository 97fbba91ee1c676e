//! Activations as 8-bit integers, with a scale for each group of 32.

use std::cell::RefCell;

use super::GROUP;
use crate::{
    Isa,
    simd::{Simd, simd_fn},
};

/// Groups that are multiplied one after the other: those of a block of 256.
pub(super) const CHUNK: usize = 8;

/// Rows of activations as integers in -127..=127: element `k` of row `i` is
/// `scales[(i * cols + k) / 32] * ints[i * cols + k]`, to within half a scale.
#[derive(Default)]
pub(super) struct Quantized {
    pub(super) cols: usize,
    pub(super) ints: Vec<i8>,
    pub(super) scales: Vec<f32>,
    /// Sums of the groups' (quantised) elements.
    pub(super) sums: Vec<f32>,
}

impl Quantized {
    pub(super) fn rows(&self) -> usize {
        self.ints.len() / self.cols
    }

    /// Holds the rows of `x`, which have `cols` elements, in whole groups. Reuses its memory.
    pub(super) fn assign(&mut self, isa: Isa, x: &[f32], cols: usize) {
        self.cols = cols;
        self.ints.resize(x.len(), 0);
        self.scales.resize(x.len() / GROUP, 0.0);
        self.sums.resize(x.len() / GROUP, 0.0);
        quantize(isa, x, &mut self.ints, &mut self.scales, &mut self.sums);
    }
}

simd_fn! {
    /// Quantises the groups of `x`.
    pub(super) fn quantize<S>(s, x: &[f32], ints: &mut [i8], scales: &mut [f32], sums: &mut [f32]) {
        let groups = x.as_chunks::<GROUP>().0.iter().zip(ints.as_chunks_mut::<GROUP>().0);
        for ((x, ints), (scale, sum)) in groups.zip(scales.iter_mut().zip(sums)) {
            *scale = quantize_group(s, x, ints);
            let mut total = 0;
            for &i in ints.iter() {
                total += i32::from(i);
            }
            *sum = *scale * total as f32;
        }
    }
}

/// Writes the group as integers and gives their scale: the largest magnitude becomes 127. The scale is NaN where an
/// element is not finite, so that the products are.
#[inline(always)]
pub(super) fn quantize_group<S: Simd>(s: S, x: &[f32; GROUP], ints: &mut [i8; GROUP]) -> f32 {
    let (mut largest, mut poison) = (s.zero(), s.zero());
    for x in x.chunks_exact(S::LANES) {
        // SAFETY: a chunk has LANES elements.
        let x = unsafe { s.load(x.as_ptr()) };
        largest = s.max(s.max(x, s.sub(s.zero(), x)), largest);
        poison = s.mul_add(x, s.zero(), poison);
    }
    let largest = s.max_lane(largest);
    let scale = largest / 127.0 + s.sum(poison);
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    for i in 0..GROUP {
        // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits.
        ints[i] = (x[i] * inverse + 12_582_912.0).to_bits() as i8;
    }
    scale
}

/// Calls `f` with the rows of `x` as integers.
pub(super) fn with_quantized<R>(
    isa: Isa,
    x: &[f32],
    cols: usize,
    f: impl FnOnce(&Quantized) -> R,
) -> R {
    thread_local! {
        static SCRATCH: RefCell<Quantized> = RefCell::default();
    }
    let mut quantized = SCRATCH.take();
    quantized.assign(isa, x, cols);
    let result = f(&quantized);
    SCRATCH.set(quantized);
    result
}
