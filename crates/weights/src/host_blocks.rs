//! ggml's block formats that no kernel multiplies with: they are decoded to f32 when they are read.
//!
//! The arithmetic, down to the order of operations in f32, is that of the Python package `gguf`.

use half::f16;

/// A format of blocks.
#[allow(non_camel_case_types)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostBlocks {
    /// 2 bits; scales and minima of 16 elements in 4 bits.
    Q2_K,
    /// 3 bits; scales of 16 elements in 6 bits.
    Q3_K,
    /// 4 bits that index a table, and a scale.
    IQ4_NL,
    /// 4 bits that index a table; scales of 32 elements in 6 bits.
    IQ4_XS,
    /// 4-bit floats and a power of two.
    MXFP4,
}

/// What the 4 bits of `IQ4_NL` and `IQ4_XS` stand for.
const IQ4_VALUES: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];
/// Twice what the 4 bits of `MXFP4` stand for: a sign, two bits of exponent and one of fraction.
const MXFP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

impl HostBlocks {
    pub(crate) const ALL: [Self; 5] = [
        Self::Q2_K,
        Self::Q3_K,
        Self::IQ4_NL,
        Self::IQ4_XS,
        Self::MXFP4,
    ];

    /// ggml's number.
    pub(crate) const fn id(self) -> u32 {
        self.facts().0
    }

    /// ggml's name.
    pub(crate) const fn name(self) -> &'static str {
        self.facts().1
    }

    /// Elements of a block.
    pub(crate) const fn block_len(self) -> usize {
        self.facts().2
    }

    /// Bytes of a block.
    pub(crate) const fn block_bytes(self) -> usize {
        self.facts().3
    }

    const fn facts(self) -> (u32, &'static str, usize, usize) {
        match self {
            Self::Q2_K => (10, "Q2_K", 256, 84),
            Self::Q3_K => (11, "Q3_K", 256, 110),
            Self::IQ4_NL => (20, "IQ4_NL", 32, 18),
            Self::IQ4_XS => (23, "IQ4_XS", 256, 136),
            Self::MXFP4 => (39, "MXFP4", 32, 17),
        }
    }

    /// Writes the elements of whole blocks to `out`.
    pub(crate) fn dequantize(self, blocks: &[u8], out: &mut [f32]) {
        let blocks = blocks.chunks_exact(self.block_bytes());
        for (block, out) in blocks.zip(out.chunks_exact_mut(self.block_len())) {
            match self {
                Self::Q2_K => q2_k(block, out),
                Self::Q3_K => q3_k(block, out),
                Self::IQ4_NL => from_table(half_at(block, 0), &block[2..], &IQ4_VALUES, out),
                Self::IQ4_XS => iq4_xs(block, out),
                Self::MXFP4 => from_table(half_power(block[0]), &block[1..], &MXFP4_VALUES, out),
            }
        }
    }
}

/// Bytes: 16 of scales (low bits) and minima (high bits), 64 of elements, then the scales of both.
fn q2_k(block: &[u8], out: &mut [f32]) {
    let (scale, min_scale) = (half_at(block, 80), half_at(block, 82));
    for (index, out) in out.iter_mut().enumerate() {
        let packed = block[index / 16];
        let scale = scale * f32::from(packed & 15);
        let min = min_scale * f32::from(packed >> 4);
        *out = scale * f32::from(two_bits(&block[16..80], index)) - min;
    }
}

/// Bytes: 32 of high bits, 64 of low bits, 12 of scales, then the scales' scale.
fn q3_k(block: &[u8], out: &mut [f32]) {
    let (high, low, scales) = (&block[..32], &block[32..96], &block[96..108]);
    let scale = half_at(block, 108);
    for (index, out) in out.iter_mut().enumerate() {
        let part = index / 16;
        let low_scale = scales[part % 8] >> (part / 8 * 4) & 15;
        let high_scale = scales[8 + part % 4] >> (part / 4 * 2) & 3;
        let scale = scale * f32::from((low_scale | high_scale << 4) as i8 - 32);
        // The high bit is stored inverted.
        let missing = high[index % 32] >> (index / 32) & 1 ^ 1;
        let value = two_bits(low, index) as i8 - (missing << 2) as i8;
        *out = scale * f32::from(value);
    }
}

/// Bytes: the scales' scale, two of their high bits, four of their low bits, then elements.
fn iq4_xs(block: &[u8], out: &mut [f32]) {
    let high_scales = u16::from_le_bytes([block[2], block[3]]);
    let parts = block[8..].chunks_exact(16).zip(out.chunks_exact_mut(32));
    for (part, (elements, out)) in parts.enumerate() {
        let low = block[4 + part / 2] >> (part % 2 * 4) & 15;
        let high = (high_scales >> (2 * part) & 3) as u8;
        let scale = half_at(block, 0) * f32::from((low | high << 4) as i8 - 32);
        from_table(scale, elements, &IQ4_VALUES, out);
    }
}

/// Elements as indices into a table: the low bits of all bytes, then the high bits.
fn from_table(scale: f32, bytes: &[u8], table: &[i8; 16], out: &mut [f32]) {
    let (first, second) = out.split_at_mut(bytes.len());
    for ((byte, first), second) in bytes.iter().zip(first).zip(second) {
        *first = scale * f32::from(table[usize::from(byte & 15)]);
        *second = scale * f32::from(table[usize::from(byte >> 4)]);
    }
}

/// Element `index` of two bits each: 32 bytes hold 128, a quarter in each pair of bits.
fn two_bits(bytes: &[u8], index: usize) -> u8 {
    bytes[index / 128 * 32 + index % 32] >> (index / 32 % 4 * 2) & 3
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Half of 2 to the power of `exponent` less 127.
fn half_power(exponent: u8) -> f32 {
    f32::from_bits(match exponent {
        0 | 1 => 0x0020_0000 << exponent,
        _ => u32::from(exponent - 1) << 23,
    })
}
