//! What GGUF files are written in: the encoders of floats and of blocks.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};

use crate::cast::{cast_floats, decode_blocks};
use crate::ggml::GgmlType;
use crate::q4_k;
use crate::{DType, HostTensor, Result, WeightsError};

/// What the values of a tensor are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types, missing_docs)]
pub enum GgufType {
    F32,
    F16,
    BF16,
    /// Blocks of 32 values: 8 bits each, and a scale.
    Q8_0,
    /// Blocks of 32 values: 5 bits each, and a scale.
    Q5_0,
    /// Blocks of 32 values: 4 bits each, and a scale.
    Q4_0,
    /// Blocks of 256 values: 4 bits each; scales and minima of 32 values in 6 bits.
    Q4_K,
}

/// Values of a block of the types with the shorter blocks.
const BLOCK: usize = 32;

impl GgufType {
    /// Every type.
    pub const ALL: [Self; 7] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q8_0,
        Self::Q5_0,
        Self::Q4_0,
        Self::Q4_K,
    ];

    /// ggml's name, for instance `Q4_K`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q5_0 => "Q5_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_K => "Q4_K",
        }
    }

    /// The type that holds values of `dtype` without loss, or, for a type that GGUF does not have, F32.
    pub fn of_dtype(dtype: DType) -> Self {
        match dtype {
            DType::F16 => Self::F16,
            DType::BF16 => Self::BF16,
            _ => Self::F32,
        }
    }

    /// The type to take for rows of `len` values: this one, or where they are not whole blocks of it the one that
    /// llama.cpp falls back to.
    pub fn for_rows_of(self, len: usize) -> Self {
        let fits = |kind: Self| len.is_multiple_of(kind.block_len());
        match self {
            kind if fits(kind) => kind,
            Self::Q4_K if fits(Self::Q5_0) => Self::Q5_0,
            _ => Self::F16,
        }
    }

    /// The number that `general.file_type` has for a file of this type.
    pub fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
            Self::Q5_0 => 8,
            Self::Q4_K => 14,
            Self::BF16 => 32,
        }
    }

    /// Values of a block; one for floats.
    pub fn block_len(self) -> usize {
        self.ggml().block_len()
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.ggml().block_bytes()
    }

    /// ggml's number.
    pub(crate) fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q5_0 => 6,
            Self::Q8_0 => 8,
            Self::Q4_K => 12,
            Self::BF16 => 30,
        }
    }

    fn ggml(self) -> GgmlType {
        GgmlType::of(self.id()).expect("what is written can be read")
    }

    /// The values in this type.
    pub(crate) fn encode(self, tensor: &HostTensor) -> Result<Vec<u8>> {
        let values = cast_floats(tensor.bytes(), tensor.dtype(), DType::F32)?;
        let (size, len) = (self.block_bytes(), self.block_len());
        // From f32 bytes to blocks, on all cores.
        let encode = |values: &[u8], blocks: &mut [u8]| {
            let values = values.chunks_exact(len * size_of::<f32>());
            for (values, block) in values.zip(blocks.chunks_exact_mut(size)) {
                let mut row = [0.0; q4_k::BLOCK];
                for (value, bytes) in row.iter_mut().zip(values.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
                self.encode_block(&row[..len], block);
            }
        };
        Ok(decode_blocks(&values, len * size_of::<f32>(), size, encode))
    }

    fn encode_block(self, values: &[f32], block: &mut [u8]) {
        match self {
            Self::F32 => block.copy_from_slice(&values[0].to_le_bytes()),
            Self::F16 => block.copy_from_slice(&f16::from_f32(values[0]).to_le_bytes()),
            Self::BF16 => block.copy_from_slice(&bf16::from_f32(values[0]).to_le_bytes()),
            Self::Q8_0 => q8_0(values, block),
            Self::Q5_0 => q5_0(values, block),
            Self::Q4_0 => q4_0(values, block),
            Self::Q4_K => q4_k::encode(values, block),
        }
    }
}

impl fmt::Display for GgufType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By ggml's name, in upper or lower case.
impl FromStr for GgufType {
    type Err = WeightsError;

    fn from_str(name: &str) -> Result<Self> {
        let named = Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name));
        named.ok_or_else(|| WeightsError::UnwritableType {
            name: name.to_owned(),
            supported: Self::ALL.map(Self::name).join(", "),
        })
    }
}

fn q8_0(values: &[f32], block: &mut [u8]) {
    let largest = values
        .iter()
        .fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = inverse(scale);
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (value, byte) in values.iter().zip(&mut block[2..]) {
        *byte = (value * inverse).round() as i8 as u8;
    }
}

/// Bytes: the scale, 32 high bits, then the low bits.
fn q5_0(values: &[f32], block: &mut [u8]) {
    let scale = extreme(values) / -16.0;
    let inverse = inverse(scale);
    let level = |value: f32| ((value * inverse + 16.5) as u8).min(31);
    let mut high_bits = 0_u32;
    for (index, value) in values.iter().enumerate() {
        let level = level(*value);
        high_bits |= u32::from(level >> 4) << index;
        let byte = &mut block[6 + index % (BLOCK / 2)];
        *byte = match index < BLOCK / 2 {
            true => level & 15,
            false => *byte | level << 4,
        };
    }
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    block[2..6].copy_from_slice(&high_bits.to_le_bytes());
}

fn q4_0(values: &[f32], block: &mut [u8]) {
    let scale = extreme(values) / -8.0;
    let inverse = inverse(scale);
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    let nibble = |value: f32| ((value * inverse + 8.5) as u8).min(15);
    let (low, high) = values.split_at(BLOCK / 2);
    for ((low, high), byte) in low.iter().zip(high).zip(&mut block[2..]) {
        *byte = nibble(*low) | nibble(*high) << 4;
    }
}

/// The first of those with the largest magnitude, which keeps its sign and becomes the lowest level.
fn extreme(values: &[f32]) -> f32 {
    let larger = |extreme: f32, &value: &f32| match value.abs() > extreme.abs() {
        true => value,
        false => extreme,
    };
    values.iter().fold(0.0, larger)
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}
