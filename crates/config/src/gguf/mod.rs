//! The header of a GGUF file: metadata and the table of tensors, without any tensor's data.
//!
//! A GGUF file carries configuration, tokenizer and chat template in its metadata. This is the one plain struct that
//! the configuration, the tokenizer and the weights read. The file is untrusted: nothing is allocated for a count or a
//! length before it was compared with what is left of the file. Whether the tensors' data lies within the file is for
//! the reader of the tensors to check, because it depends on their types' block sizes.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little endian.

mod reader;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use crate::{ConfigError, Result};

/// A GGUF file without its tensors' data.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufHeader {
    /// The version of the format.
    pub version: u32,
    /// The key-value pairs.
    pub metadata: BTreeMap<String, GgufValue>,
    /// The tensors, in the file's order, with distinct names.
    pub tensors: Vec<GgufTensorInfo>,
    /// Where the tensors' data begins, in bytes from the start of the file.
    pub data_offset: u64,
}

/// Where a tensor is and what it looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensorInfo {
    /// ggml's name, for instance `blk.0.attn_q.weight`.
    pub name: String,
    /// Row-major: ggml's dimensions reversed. The number of elements fits into a `usize`.
    pub shape: Vec<usize>,
    /// ggml's number for the type of the elements or blocks.
    pub ggml_type: u32,
    /// In bytes from [`GgufHeader::data_offset`]; a multiple of the file's alignment.
    pub offset: u64,
}

/// One value of the metadata.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum GgufValue {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    Array(GgufArray),
}

/// An array of the metadata: all elements have one type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum GgufArray {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    String(Vec<String>),
    Array(Vec<GgufArray>),
}

impl GgufHeader {
    /// Reads the header of the file at `path`; errors name the file.
    ///
    /// # Errors
    /// If the file cannot be read, and as [`parse`](Self::parse).
    pub fn open(path: &Path) -> Result<Self> {
        let read = || {
            let file = File::open(path).map_err(ConfigError::reading)?;
            let length = file.metadata().map_err(ConfigError::reading)?.len();
            Self::parse(BufReader::with_capacity(1 << 16, file), length)
        };
        read().map_err(|error| error.in_file(path))
    }

    /// Reads the header from the start of `reader`, which holds `file_len` bytes.
    ///
    /// # Errors
    /// If it is no GGUF file of version 2 or 3, ends too early, or is damaged: what a size says is not believed.
    pub fn parse<R: Read + Seek>(reader: R, file_len: u64) -> Result<Self> {
        reader::read(reader, file_len)
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&GgufValue> {
        self.metadata.get(key)
    }

    /// `general.architecture`, the prefix of the architecture's own keys, for instance `llama`.
    pub fn architecture(&self) -> Option<&str> {
        self.get("general.architecture")?.as_str()
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

impl GgufValue {
    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is an integer of any width that fits.
    pub fn as_i64(&self) -> Option<i64> {
        Some(match *self {
            Self::U8(value) => value.into(),
            Self::I8(value) => value.into(),
            Self::U16(value) => value.into(),
            Self::I16(value) => value.into(),
            Self::U32(value) => value.into(),
            Self::I32(value) => value.into(),
            Self::U64(value) => value.try_into().ok()?,
            Self::I64(value) => value,
            _ => return None,
        })
    }

    /// The number, if this is an integer of any width that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U64(value) => Some(value),
            _ => self.as_i64()?.try_into().ok(),
        }
    }

    /// The number, if this is one, integers included.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(value) => Some(value.into()),
            Self::F64(value) => Some(value),
            Self::U64(value) => Some(value as f64),
            _ => self.as_i64().map(|value| value as f64),
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The array, if this is one.
    pub fn as_array(&self) -> Option<&GgufArray> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }
}

impl GgufArray {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::I16(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::U64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::String(values) => values.len(),
            Self::Array(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The texts, if that is what the array holds.
    pub fn as_strings(&self) -> Option<&[String]> {
        match self {
            Self::String(values) => Some(values),
            _ => None,
        }
    }

    /// The truth values, if that is what the array holds.
    pub fn as_bools(&self) -> Option<&[bool]> {
        match self {
            Self::Bool(values) => Some(values),
            _ => None,
        }
    }

    /// The numbers, if the array holds integers of any width that fit.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        Some(match self {
            Self::U8(values) => values.iter().map(|&value| value.into()).collect(),
            Self::I8(values) => values.iter().map(|&value| value.into()).collect(),
            Self::U16(values) => values.iter().map(|&value| value.into()).collect(),
            Self::I16(values) => values.iter().map(|&value| value.into()).collect(),
            Self::U32(values) => values.iter().map(|&value| value.into()).collect(),
            Self::I32(values) => values.iter().map(|&value| value.into()).collect(),
            Self::U64(values) => values
                .iter()
                .map(|&value| value.try_into().ok())
                .collect::<Option<_>>()?,
            Self::I64(values) => values.clone(),
            _ => return None,
        })
    }

    /// The numbers, if the array holds numbers, integers included.
    pub fn to_f64s(&self) -> Option<Vec<f64>> {
        match self {
            Self::F32(values) => Some(values.iter().map(|&value| value.into()).collect()),
            Self::F64(values) => Some(values.clone()),
            _ => Some(
                self.to_i64s()?
                    .into_iter()
                    .map(|value| value as f64)
                    .collect(),
            ),
        }
    }
}
