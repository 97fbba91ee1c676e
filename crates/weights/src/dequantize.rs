//! ggml's block formats, decoded to f32.
//!
//! A quantised tensor is a row of blocks: a few scales in f16 and a fixed number of small integers. The arithmetic, down
//! to the order of operations in f32, is that of the Python package `gguf`, so results are equal to the last bit.
//!
//! Layouts: <https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>.

use half::f16;

use crate::cast::decode_blocks;

/// A block format that can be decoded.
#[derive(Debug)]
pub(crate) struct BlockFormat {
    id: u32,
    name: &'static str,
    /// Elements in a block.
    pub(crate) len: usize,
    /// Bytes of a block.
    pub(crate) bytes: usize,
    decode: fn(&[u8], &mut [f32]),
}

/// A super-block of the K formats.
const K: usize = 256;

const FORMATS: [BlockFormat; 11] = [
    format(0, "F32", 1, 4, |i, o| each_block(i, o, f32_element)),
    format(1, "F16", 1, 2, |i, o| each_block(i, o, f16_element)),
    format(30, "BF16", 1, 2, |i, o| each_block(i, o, bf16_element)),
    format(2, "Q4_0", 32, 18, |i, o| each_block(i, o, q4_0)),
    format(3, "Q4_1", 32, 20, |i, o| each_block(i, o, q4_1)),
    format(6, "Q5_0", 32, 22, |i, o| each_block(i, o, q5_0)),
    format(7, "Q5_1", 32, 24, |i, o| each_block(i, o, q5_1)),
    format(8, "Q8_0", 32, 34, |i, o| each_block(i, o, q8_0)),
    format(12, "Q4_K", K, 144, |i, o| each_block(i, o, q4_k)),
    format(13, "Q5_K", K, 176, |i, o| each_block(i, o, q5_k)),
    format(14, "Q6_K", K, 210, |i, o| each_block(i, o, q6_k)),
];

/// ggml's names of the types that have no entry in [`FORMATS`], for messages.
const OTHER_NAMES: [(u32, &str); 23] = [
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];

const fn format(
    id: u32,
    name: &'static str,
    len: usize,
    bytes: usize,
    decode: fn(&[u8], &mut [f32]),
) -> BlockFormat {
    BlockFormat {
        id,
        name,
        len,
        bytes,
        decode,
    }
}

impl BlockFormat {
    /// The format with ggml's number `id`.
    pub(crate) fn of(id: u32) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.id == id)
    }

    /// Whether blocks are plain f32 elements, which need no decoding.
    pub(crate) fn is_f32(&self) -> bool {
        self.name == "F32"
    }

    /// The elements of whole blocks.
    pub(crate) fn dequantize(&self, blocks: &[u8]) -> Vec<f32> {
        decode_blocks(blocks, self.bytes, self.len, self.decode)
    }
}

/// ggml's name and number of any type, known or not.
pub(crate) fn type_name(id: u32) -> String {
    let known = FORMATS.iter().map(|format| (format.id, format.name));
    match known.chain(OTHER_NAMES).find(|&(other, _)| other == id) {
        Some((_, name)) => format!("{name} ({id})"),
        None => format!("{id} (unknown)"),
    }
}

/// The names of all formats that can be decoded, separated by commas.
pub(crate) fn supported_names() -> String {
    FORMATS.each_ref().map(|format| format.name).join(", ")
}

fn each_block<const B: usize, const N: usize>(
    input: &[u8],
    output: &mut [f32],
    decode: fn(&[u8; B], &mut [f32; N]),
) {
    let blocks = input.as_chunks().0.iter();
    for (block, elements) in blocks.zip(output.as_chunks_mut().0) {
        decode(block, elements);
    }
}

fn f32_element(block: &[u8; 4], out: &mut [f32; 1]) {
    out[0] = f32::from_le_bytes(*block);
}

fn f16_element(block: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = f16::from_le_bytes(*block).to_f32();
}

fn bf16_element(block: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = f32::from_bits(u32::from(u16::from_le_bytes(*block)) << 16);
}

/// Scale; 32 nibbles.
fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    each_nibble(&block[2..], out, |q, _| d * (q as i8 - 8) as f32);
}

/// Scale, minimum; 32 nibbles.
fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    each_nibble(&block[4..], out, |q, _| d * q as f32 + m);
}

/// Scale; 32 fifth bits, 32 nibbles.
fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    let fifth = u32_at(block, 2);
    each_nibble(&block[6..], out, |q, i| {
        d * ((q | bit(fifth, i) << 4) as i8 - 16) as f32
    });
}

/// Scale, minimum; 32 fifth bits, 32 nibbles.
fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let fifth = u32_at(block, 4);
    each_nibble(&block[8..], out, |q, i| {
        d * (q | bit(fifth, i) << 4) as f32 + m
    });
}

/// Scale; 32 signed bytes.
fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (out, &q) in out.iter_mut().zip(&block[2..]) {
        *out = q as i8 as f32 * d;
    }
}

/// Scale, minimum; 8 packed pairs of 6-bit scales; 256 nibbles, 32 low ones before the 32 high ones of the same bytes.
fn q4_k(block: &[u8; 144], out: &mut [f32; K]) {
    let groups = k_scales(block);
    let (_, quants) = block.split_at(16);
    for (g, (out, (d, m))) in out
        .as_chunks_mut::<32>()
        .0
        .iter_mut()
        .zip(groups)
        .enumerate()
    {
        for (i, out) in out.iter_mut().enumerate() {
            *out = d * nibble(quants[g / 2 * 32 + i], g % 2) as f32 - m;
        }
    }
}

/// As [`q4_k`], with 256 fifth bits before the nibbles: bit `g` of byte `i` belongs to element `i` of group `g`.
fn q5_k(block: &[u8; 176], out: &mut [f32; K]) {
    let groups = k_scales(block);
    let (fifth, quants) = block[16..].split_at(32);
    for (g, (out, (d, m))) in out
        .as_chunks_mut::<32>()
        .0
        .iter_mut()
        .zip(groups)
        .enumerate()
    {
        for (i, out) in out.iter_mut().enumerate() {
            let q = nibble(quants[g / 2 * 32 + i], g % 2) | (fifth[i] >> g & 1) << 4;
            *out = d * q as f32 - m;
        }
    }
}

/// 256 nibbles, 256 pairs of upper bits, 16 signed scales; scale. Two halves of four rows of 32 elements.
fn q6_k(block: &[u8; 210], out: &mut [f32; K]) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let d = half_at(block, 208);
    let scales = rest[..16].iter().map(|&scale| d * scale as i8 as f32);
    for (group, (out, d)) in out
        .as_chunks_mut::<16>()
        .0
        .iter_mut()
        .zip(scales)
        .enumerate()
    {
        let (half, row, start) = (group / 8, group % 8 / 2, group % 2 * 16);
        for (i, out) in out.iter_mut().enumerate() {
            let column = start + i;
            let low = nibble(low[half * 64 + row % 2 * 32 + column], row / 2);
            let high = high[half * 32 + column] >> (2 * row) & 3;
            *out = d * ((low | high << 4) as i8 - 32) as f32;
        }
    }
}

/// Scale and minimum of each of the 8 groups of 32 elements, from the first 16 bytes of a K block: two halves, then four
/// bytes of scales (low 6 bits), four of minima (low 6 bits), and four whose nibbles are the low bits of the remaining
/// four scales and minima; their upper two bits are the top bits of the first eight bytes.
fn k_scales(block: &[u8]) -> [(f32, f32); 8] {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let (scales, rest) = block[4..16].split_at(4);
    let (minima, low_bits) = rest.split_at(4);
    std::array::from_fn(|g| {
        let (scale, minimum) = match g {
            0..4 => (scales[g] & 63, minima[g] & 63),
            _ => {
                let g = g - 4;
                (
                    low_bits[g] & 15 | scales[g] >> 2 & 48,
                    low_bits[g] >> 4 | minima[g] >> 2 & 48,
                )
            }
        };
        (d * scale as f32, m * minimum as f32)
    })
}

/// The values of the low nibbles of 16 bytes, then of the high ones; `value` gets a nibble and the element's index.
fn each_nibble(bytes: &[u8], out: &mut [f32; 32], value: impl Fn(u8, usize) -> f32) {
    let (low, high) = out.split_at_mut(16);
    for (i, ((byte, low), high)) in bytes.iter().zip(low).zip(high).enumerate() {
        *low = value(byte & 15, i);
        *high = value(byte >> 4, i + 16);
    }
}

fn nibble(byte: u8, high: usize) -> u8 {
    byte >> (4 * high) & 15
}

fn bit(bits: u32, index: usize) -> u8 {
    (bits >> index & 1) as u8
}

fn half_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}

fn u32_at(block: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| block[offset + i]))
}
