//! One GGUF file as a checkpoint: tensors under their Hugging Face names, in blocks or decoded to f32 one at a time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use transformers_config::gguf::{GgufHeader, GgufTensorInfo, GgufValue};

use crate::cast::{cast_floats, decode_blocks};
use crate::conversion::Operand;
use crate::conversion_mapping::gguf::{GgufMapping, PART, Pair, Stored};
use crate::file_bytes::FileBytes;
use crate::ggml::{GgmlType, supported_names, type_name};
use crate::names::check_name;
use crate::tensor::{element_count, owned_bytes};
use crate::{BlockTensor, DType, HeadCounts, HostTensor, Result, WeightsError};

/// Tensors that a file holds stacked have at least as many bytes each: else a small file is a great many tensors.
const MIN_PART_BYTES: usize = 16;

/// An open GGUF file.
#[derive(Debug)]
pub(crate) struct GgufFile {
    file: FileBytes,
    tensors: BTreeMap<String, Entry>,
    paired: BTreeMap<String, Paired>,
    heads: HeadCounts,
    /// `ssm.group_count`.
    groups: usize,
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

/// A tensor of the model that the file holds in two.
#[derive(Debug)]
struct Paired {
    pair: Pair,
    halves: [Entry; 2],
    shape: Vec<usize>,
}

impl GgufFile {
    pub(crate) fn open(path: &Path, mmap: bool) -> Result<Self> {
        let header = GgufHeader::open(path)?;
        let file = FileBytes::open(path, mmap)?;
        let architecture = header.architecture().unwrap_or_default();
        let mapping = GgufMapping::of(architecture, |name| header.tensor(name).is_some());
        let mapping = mapping.ok_or_else(|| WeightsError::UnsupportedGgufArchitecture {
            path: path.to_owned(),
            architecture: architecture.to_owned(),
            supported: GgufMapping::architectures().join(", "),
        })?;
        let groups = header.get(&format!("{architecture}.ssm.group_count"));
        let groups = groups.and_then(GgufValue::as_u64).unwrap_or(1);
        let groups = usize::try_from(groups).unwrap_or(usize::MAX);
        let (tensors, mut halves) = locate(&header, mapping, &file)?;
        // Some converters have written both forms.
        halves.retain(|name, _| !tensors.contains_key(name));
        let paired = halves.into_iter().map(|(name, halves)| {
            let paired = Paired::new(&name, halves, groups);
            let paired = paired.map_err(|(half, reason)| gguf_error(path, &half, reason))?;
            Ok((name, paired))
        });
        Ok(Self {
            paired: paired.collect::<Result<_>>()?,
            tensors,
            heads: heads(&header, mapping),
            groups,
            file,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Names and shapes.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let whole = self.tensors.iter();
        let whole = whole.map(|(name, entry)| (name.as_str(), entry.shape.as_slice()));
        let paired = self.paired.iter();
        whole.chain(paired.map(|(name, paired)| (name.as_str(), paired.shape.as_slice())))
    }

    /// The type and the bytes of `name`, which is one of [`tensors`](Self::tensors); of one in halves the type of the first.
    pub(crate) fn stored(&self, name: &str) -> (GgmlType, usize) {
        match self.paired.get(name) {
            Some(Paired { halves, .. }) => {
                let bytes = halves.iter().map(|half| half.bytes.len()).sum();
                (halves[0].ggml_type, bytes)
            }
            None => {
                let entry = &self.tensors[name];
                (entry.ggml_type, entry.bytes.len())
            }
        }
    }

    /// The tensor `name`, which is one of [`tensors`](Self::tensors): floats in their own type, blocks decoded to f32.
    /// Shares the map where the values lie in the file as the model has them.
    pub(crate) fn tensor(&self, name: &str) -> Result<HostTensor> {
        match self.paired.get(name) {
            Some(Paired { pair, halves, .. }) => {
                let [first, second] = halves;
                pair.tensor([self.values(first)?, self.values(second)?], self.groups)
            }
            None => self.values(&self.tensors[name]),
        }
    }

    fn values(&self, entry: &Entry) -> Result<HostTensor> {
        let shape = match (entry.stored, entry.shape.as_slice()) {
            (Stored::Transposed, &[rows, cols]) => vec![cols, rows],
            (_, shape) => shape.to_vec(),
        };
        let bytes = self.bytes(entry)?;
        let tensor = match entry.ggml_type {
            GgmlType::Float(dtype) => HostTensor::new(bytes, dtype, shape)?,
            blocks => {
                let (size, len) = (blocks.block_bytes(), blocks.block_len());
                let decode = |bytes: &[u8], out: &mut [f32]| blocks.dequantize(bytes, out);
                HostTensor::from_vec(decode_blocks(&bytes, size, len, decode), shape)?
            }
        };
        match entry.stored {
            Stored::PlusOne => computed(&tensor, |value| value - 1.0),
            Stored::NegatedExponential => computed(&tensor, |value| (-value).ln()),
            Stored::Transposed if tensor.shape().len() == 2 => {
                Operand::from(tensor).transpose(0, 1)?.into_values()
            }
            _ => Ok(tensor),
        }
    }

    /// Whether [`blocks`](Self::blocks) gives the tensor `name`.
    pub(crate) fn has_blocks(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|entry| {
            matches!(entry.ggml_type, GgmlType::Blocks(_))
                && entry.shape.len() == 2
                && entry.keeps_blocks()
        })
    }

    /// The matrix `name` in blocks, if it is stored so and its values need no arithmetic. Shares the map where the rows
    /// lie in the model's order.
    pub(crate) fn blocks(&self, name: &str) -> Result<Option<BlockTensor>> {
        let Some(entry) = self.tensors.get(name) else {
            return Ok(None);
        };
        match (entry.ggml_type, entry.shape.as_slice()) {
            (GgmlType::Blocks(format), &[rows, cols]) if entry.keeps_blocks() => {
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
        let rows = entry.shape.first().copied().unwrap_or_default();
        let order = self.heads.order(entry.stored, rows);
        let order = order.map_err(|reason| gguf_error(self.path(), &entry.gguf_name, reason))?;
        let Some(order) = order else {
            return Ok(bytes);
        };
        let len = bytes.len().checked_div(rows).unwrap_or_default();
        let mut ordered = Vec::with_capacity(bytes.len());
        for row in order {
            ordered.extend_from_slice(&bytes[row * len..][..len]);
        }
        Ok(owned_bytes(ordered))
    }
}

impl Entry {
    /// The tensors of the model that it is, under their names.
    fn parts(mut self, name: String) -> Result<Vec<(String, Self)>, String> {
        match (self.stored, self.shape.as_slice()) {
            (Stored::Stacked, &[count, ref shape @ ..]) if !shape.is_empty() => {
                let size = self.bytes.len().checked_div(count).unwrap_or_default();
                if size < MIN_PART_BYTES {
                    return Err(format!("it parts into {count} tensors of {size} bytes"));
                }
                let part = |index: usize| {
                    let start = self.bytes.start + index * size;
                    let part = Self {
                        gguf_name: self.gguf_name.clone(),
                        ggml_type: self.ggml_type,
                        shape: shape.to_vec(),
                        bytes: start..start + size,
                        stored: Stored::AsIs,
                    };
                    (name.replace(PART, &index.to_string()), part)
                };
                Ok((0..count).map(part).collect())
            }
            (Stored::Stacked, shape) => Err(format!("shape {shape:?} is not of several tensors")),
            // Some converters keep the dimension of one.
            (Stored::Flat, &[1, _]) => Ok(vec![(name, self)]),
            (Stored::Flat, &[_] | &[_, _]) => {
                self.shape.insert(self.shape.len() - 1, 1);
                Ok(vec![(name, self)])
            }
            (Stored::Transposed, &[rows, cols]) => {
                self.shape = vec![cols, rows];
                Ok(vec![(name, self)])
            }
            _ => Ok(vec![(name, self)]),
        }
    }

    /// Whether the model's values are in whole blocks of the file.
    fn keeps_blocks(&self) -> bool {
        !matches!(
            self.stored,
            Stored::PlusOne | Stored::NegatedExponential | Stored::Transposed
        )
    }
}

impl Paired {
    /// The tensor `name` of two halves; an error says which half is at fault, and how.
    fn new(name: &str, halves: Halves, groups: usize) -> Result<Self, (String, String)> {
        let halves = match halves {
            [Some(first), Some(second)] => [first, second],
            [first, second] => {
                let found = first.or(second).map(|half| half.gguf_name);
                let reason = format!("it is one of two that make `{name}`; the other is missing");
                return Err((found.unwrap_or_default(), reason));
            }
        };
        let [first, second] = &halves;
        let faulty = |reason: String| (first.gguf_name.clone(), reason);
        let pair = first.stored.pair();
        let pair = pair.ok_or_else(|| faulty("it is no half of a tensor".into()))?;
        let shape = pair.shape([&first.shape, &second.shape], groups);
        let shape = shape.map_err(|error| {
            faulty(format!(
                "it and `{}` do not make one tensor: {error}",
                second.gguf_name
            ))
        })?;
        Ok(Self {
            pair,
            shape,
            halves,
        })
    }
}

fn computed(tensor: &HostTensor, f: impl Fn(f32) -> f32) -> Result<HostTensor> {
    let bytes = cast_floats(tensor.bytes(), tensor.dtype(), DType::F32)?;
    let values: &[f32] = bytemuck::cast_slice(&bytes);
    let values = values.iter().map(|value| f(*value)).collect();
    HostTensor::from_vec(values, tensor.shape().to_vec())
}

/// Those of the metadata. Bloom has as many key heads as others, and says nothing of them.
fn heads(header: &GgufHeader, mapping: &GgufMapping) -> HeadCounts {
    let count = |key: &str| {
        let value = header.get(&format!("{}.attention.{key}", mapping.architecture))?;
        value.as_u64()?.try_into().ok()
    };
    let query = count("head_count").unwrap_or(0);
    HeadCounts {
        query,
        key_value: count("head_count_kv").unwrap_or(query),
    }
}

/// What a file has of a tensor in two.
type Halves = [Option<Entry>; 2];

/// Finds every tensor's format and bytes, and checks that they lie within the file and apart from each other. Gives the
/// tensors of the model, and apart from them those that are in halves.
fn locate(
    header: &GgufHeader,
    mapping: &GgufMapping,
    file: &FileBytes,
) -> Result<(BTreeMap<String, Entry>, BTreeMap<String, Halves>)> {
    let path = file.path();
    let mut tensors = BTreeMap::new();
    let mut halves: BTreeMap<String, Halves> = BTreeMap::new();
    let mut spans = Vec::new();
    for info in &header.tensors {
        check_name(&info.name).map_err(|reason| {
            let shown: String = info.name.chars().take(200).collect();
            gguf_error(path, &shown.escape_debug().to_string(), reason)
        })?;
        let (name, stored) = mapping
            .translate(&info.name)
            .unwrap_or_else(|| (info.name.clone(), Stored::AsIs));
        let entry = locate_one(header.data_offset, info, stored, file)?;
        spans.push((entry.bytes.clone(), info.name.as_str()));
        if stored.pair().is_some() {
            let second = usize::from(matches!(stored, Stored::Second(_)));
            halves.entry(name).or_default()[second] = Some(entry);
            continue;
        }
        let parts = entry.parts(name);
        for (name, entry) in parts.map_err(|reason| gguf_error(path, &info.name, reason))? {
            if let Some(other) = tensors.insert(name, entry) {
                let reason = format!("it and `{}` are one tensor of the model", other.gguf_name);
                return Err(gguf_error(path, &info.name, reason));
            }
        }
    }
    spans.sort_by_key(|(bytes, _)| (bytes.start, bytes.end));
    for pair in spans.windows(2) {
        let [(before, first), (bytes, second)] = pair else {
            continue;
        };
        if bytes.start < before.end {
            let reason = format!("its data overlaps that of `{first}`");
            return Err(gguf_error(path, second, reason));
        }
    }
    Ok((tensors, halves))
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
            shape: info.shape.clone(),
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
