//! Reading the header, with every count and length compared with what is left of the file.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Seek, SeekFrom};

use super::{GgufArray, GgufHeader, GgufTensorInfo, GgufValue};
use crate::{ConfigError, Result};

/// Nested arrays are legal in GGUF and unknown in practice; deeper ones than this are refused.
const MAX_ARRAY_DEPTH: usize = 4;
/// ggml's own limit on the number of dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 4;
/// ggml's own limit on the length of a tensor's name, with room to spare, and of a key (2^16 - 1 by the format).
const MAX_NAME_BYTES: u64 = 65_535;
const DEFAULT_ALIGNMENT: u64 = 32;
/// How many bytes are allocated before any of them was read.
const MAX_PIECE: u64 = 1 << 20;

/// Reads the header of a file of `file_len` bytes.
pub(super) fn read<R: Read + Seek>(mut reader: R, file_len: u64) -> Result<GgufHeader> {
    reader
        .seek(SeekFrom::Start(0))
        .map_err(ConfigError::reading)?;
    let mut input = Input {
        reader,
        offset: 0,
        length: file_len,
    };
    let version = input.preamble()?;
    let tensor_count = input.u64("the number of tensors")?;
    let pair_count = input.u64("the number of key-value pairs")?;
    let metadata = input.metadata(pair_count)?;
    let alignment = alignment(&metadata)?;
    let tensors = input.tensors(tensor_count, alignment)?;
    let data_offset = input
        .offset
        .checked_next_multiple_of(alignment)
        .ok_or_else(|| {
            damaged(
                "`general.alignment`",
                format!("{alignment} is out of range"),
            )
        })?;
    Ok(GgufHeader {
        version,
        metadata,
        tensors,
        data_offset,
    })
}

/// The part of the file not read yet. Every read is checked against it first.
struct Input<R> {
    reader: R,
    offset: u64,
    length: u64,
}

impl<R: Read> Input<R> {
    /// The magic and the version.
    fn preamble(&mut self) -> Result<u32> {
        let magic = self.take::<4>("the magic number")?;
        if &magic != b"GGUF" {
            return Err(ConfigError::GgufMagic {
                found: String::from_utf8_lossy(&magic).into_owned(),
            });
        }
        let version = self.u32("the version")?;
        match version {
            2 | 3 => Ok(version),
            _ => Err(ConfigError::GgufVersion {
                version,
                hint: if matches!(version.swap_bytes(), 1..=3) {
                    "; this is a big-endian file: convert it to little endian"
                } else {
                    "; convert the model again with a current tool"
                },
            }),
        }
    }

    fn metadata(&mut self, count: u64) -> Result<BTreeMap<String, GgufValue>> {
        // Length and one byte of the key, the type, one byte of value.
        self.expect_room(count, 8 + 1 + 4 + 1, || {
            format!("a table of {count} key-value pairs")
        })?;
        let mut metadata = BTreeMap::new();
        for index in 0..count {
            let key = self.name(|| format!("the name of key {index}"))?;
            let kind = self.u32(&key)?;
            let value = self.value(kind, &key)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(damaged(format!("key `{key}`"), "it is there twice"));
            }
        }
        Ok(metadata)
    }

    fn tensors(&mut self, count: u64, alignment: u64) -> Result<Vec<GgufTensorInfo>> {
        // Length and one byte of the name, the number of dimensions, the type, the offset.
        self.expect_room(count, 8 + 1 + 4 + 4 + 8, || {
            format!("a table of {count} tensors")
        })?;
        let mut names = HashSet::new();
        let mut tensors = Vec::new();
        for index in 0..count {
            let tensor = self.tensor(index)?;
            if !tensor.offset.is_multiple_of(alignment) {
                let reason = format!(
                    "offset {} is not a multiple of the alignment {alignment}",
                    tensor.offset
                );
                return Err(damaged(format!("tensor `{}`", tensor.name), reason));
            }
            if !names.insert(tensor.name.clone()) {
                return Err(damaged(
                    format!("tensor `{}`", tensor.name),
                    "it is there twice",
                ));
            }
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    fn tensor(&mut self, index: u64) -> Result<GgufTensorInfo> {
        let name = self.name(|| format!("the name of tensor {index}"))?;
        let invalid = |reason: String| damaged(format!("tensor `{name}`"), reason);
        let dimensions = self.u32(&name)?;
        if dimensions > MAX_DIMENSIONS {
            return Err(invalid(format!(
                "{dimensions} dimensions; at most {MAX_DIMENSIONS} are possible"
            )));
        }
        let mut shape = Vec::new();
        let mut elements = 1_usize;
        for _ in 0..dimensions {
            let size = self.u64(&name)?;
            let size =
                usize::try_from(size).map_err(|_| invalid(format!("a dimension of {size}")))?;
            elements = elements
                .checked_mul(size)
                .ok_or_else(|| invalid("its number of elements overflows".into()))?;
            shape.push(size);
        }
        shape.reverse();
        Ok(GgufTensorInfo {
            shape,
            ggml_type: self.u32(&name)?,
            offset: self.u64(&name)?,
            name,
        })
    }

    fn value(&mut self, kind: u32, key: &str) -> Result<GgufValue> {
        Ok(match kind {
            0 => GgufValue::U8(u8::from_le_bytes(self.take(key)?)),
            1 => GgufValue::I8(i8::from_le_bytes(self.take(key)?)),
            2 => GgufValue::U16(u16::from_le_bytes(self.take(key)?)),
            3 => GgufValue::I16(i16::from_le_bytes(self.take(key)?)),
            4 => GgufValue::U32(u32::from_le_bytes(self.take(key)?)),
            5 => GgufValue::I32(i32::from_le_bytes(self.take(key)?)),
            6 => GgufValue::F32(f32::from_le_bytes(self.take(key)?)),
            7 => GgufValue::Bool(boolean(u8::from_le_bytes(self.take(key)?), key)?),
            8 => GgufValue::String(self.string(key)?),
            9 => GgufValue::Array(self.array(key, 1)?),
            10 => GgufValue::U64(u64::from_le_bytes(self.take(key)?)),
            11 => GgufValue::I64(i64::from_le_bytes(self.take(key)?)),
            12 => GgufValue::F64(f64::from_le_bytes(self.take(key)?)),
            _ => return Err(unknown_type(key, kind)),
        })
    }

    fn array(&mut self, key: &str, depth: usize) -> Result<GgufArray> {
        let kind = self.u32(key)?;
        let count = self.u64(key)?;
        Ok(match kind {
            0 => GgufArray::U8(self.numbers(count, key, u8::from_le_bytes)?),
            1 => GgufArray::I8(self.numbers(count, key, i8::from_le_bytes)?),
            2 => GgufArray::U16(self.numbers(count, key, u16::from_le_bytes)?),
            3 => GgufArray::I16(self.numbers(count, key, i16::from_le_bytes)?),
            4 => GgufArray::U32(self.numbers(count, key, u32::from_le_bytes)?),
            5 => GgufArray::I32(self.numbers(count, key, i32::from_le_bytes)?),
            6 => GgufArray::F32(self.numbers(count, key, f32::from_le_bytes)?),
            7 => {
                let bytes = self.numbers(count, key, u8::from_le_bytes)?;
                GgufArray::Bool(
                    bytes
                        .into_iter()
                        .map(|byte| boolean(byte, key))
                        .collect::<Result<_>>()?,
                )
            }
            8 => {
                self.expect_room(count, 8, || format!("`{key}`, {count} strings,"))?;
                GgufArray::String(
                    (0..count)
                        .map(|_| self.string(key))
                        .collect::<Result<_>>()?,
                )
            }
            9 if depth >= MAX_ARRAY_DEPTH => {
                return Err(damaged(
                    format!("key `{key}`"),
                    "its arrays are nested too deeply",
                ));
            }
            9 => {
                self.expect_room(count, 4 + 8, || format!("`{key}`, {count} arrays,"))?;
                GgufArray::Array(
                    (0..count)
                        .map(|_| self.array(key, depth + 1))
                        .collect::<Result<_>>()?,
                )
            }
            10 => GgufArray::U64(self.numbers(count, key, u64::from_le_bytes)?),
            11 => GgufArray::I64(self.numbers(count, key, i64::from_le_bytes)?),
            12 => GgufArray::F64(self.numbers(count, key, f64::from_le_bytes)?),
            _ => return Err(unknown_type(key, kind)),
        })
    }

    fn numbers<const N: usize, T>(
        &mut self,
        count: u64,
        key: &str,
        from: fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let what = || format!("`{key}`, an array of {count} numbers,");
        self.expect_room(count, N as u64, what)?;
        let bytes = self.bytes(count * N as u64, what)?;
        let (numbers, _) = bytes.as_chunks::<N>();
        Ok(numbers.iter().map(|&number| from(number)).collect())
    }

    /// A key or a tensor's name: short, and not empty.
    fn name(&mut self, what: impl Fn() -> String) -> Result<String> {
        let length = self.u64(&what())?;
        if length == 0 || length > MAX_NAME_BYTES {
            let reason = format!("{length} bytes long, expected 1 to {MAX_NAME_BYTES}");
            return Err(damaged(what(), reason));
        }
        self.text(length, what)
    }

    fn string(&mut self, key: &str) -> Result<String> {
        let length = self.u64(key)?;
        self.text(length, || format!("a string of `{key}`"))
    }

    fn text(&mut self, length: u64, what: impl Fn() -> String) -> Result<String> {
        String::from_utf8(self.bytes(length, &what)?)
            .map_err(|_| damaged(what(), "it is not valid UTF-8"))
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        self.take(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        self.take(what).map(u64::from_le_bytes)
    }

    fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        self.expect_room(1, N as u64, || what.to_owned())?;
        let mut bytes = [0; N];
        self.reader
            .read_exact(&mut bytes)
            .map_err(ConfigError::reading)?;
        self.offset += N as u64;
        Ok(bytes)
    }

    fn bytes(&mut self, length: u64, what: impl Fn() -> String) -> Result<Vec<u8>> {
        self.expect_room(1, length, &what)?;
        let mut bytes = Vec::new();
        // The reader may hold less than it was said to; reading in pieces keeps the allocation honest.
        while (bytes.len() as u64) < length {
            let read = bytes.len();
            let piece = (length - read as u64).min(MAX_PIECE);
            bytes.resize(read + piece as usize, 0);
            self.reader
                .read_exact(&mut bytes[read..])
                .map_err(ConfigError::reading)?;
        }
        self.offset += length;
        Ok(bytes)
    }

    /// Refuses `count` items of `size` bytes at least that do not fit into the rest of the file.
    fn expect_room(&self, count: u64, size: u64, what: impl Fn() -> String) -> Result<()> {
        let available = self.length.saturating_sub(self.offset);
        let needed = count.saturating_mul(size);
        if needed <= available {
            return Ok(());
        }
        Err(ConfigError::GgufTruncated {
            what: what(),
            offset: self.offset,
            needed,
            available,
        })
    }
}

fn alignment(metadata: &BTreeMap<String, GgufValue>) -> Result<u64> {
    let Some(value) = metadata.get("general.alignment") else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    match value.as_u64() {
        Some(alignment) if alignment.is_power_of_two() => Ok(alignment),
        _ => Err(damaged(
            "`general.alignment`",
            format!("{value:?} is not a power of two"),
        )),
    }
}

fn boolean(byte: u8, key: &str) -> Result<bool> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(damaged(
            format!("key `{key}`"),
            format!("{byte} is neither true nor false"),
        )),
    }
}

fn unknown_type(key: &str, kind: u32) -> ConfigError {
    damaged(format!("key `{key}`"), format!("unknown value type {kind}"))
}

fn damaged(what: impl Into<String>, reason: impl Into<String>) -> ConfigError {
    ConfigError::GgufInvalid {
        what: what.into(),
        reason: reason.into(),
    }
}
