//! The element types that a host tensor can hold.

use std::fmt;

use half::{bf16, f16};
use safetensors::Dtype as StoredDtype;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    /// One byte per element, 0 or 1.
    Bool,
}

impl DType {
    /// Every type.
    pub const ALL: [Self; 13] = [
        Self::F64,
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::I64,
        Self::I32,
        Self::I16,
        Self::I8,
        Self::U64,
        Self::U32,
        Self::U16,
        Self::U8,
        Self::Bool,
    ];

    /// Bytes per element, which is also the alignment that reading elements in place needs.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether this is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// The name that PyTorch and `config.json` use, for instance `bfloat16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I16 => "int16",
            Self::I8 => "int8",
            Self::U64 => "uint64",
            Self::U32 => "uint32",
            Self::U16 => "uint16",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        }
    }

    /// The type with that [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// What safetensors calls this type.
    pub(crate) fn stored(self) -> StoredDtype {
        match self {
            Self::F64 => StoredDtype::F64,
            Self::F32 => StoredDtype::F32,
            Self::F16 => StoredDtype::F16,
            Self::BF16 => StoredDtype::BF16,
            Self::I64 => StoredDtype::I64,
            Self::I32 => StoredDtype::I32,
            Self::I16 => StoredDtype::I16,
            Self::I8 => StoredDtype::I8,
            Self::U64 => StoredDtype::U64,
            Self::U32 => StoredDtype::U32,
            Self::U16 => StoredDtype::U16,
            Self::U8 => StoredDtype::U8,
            Self::Bool => StoredDtype::BOOL,
        }
    }

    /// The type that a safetensors file names, unless it is one that only quantised checkpoints use (f8, f6, f4) or
    /// complex.
    pub(crate) fn from_stored(stored: StoredDtype) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.stored() == stored)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that is the element of a tensor.
pub trait Element: bytemuck::Pod + Send + Sync {
    /// The corresponding type of a tensor.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),* $(,)?) => {
        $(impl Element for $rust {
            const DTYPE: DType = DType::$dtype;
        })*
    };
}

elements! {
    f64 => F64, f32 => F32, f16 => F16, bf16 => BF16,
    i64 => I64, i32 => I32, i16 => I16, i8 => I8,
    u64 => U64, u32 => U32, u16 => U16, u8 => U8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stored_types_are_one_to_one() {
        for dtype in DType::ALL {
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
            assert_eq!(DType::from_stored(dtype.stored()), Some(dtype));
            assert_eq!(dtype.stored().bitsize(), 8 * dtype.size());
        }
        assert_eq!(DType::from_stored(StoredDtype::F8_E4M3), None);
        assert_eq!(DType::from_name("float8_e4m3fn"), None);
    }
}
