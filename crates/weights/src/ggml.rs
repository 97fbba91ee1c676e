//! ggml's types: what the tensors of a GGUF file are made of.

use transformers_kernels::BlockFormat;

use crate::DType;
use crate::host_blocks::HostBlocks;

/// A type that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GgmlType {
    /// Plain floats.
    Float(DType),
    /// Quantised blocks that kernels multiply with.
    Blocks(BlockFormat),
    /// Quantised blocks that are decoded.
    HostBlocks(HostBlocks),
}

const FLOATS: [(u32, &str, DType); 3] = [
    (0, "F32", DType::F32),
    (1, "F16", DType::F16),
    (30, "BF16", DType::BF16),
];

/// The names of the types that cannot be read, for messages.
const OTHER_NAMES: [(u32, &str); 18] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];

impl GgmlType {
    /// The type with ggml's number `id`.
    pub(crate) fn of(id: u32) -> Option<Self> {
        let float = FLOATS.iter().find(|(other, ..)| *other == id);
        float
            .map(|(.., dtype)| Self::Float(*dtype))
            .or_else(|| BlockFormat::of_id(id).map(Self::Blocks))
            .or_else(|| {
                let blocks = HostBlocks::ALL.into_iter().find(|blocks| blocks.id() == id);
                blocks.map(Self::HostBlocks)
            })
    }

    /// ggml's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Float(DType::F16) => "F16",
            Self::Float(DType::BF16) => "BF16",
            Self::Float(_) => "F32",
            Self::Blocks(format) => format.name(),
            Self::HostBlocks(format) => format.name(),
        }
    }

    /// Elements of a block; one for floats.
    pub(crate) fn block_len(self) -> usize {
        match self {
            Self::Float(_) => 1,
            Self::Blocks(format) => format.block_len(),
            Self::HostBlocks(format) => format.block_len(),
        }
    }

    /// Bytes of a block.
    pub(crate) fn block_bytes(self) -> usize {
        match self {
            Self::Float(dtype) => dtype.size(),
            Self::Blocks(format) => format.block_bytes(),
            Self::HostBlocks(format) => format.block_bytes(),
        }
    }

    /// Decodes whole blocks; floats are none.
    pub(crate) fn dequantize(self, blocks: &[u8], out: &mut [f32]) {
        match self {
            Self::Float(_) => {}
            Self::Blocks(format) => format.dequantize(blocks, out),
            Self::HostBlocks(format) => format.dequantize(blocks, out),
        }
    }
}

/// Name and number of any type, known or not.
pub(crate) fn type_name(id: u32) -> String {
    match known_names()
        .chain(OTHER_NAMES)
        .find(|(other, _)| *other == id)
    {
        Some((_, name)) => format!("{name} ({id})"),
        None => format!("{id} (unknown)"),
    }
}

/// The names of all types that can be read, separated by commas.
pub(crate) fn supported_names() -> String {
    known_names()
        .map(|(_, name)| name)
        .collect::<Vec<_>>()
        .join(", ")
}

fn known_names() -> impl Iterator<Item = (u32, &'static str)> {
    let floats = FLOATS.iter().map(|(id, name, _)| (*id, *name));
    floats
        .chain(BlockFormat::ALL.map(|format| (format.id(), format.name())))
        .chain(HostBlocks::ALL.map(|format| (format.id(), format.name())))
}
