//! One GGUF file as a checkpoint: tensors under their Hugging Face names, in blocks or decoded to f32 one at a time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use transformers_config::gguf::{GgufHeader, GgufTensorInfo};

use crate::cast::{cast_floats, decode_blocks};
use crate::conversion_mapping::gguf::{GGUF_MAPPINGS, GgufMapping, Heads, Stored};
use crate::file_bytes::FileBytes;
use crate::ggml::{GgmlType, supported_names, type_name};
use crate::names::check_name;
use crate::tensor::{element_count, owned_bytes};
use crate::{BlockTensor, DType, HostTensor, Result, WeightsError};

/// An open GGUF file.
#[derive(Debug)]
pub(crate) struct GgufFile {
    file: FileBytes,
    tensors: BTreeMap<String, Entry>,
    heads: HeadCounts,
}

#[derive(Debug)]
struct Entry {
    /// ggml's name, for messages.
    gguf_name: String,
    ggml_type: GgmlType,
    shape: Vec<usize>,
    /// Within the file.
    bytes: Range<usize>,
    stored: Stored,
}

#[derive(Debug, Default)]
struct HeadCounts {
    query: Option<usize>,
    key_value: Option<usize>,
}

impl GgufFile {
    pub(crate) fn open(path: &Path, mmap: bool) -> Result<Self> {
        let header = GgufHeader::open(path)?;
        let file = FileBytes::open(path, mmap)?;
        let architecture = header.architecture().unwrap_or_default();
        let mapping = GgufMapping::of(architecture).ok_or_else(|| {
            WeightsError::UnsupportedGgufArchitecture {
                path: path.to_owned(),
                architecture: architecture.to_owned(),
                supported: GGUF_MAPPINGS
                    .iter()
                    .map(|mapping| mapping.architecture)
                    .collect::<Vec<_>>()
                    .join(", "),
            }
        })?;
        Ok(Self {
            tensors: locate(&header, mapping, &file)?,
            heads: HeadCounts::read(&header, architecture),
            file,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Names and shapes, in lexical order.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors
            .iter()
            .map(|(name, entry)| (name.as_str(), entry.shape.as_slice()))
    }

    /// The type and the bytes of `name`, which is one of [`tensors`](Self::tensors).
    pub(crate) fn stored(&self, name: &str) -> (GgmlType, usize) {
        let entry = &self.tensors[name];
        (entry.ggml_type, entry.bytes.len())
    }

    /// The tensor `name`, which is one of [`tensors`](Self::tensors): floats in their own type, blocks decoded to f32.
    /// Shares the map where the values lie in the file as the model has them.
    pub(crate) fn tensor(&self, name: &str) -> Result<HostTensor> {
        let entry = &self.tensors[name];
        let shape = entry.shape.clone();
        let bytes = self.bytes(entry)?;
        let tensor = match entry.ggml_type {
            GgmlType::Float(dtype) => HostTensor::new(bytes, dtype, shape)?,
            GgmlType::Blocks(format) => {
                let (size, len) = (format.block_bytes(), format.block_len());
                let decode = |blocks: &[u8], out: &mut [f32]| format.dequantize(blocks, out);
                HostTensor::from_vec(decode_blocks(&bytes, size, len, decode), shape)?
            }
            GgmlType::HostBlocks(format) => {
                let (size, len) = (format.block_bytes(), format.block_len());
                let decode = |blocks: &[u8], out: &mut [f32]| format.dequantize(blocks, out);
                HostTensor::from_vec(decode_blocks(&bytes, size, len, decode), shape)?
            }
        };
        match entry.stored {
            Stored::PlusOne => computed(&tensor, |value| value - 1.0),
            Stored::NegatedExponential => computed(&tensor, |value| (-value).ln()),
            Stored::AsIs | Stored::Flat | Stored::Interleaved(_) => Ok(tensor),
        }
    }

    /// Whether [`blocks`](Self::blocks) gives the tensor `name`.
    pub(crate) fn has_blocks(&self, name: &str) -> bool {
        let entry = &self.tensors[name];
        matches!(entry.ggml_type, GgmlType::Blocks(_))
            && entry.shape.len() == 2
            && !entry.stored.is_computed()
    }

    /// The matrix `name` in blocks, if it is stored so and its values need no arithmetic. Shares the map where the rows
    /// lie in the model's order.
    pub(crate) fn blocks(&self, name: &str) -> Result<Option<BlockTensor>> {
        let entry = &self.tensors[name];
        match (entry.ggml_type, entry.shape.as_slice()) {
            (GgmlType::Blocks(format), &[rows, cols]) if !entry.stored.is_computed() => {
                let bytes = self.bytes(entry)?;
                Ok(Some(BlockTensor {
                    format,
                    rows,
                    cols,
                    bytes,
                }))
            }
            _ => Ok(None),
        }
    }

    /// A tensor's bytes, its rows in the model's order.
    fn bytes(&self, entry: &Entry) -> Result<Bytes> {
        let bytes = self.file.slice(entry.bytes.clone())?;
        match entry.stored {
            Stored::Interleaved(heads) => Ok(owned_bytes(self.deinterleave(entry, &bytes, heads)?)),
            _ => Ok(bytes),
        }
    }

    /// Rows `2 i + j` of each head back to `j * head_dim / 2 + i`.
    fn deinterleave(&self, entry: &Entry, values: &[u8], heads: Heads) -> Result<Vec<u8>> {
        let (key, count) = match heads {
            Heads::Query => ("attention.head_count", self.heads.query),
            Heads::KeyValue => ("attention.head_count_kv", self.heads.key_value),
        };
        let invalid = |reason| gguf_error(self.path(), &entry.gguf_name, reason);
        let count = count.filter(|&count| count > 0).ok_or_else(|| {
            invalid(format!(
                "its rows belong to heads, but the metadata has no usable `{key}`"
            ))
        })?;
        let rows = entry.shape.first().copied().unwrap_or_default();
        if !rows.is_multiple_of(2 * count) {
            return Err(invalid(format!(
                "its {rows} rows do not divide into {count} heads of even size"
            )));
        }
        let row_len = values.len().checked_div(rows).unwrap_or_default();
        let half = rows / count / 2;
        let mut output = Vec::with_capacity(values.len());
        for row in 0..rows {
            let (head, row) = (row / (2 * half), row % (2 * half));
            let stored = head * 2 * half + row % half * 2 + row / half;
            output.extend_from_slice(&values[stored * row_len..][..row_len]);
        }
        Ok(output)
    }
}

fn computed(tensor: &HostTensor, f: impl Fn(f32) -> f32) -> Result<HostTensor> {
    let bytes = cast_floats(tensor.bytes(), tensor.dtype(), DType::F32)?;
    let values: &[f32] = bytemuck::cast_slice(&bytes);
    let values = values.iter().map(|value| f(*value)).collect();
    HostTensor::from_vec(values, tensor.shape().to_vec())
}

impl HeadCounts {
    fn read(header: &GgufHeader, architecture: &str) -> Self {
        let count = |key: &str| {
            let value = header.get(&format!("{architecture}.attention.{key}"))?;
            value.as_u64()?.try_into().ok()
        };
        let query = count("head_count");
        Self {
            query,
            key_value: count("head_count_kv").or(query),
        }
    }
}

/// Finds every tensor's format and bytes, and checks that they lie within the file and apart from each other.
fn locate(
    header: &GgufHeader,
    mapping: &GgufMapping,
    file: &FileBytes,
) -> Result<BTreeMap<String, Entry>> {
    let path = file.path();
    let mut tensors = BTreeMap::new();
    for info in &header.tensors {
        check_name(&info.name).map_err(|reason| {
            let shown: String = info.name.chars().take(200).collect();
            gguf_error(path, &shown.escape_debug().to_string(), reason)
        })?;
        let (name, stored) = mapping
            .translate(&info.name)
            .unwrap_or_else(|| (info.name.clone(), Stored::AsIs));
        let entry = locate_one(header.data_offset, info, stored, file)?;
        if let Some(other) = tensors.insert(name, entry) {
            let reason = format!("it and `{}` are one tensor of the model", other.gguf_name);
            return Err(gguf_error(path, &info.name, reason));
        }
    }
    let mut in_file_order: Vec<&Entry> = tensors.values().collect();
    in_file_order.sort_by_key(|entry| (entry.bytes.start, entry.bytes.end));
    for pair in in_file_order.windows(2) {
        if pair[1].bytes.start < pair[0].bytes.end {
            let reason = format!("its data overlaps that of `{}`", pair[0].gguf_name);
            return Err(gguf_error(path, &pair[1].gguf_name, reason));
        }
    }
    Ok(tensors)
}

fn locate_one(
    data_offset: u64,
    info: &GgufTensorInfo,
    stored: Stored,
    file: &FileBytes,
) -> Result<Entry> {
    let path = file.path();
    let ggml_type =
        GgmlType::of(info.ggml_type).ok_or_else(|| WeightsError::UnsupportedGgmlType {
            path: path.to_owned(),
            name: info.name.clone(),
            ggml_type: type_name(info.ggml_type),
            supported: supported_names(),
        })?;
    let invalid = |reason| gguf_error(path, &info.name, reason);
    let row_len = info.shape.last().copied().unwrap_or(1);
    if !row_len.is_multiple_of(ggml_type.block_len()) {
        return Err(invalid(format!(
            "rows of {row_len} elements are not whole blocks of {} ({})",
            ggml_type.block_len(),
            type_name(info.ggml_type)
        )));
    }
    let size = element_count(&info.shape)
        .and_then(|count| (count / ggml_type.block_len()).checked_mul(ggml_type.block_bytes()));
    let start = data_offset
        .checked_add(info.offset)
        .and_then(|start| usize::try_from(start).ok());
    let end = start
        .zip(size)
        .and_then(|(start, size)| start.checked_add(size));
    match start.zip(end) {
        Some((start, end)) if end <= file.len() => Ok(Entry {
            gguf_name: info.name.clone(),
            ggml_type,
            shape: match (stored, info.shape.as_slice()) {
                (Stored::Flat, &[channels, width]) => vec![channels, 1, width],
                (_, shape) => shape.to_vec(),
            },
            bytes: start..end,
            stored,
        }),
        _ => Err(invalid(format!(
            "shape {:?} at offset {} of the data does not lie within the file's {} bytes",
            info.shape,
            info.offset,
            file.len()
        ))),
    }
}

fn gguf_error(path: &Path, tensor: &str, reason: String) -> WeightsError {
    WeightsError::Gguf {
        path: path.to_owned(),
        what: format!("tensor `{tensor}`"),
        reason,
    }
}
