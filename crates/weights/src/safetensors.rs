//! One safetensors file: its header, checked completely before any tensor is handed out.
//!
//! A header is eight bytes of length, that much JSON, and then the tensors' bytes without holes or overlap. The
//! `safetensors` crate checks the same but does not say which tensor is at fault, and takes the last of two entries with
//! the same name; a property test holds that whatever is accepted here is accepted there.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::path::Path;

use safetensors::Dtype as StoredDtype;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::conversion::Operand;
use crate::file_bytes::FileBytes;
use crate::names::check_name;
use crate::tensor::element_count;
use crate::{DType, HostTensor, Result, WeightsError};

/// The reference's limit on the length of the JSON.
const MAX_HEADER_BYTES: u64 = 100_000_000;
const LENGTH_BYTES: usize = size_of::<u64>();

/// An open safetensors file.
#[derive(Debug)]
pub(crate) struct SafetensorsFile {
    file: FileBytes,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    dtype: StoredDtype,
    shape: Vec<usize>,
    /// Within the file.
    bytes: Range<usize>,
}

impl SafetensorsFile {
    pub(crate) fn open(path: &Path, mmap: bool) -> Result<Self> {
        let file = FileBytes::open(path, mmap)?;
        let tensors = read_header(&file)?;
        Ok(Self { file, tensors })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn is_mapped(&self) -> bool {
        self.file.is_mapped()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Names and shapes, in lexical order.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors
            .iter()
            .map(|(name, entry)| (name.as_str(), entry.shape.as_slice()))
    }

    /// The element type of `name`, which is one of [`tensors`](Self::tensors).
    pub(crate) fn dtype(&self, name: &str) -> Result<DType> {
        let stored = self.tensors[name].dtype;
        DType::from_stored(stored).ok_or_else(|| WeightsError::UnsupportedDtype {
            path: self.path().to_owned(),
            name: name.to_owned(),
            dtype: stored.to_string(),
        })
    }

    /// The type and the bytes of `name`, which is one of [`tensors`](Self::tensors).
    pub(crate) fn stored(&self, name: &str) -> (StoredDtype, usize) {
        let entry = &self.tensors[name];
        (entry.dtype, entry.bytes.len())
    }

    /// The tensor `name`, which is one of [`tensors`](Self::tensors), to be read where it is needed.
    pub(crate) fn operand(&self, name: &str) -> Result<Operand> {
        let Entry { shape, bytes, .. } = &self.tensors[name];
        let range = self.file.later(bytes.clone());
        Ok(Operand::in_file(self.dtype(name)?, shape, range))
    }

    /// The tensor `name`, which is one of [`tensors`](Self::tensors); shares the map if the file is mapped.
    pub(crate) fn tensor(&self, name: &str) -> Result<HostTensor> {
        let dtype = self.dtype(name)?;
        let entry = &self.tensors[name];
        HostTensor::new(
            self.file.slice(entry.bytes.clone())?,
            dtype,
            entry.shape.clone(),
        )
    }
}

fn read_header(file: &FileBytes) -> Result<BTreeMap<String, Entry>> {
    let damaged = |what: &str, reason: String| WeightsError::Safetensors {
        path: file.path().to_owned(),
        what: what.to_owned(),
        reason,
    };
    let file_len = file.len();
    if file_len < LENGTH_BYTES {
        return Err(damaged(
            "header",
            format!("the file has {file_len} bytes, too few for the length of a header"),
        ));
    }
    let length = file.slice(0..LENGTH_BYTES)?;
    let length = length
        .iter()
        .rfold(0_u64, |n, &byte| n << 8 | u64::from(byte));
    let available = file_len - LENGTH_BYTES;
    if length > MAX_HEADER_BYTES || length > available as u64 {
        return Err(damaged(
            "header",
            format!(
                "its length is given as {length} bytes, but {available} bytes follow and {MAX_HEADER_BYTES} are allowed"
            ),
        ));
    }
    let data_start = LENGTH_BYTES + length as usize;
    let json = file.slice(LENGTH_BYTES..data_start)?;
    let header: Header =
        serde_json::from_slice(&json).map_err(|error| damaged("header", error.to_string()))?;

    let mut end = 0;
    let mut entries = BTreeMap::new();
    for (name, raw) in header.in_file_order() {
        let shown: String = name.chars().take(200).collect();
        let damaged = |reason| damaged(&format!("tensor `{}`", shown.escape_debug()), reason);
        check_name(&name).map_err(&damaged)?;
        let dtype = stored_dtype(&raw.dtype)
            .ok_or_else(|| damaged(format!("`{}` is not a dtype of the format", raw.dtype)))?;
        let (from, to) = raw.data_offsets;
        if from != end {
            let fault = if from < end {
                "overlaps the tensor before it"
            } else {
                "leaves a hole before it"
            };
            return Err(damaged(format!(
                "data_offsets [{from}, {to}] {fault}, which ends at {end}"
            )));
        }
        let bytes = byte_length(dtype, &raw.shape)
            .ok_or_else(|| damaged(format!("the size of shape {:?} overflows", raw.shape)))?;
        if from.checked_add(bytes) != Some(to) {
            return Err(damaged(format!(
                "data_offsets [{from}, {to}] do not span the {bytes} bytes of {dtype} with shape {:?}",
                raw.shape
            )));
        }
        if to > file_len - data_start {
            return Err(damaged(format!(
                "its data ends at byte {to} of the data, but there are only {}",
                file_len - data_start
            )));
        }
        end = to;
        let entry = Entry {
            dtype,
            shape: raw.shape,
            bytes: data_start + from..data_start + to,
        };
        entries.insert(name, entry);
    }
    if end != file_len - data_start {
        return Err(damaged(
            "data",
            format!(
                "{} bytes at the end belong to no tensor",
                file_len - data_start - end
            ),
        ));
    }
    Ok(entries)
}

fn stored_dtype(name: &str) -> Option<StoredDtype> {
    serde_json::from_value(name.into()).ok()
}

/// The bytes of a tensor; `None` if they overflow or, for types below a byte, are not whole.
fn byte_length(dtype: StoredDtype, shape: &[usize]) -> Option<usize> {
    // The reference multiplies from the left, so even an empty tensor must not overflow on the way.
    shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
    let bits = element_count(shape)?.checked_mul(dtype.bitsize())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// The JSON as it stands.
struct Header {
    tensors: BTreeMap<String, RawEntry>,
}

#[derive(serde::Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl Header {
    fn in_file_order(self) -> Vec<(String, RawEntry)> {
        let mut tensors: Vec<_> = self.tensors.into_iter().collect();
        tensors.sort_by_key(|(_, entry)| entry.data_offsets);
        tensors
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut tensors = BTreeMap::new();
                let mut seen_metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == "__metadata__" {
                        map.next_value::<HashMap<String, String>>()?;
                        std::mem::replace(&mut seen_metadata, true)
                    } else {
                        let entry = map
                            .next_value()
                            .map_err(|error| A::Error::custom(format!("`{name}`: {error}")))?;
                        tensors.insert(name.clone(), entry).is_some()
                    };
                    if twice {
                        return Err(A::Error::custom(format!("`{name}` is there twice")));
                    }
                }
                Ok(Header { tensors })
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}
