//! Activations as integers, with a scale for each group of 32.

use std::cell::RefCell;

use super::GROUP;
use crate::{
    Isa,
    simd::{Simd, simd_fn},
};

/// Groups that are multiplied one after the other: those of a block of 256.
pub(super) const CHUNK: usize = 8;

/// Rows of activations as integers of two bytes: element `k` of row `i` is
/// `scales[(i * cols + k) / 32] * (256 * high[i * cols + k] + low[i * cols + k])`, to within a scale. Both bytes are in
/// -127..=127.
#[derive(Default)]
pub(super) struct Quantized {
    pub(super) cols: usize,
    pub(super) high: Vec<i8>,
    pub(super) low: Vec<i8>,
    pub(super) scales: Vec<f32>,
    /// Sums of the groups' (quantised) elements.
    pub(super) sums: Vec<f32>,
}

impl Quantized {
    pub(super) fn rows(&self) -> usize {
        self.high.len() / self.cols
    }

    /// Holds the rows of `x`, which have `cols` elements, in whole groups. Reuses its memory.
    pub(super) fn assign(&mut self, isa: Isa, x: &[f32], cols: usize) {
        self.cols = cols;
        self.high.resize(x.len(), 0);
        self.low.resize(x.len(), 0);
        self.scales.resize(x.len() / GROUP, 0.0);
        self.sums.resize(x.len() / GROUP, 0.0);
        let bytes = [&mut self.high[..], &mut self.low[..]];
        quantize(isa, x, bytes, &mut self.scales, &mut self.sums);
    }
}

simd_fn! {
    /// Quantises the groups of `x`.
    fn quantize<S>(s, x: &[f32], bytes: [&mut [i8]; 2], scales: &mut [f32], sums: &mut [f32]) {
        let [high, low] = bytes.map(|bytes| bytes.as_chunks_mut::<GROUP>().0);
        let groups = x.as_chunks::<GROUP>().0.iter().zip(high.iter_mut().zip(low));
        for ((x, (high, low)), (scale, sum)) in groups.zip(scales.iter_mut().zip(sums)) {
            *scale = split_group(s, x, high, low);
            *sum = *scale * total(high, low) as f32;
        }
    }
}

/// Writes the group as integers of two bytes and gives their scale.
#[inline(always)]
pub(super) fn split_group<S: Simd>(
    s: S,
    x: &[f32; GROUP],
    high: &mut [i8; GROUP],
    low: &mut [i8; GROUP],
) -> f32 {
    let scale = quantize_group(s, x, high);
    let inverse = if scale > 0.0 { 256.0 / scale } else { 0.0 };
    for i in 0..GROUP {
        let lost = (x[i] - scale * f32::from(high[i])) * inverse;
        low[i] = round(lost.clamp(-127.0, 127.0));
    }
    scale / 256.0
}

/// The sum of a group's integers.
#[inline(always)]
pub(super) fn total(high: &[i8; GROUP], low: &[i8; GROUP]) -> i32 {
    let mut total = 0;
    for i in 0..GROUP {
        total += (i32::from(high[i]) << 8) + i32::from(low[i]);
    }
    total
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
        ints[i] = round(x[i] * inverse);
    }
    scale
}

/// The nearest integer, ties to even.
#[inline(always)]
fn round(x: f32) -> i8 {
    // Adding 1.5 * 2^23 rounds, and leaves the integer in the low bits.
    (x + 12_582_912.0).to_bits() as i8
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
