//! Blocks to f32, with the arithmetic of the Python package `gguf` down to the order of operations, so that values are
//! equal to the last bit.
//!
//! Plain Rust on arrays of fixed length: the compiler vectorises it for the instruction set that it is inlined into.
//! Layouts: <https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>.

use half::f16;

use super::BlockFormat;
use crate::simd::simd_fn;

/// Elements of a K block.
const K: usize = 256;

/// Not a function of a function: what is called through a parameter is not always compiled into the caller.
macro_rules! each_block {
    ($blocks:expr, $out:expr, $block:ident) => {
        for (bytes, out) in $blocks.as_chunks().0.iter().zip($out.as_chunks_mut().0) {
            $block(bytes, out);
        }
    };
}

simd_fn! {
    /// The elements of whole blocks; [`BlockFormat::dequantize`] has checked the lengths.
    pub(super) fn dequantize<S>(_s, format: BlockFormat, blocks: &[u8], out: &mut [f32]) {
        match format {
            BlockFormat::Q4_0 => each_block!(blocks, out, q4_0),
            BlockFormat::Q4_1 => each_block!(blocks, out, q4_1),
            BlockFormat::Q5_0 => each_block!(blocks, out, q5_0),
            BlockFormat::Q5_1 => each_block!(blocks, out, q5_1),
            BlockFormat::Q8_0 => each_block!(blocks, out, q8_0),
            BlockFormat::Q4_K => each_block!(blocks, out, q4_k),
            BlockFormat::Q5_K => each_block!(blocks, out, q5_k),
            BlockFormat::Q6_K => each_block!(blocks, out, q6_k),
        }
    }
}

/// Scale; 32 nibbles.
#[inline(always)]
fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    let q = nibbles(part(block, 2));
    for i in 0..out.len() {
        out[i] = d * (q[i] as i8 - 8) as f32;
    }
}

/// Scale, minimum; 32 nibbles.
#[inline(always)]
fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let q = nibbles(part(block, 4));
    for i in 0..out.len() {
        out[i] = d * q[i] as f32 + m;
    }
}

/// Scale; 32 fifth bits, 32 nibbles.
#[inline(always)]
fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    let q = with_fifth_bits(nibbles(part(block, 6)), part(block, 2));
    for i in 0..out.len() {
        out[i] = d * (q[i] as i8 - 16) as f32;
    }
}

/// Scale, minimum; 32 fifth bits, 32 nibbles.
#[inline(always)]
fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let q = with_fifth_bits(nibbles(part(block, 8)), part(block, 4));
    for i in 0..out.len() {
        out[i] = d * q[i] as f32 + m;
    }
}

/// Scale; 32 signed bytes.
#[inline(always)]
fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    let q: &[u8; 32] = part(block, 2);
    for i in 0..out.len() {
        out[i] = q[i] as i8 as f32 * d;
    }
}

/// Scale, minimum; 8 packed pairs of 6-bit scales; 256 nibbles, 32 low ones before the 32 high ones of the same bytes.
#[inline(always)]
fn q4_k(block: &[u8; 144], out: &mut [f32; K]) {
    let groups = k_scales(block);
    for (g, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (d, m) = groups[g];
        let q: &[u8; 32] = part(block, 16 + g / 2 * 32);
        for i in 0..out.len() {
            out[i] = d * nibble(q[i], g % 2) as f32 - m;
        }
    }
}

/// As [`q4_k`], with 256 fifth bits before the nibbles: bit `g` of byte `i` belongs to element `i` of group `g`.
#[inline(always)]
fn q5_k(block: &[u8; 176], out: &mut [f32; K]) {
    let groups = k_scales(block);
    let fifth: &[u8; 32] = part(block, 16);
    for (g, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (d, m) = groups[g];
        let q: &[u8; 32] = part(block, 48 + g / 2 * 32);
        for i in 0..out.len() {
            out[i] = d * (nibble(q[i], g % 2) | (fifth[i] >> g & 1) << 4) as f32 - m;
        }
    }
}

/// 256 nibbles, 256 pairs of upper bits, 16 signed scales; scale. Two halves of four rows of 32 elements.
#[inline(always)]
fn q6_k(block: &[u8; 210], out: &mut [f32; K]) {
    let scales: &[u8; 16] = part(block, 192);
    let d = half_at(block, 208);
    for (row, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (half, row_of_half) = (row / 4, row % 4);
        let low: &[u8; 32] = part(block, half * 64 + row_of_half % 2 * 32);
        let high: &[u8; 32] = part(block, 128 + half * 32);
        let mut q = [0; 32];
        for i in 0..32 {
            q[i] = nibble(low[i], row_of_half / 2) | (high[i] >> (2 * row_of_half) & 3) << 4;
        }
        for side in 0..2 {
            let d = d * scales[2 * row + side] as i8 as f32;
            for i in 16 * side..16 * side + 16 {
                out[i] = d * (q[i] as i8 - 32) as f32;
            }
        }
    }
}

/// Scale and minimum of each of the 8 groups of a Q4_K or Q5_K block.
#[inline(always)]
fn k_scales(block: &[u8]) -> [(f32, f32); 8] {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let (scales, minima) = six_bit_scales(part(block, 4));
    let mut groups = [(0.0, 0.0); 8];
    for g in 0..8 {
        groups[g] = (d * scales[g] as f32, m * minima[g] as f32);
    }
    groups
}

/// The 6-bit scales and minima of the 8 groups of a Q4_K or Q5_K block: four bytes of scales (low 6 bits), four of
/// minima (low 6 bits), and four whose nibbles are the low bits of the remaining four scales and minima; their upper two
/// bits are the top bits of the first eight bytes.
#[inline(always)]
pub(super) fn six_bit_scales(bytes: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let word = |i| u32::from_le_bytes(*part(bytes, i));
    let (scales, minima, rest) = (word(0), word(4), word(8));
    let eight = |low: u32, high: u32| (u64::from(low) | u64::from(high) << 32).to_le_bytes();
    (
        eight(
            scales & 0x3f3f_3f3f,
            rest & 0x0f0f_0f0f | scales >> 2 & 0x3030_3030,
        ),
        eight(
            minima & 0x3f3f_3f3f,
            rest >> 4 & 0x0f0f_0f0f | minima >> 2 & 0x3030_3030,
        ),
    )
}

/// The low nibbles of 16 bytes, then the high ones.
#[inline(always)]
fn nibbles(bytes: &[u8; 16]) -> [u8; 32] {
    let mut q = [0; 32];
    for i in 0..16 {
        q[i] = bytes[i] & 15;
        q[i + 16] = bytes[i] >> 4;
    }
    q
}

#[inline(always)]
fn with_fifth_bits(mut q: [u8; 32], fifth: &[u8; 4]) -> [u8; 32] {
    let fifth = u32::from_le_bytes(*fifth);
    for (i, q) in q.iter_mut().enumerate() {
        *q |= ((fifth >> i & 1) << 4) as u8;
    }
    q
}

#[inline(always)]
fn nibble(byte: u8, high: usize) -> u8 {
    byte >> (4 * high) & 15
}

#[inline(always)]
fn half_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes(*part(block, offset)).to_f32()
}

/// `N` bytes from `offset`.
#[inline(always)]
fn part<const N: usize>(block: &[u8], offset: usize) -> &[u8; N] {
    let Some(part) = block[offset..].first_chunk() else {
        unreachable!("a block is longer");
    };
    part
}
