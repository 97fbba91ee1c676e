//! One file of `torch.save`: a zip archive, or the pickles and raw storages of older releases.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::ops::Range;
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use crate::file_bytes::FileBytes;
use crate::names::check_name;
use crate::pickle::{self, Tensor, Value, Values};
use crate::tensor::{element_count, owned_bytes};
use crate::{DType, HostTensor, Result, WeightsError};

/// Far more than the names of any model need; values take more memory than they take in the file.
const MAX_PICKLE_BYTES: usize = 32 << 20;
/// What the older files begin with, as a pickled number.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const LEGACY_PROTOCOL: u64 = 1001;

/// An open file of `torch.save`.
#[derive(Debug)]
pub(crate) struct TorchFile {
    file: FileBytes,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    tensor: Tensor,
    /// The storage within the file.
    storage: Range<usize>,
}

/// Where a storage lies, by its key.
type Storages = HashMap<String, Range<usize>>;

impl TorchFile {
    pub(crate) fn open(path: &Path, mmap: bool) -> Result<Self> {
        let file = FileBytes::open(path, mmap)?;
        let read = match file.len() >= 4 && file.slice(0..4)?[..] == *b"PK\x03\x04" {
            true => read_zip(&file)?,
            false => read_legacy(&file)?,
        };
        let tensors = read.tensors(path)?;
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
        let tensors = self.tensors.iter();
        tensors.map(|(name, entry)| (name.as_str(), entry.tensor.shape.as_slice()))
    }

    /// The element type of `name`, which is one of [`tensors`](Self::tensors).
    pub(crate) fn dtype(&self, name: &str) -> DType {
        self.tensors[name].tensor.dtype
    }

    /// The type of `name`, which is one of [`tensors`](Self::tensors), and the bytes of its elements.
    pub(crate) fn stored(&self, name: &str) -> (DType, usize) {
        let tensor = &self.tensors[name].tensor;
        let count = element_count(&tensor.shape).unwrap_or(0);
        (tensor.dtype, count * tensor.dtype.size())
    }

    /// The tensor `name`, which is one of [`tensors`](Self::tensors); shares the map where the elements lie in order.
    pub(crate) fn tensor(&self, name: &str) -> Result<HostTensor> {
        let Entry { tensor, storage } = &self.tensors[name];
        let size = tensor.dtype.size();
        let (first, last) = extent(tensor);
        let from = storage.start + first * size;
        let bytes = self.file.slice(from..from + (last - first) * size)?;
        if is_contiguous(tensor) {
            return HostTensor::new(bytes, tensor.dtype, tensor.shape.clone());
        }
        let mut gathered = Vec::with_capacity(bytes.len());
        for element in elements(tensor) {
            gathered.extend_from_slice(&bytes[element * size..][..size]);
        }
        HostTensor::new(owned_bytes(gathered), tensor.dtype, tensor.shape.clone())
            .map(HostTensor::aligned)
    }
}

/// Positions of the elements in row-major order, from the first of them on.
fn elements(tensor: &Tensor) -> impl Iterator<Item = usize> {
    let mut index = vec![0; tensor.shape.len()];
    let mut position = 0;
    let count = element_count(&tensor.shape).unwrap_or(0);
    (0..count).map(move |_| {
        let current = position;
        for dim in (0..index.len()).rev() {
            index[dim] += 1;
            position += tensor.strides[dim];
            if index[dim] < tensor.shape[dim] {
                break;
            }
            position -= index[dim] * tensor.strides[dim];
            index[dim] = 0;
        }
        current
    })
}

fn is_contiguous(tensor: &Tensor) -> bool {
    let mut expected = 1;
    let dims = tensor.shape.iter().zip(&tensor.strides).rev();
    element_count(&tensor.shape) == Some(0)
        || dims.into_iter().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expected;
            expected *= size;
            fits
        })
}

/// The first element in the storage and the one after the last; checked when the file was opened.
fn extent(tensor: &Tensor) -> (usize, usize) {
    checked_extent(tensor).unwrap_or((0, 0))
}

fn checked_extent(tensor: &Tensor) -> Option<(usize, usize)> {
    let start = usize::try_from(tensor.start).ok()?;
    if element_count(&tensor.shape)? == 0 {
        return Some((start, start));
    }
    let mut last = start;
    for (size, stride) in tensor.shape.iter().zip(&tensor.strides) {
        last = last.checked_add((size - 1).checked_mul(*stride)?)?;
    }
    Some((start, last.checked_add(1)?))
}

/// A pickle of tensors, and the storages that they refer to.
struct Read {
    values: Values,
    root: usize,
    storages: Storages,
}

impl Read {
    fn tensors(&self, path: &Path) -> Result<BTreeMap<String, Entry>> {
        let mut entries = BTreeMap::new();
        let tensors = self.values.tensors(self.root);
        for (name, tensor) in tensors.map_err(|reason| damaged(path, "data", reason))? {
            let refused =
                |reason: String| damaged(path, &format!("tensor `{}`", shown(name)), reason);
            check_name(name).map_err(refused)?;
            let entry = self.entry(tensor).map_err(refused)?;
            if entries.insert(name.to_owned(), entry).is_some() {
                return Err(refused("it is there twice".into()));
            }
        }
        if entries.is_empty() {
            return Err(damaged(path, "data", "there are no tensors in it".into()));
        }
        Ok(entries)
    }

    fn entry(&self, tensor: &Tensor) -> Result<Entry, String> {
        let key = &tensor.storage.key;
        let found = self.storages.get(key);
        let storage = found.ok_or_else(|| format!("its storage `{}` is missing", shown(key)))?;
        let held = storage.len() / tensor.dtype.size();
        let extent = checked_extent(tensor).filter(|(_, end)| *end <= held);
        // Elements that share a place in the file could make a small file a tensor of any size.
        let fits = element_count(&tensor.shape).is_some_and(|count| count <= held);
        if extent.is_none() || !fits {
            return Err(format!(
                "shape {:?} with strides {:?} at element {} does not lie within its storage of {held}",
                tensor.shape, tensor.strides, tensor.start
            ));
        }
        Ok(Entry {
            tensor: tensor.clone(),
            storage: storage.clone(),
        })
    }
}

fn read_zip(file: &FileBytes) -> Result<Read> {
    let path = file.path();
    let refused = |what: &str, reason: String| damaged(path, what, reason);
    let reader = File::open(path).map_err(|source| WeightsError::io("opening", path, source))?;
    let mut archive = ZipArchive::new(BufReader::new(reader))
        .map_err(|error| refused("archive", error.to_string()))?;
    let mut parts = HashMap::new();
    for index in 0..archive.len() {
        let (name, range) = zip_part(&mut archive, index, file.len())
            .map_err(|reason| refused(&format!("archive entry {index}"), reason))?;
        if parts.insert(name.clone(), range).is_some() {
            return Err(refused(
                &format!("archive entry `{}`", shown(&name)),
                "it is there twice".into(),
            ));
        }
    }
    let pickles: Vec<_> = parts
        .iter()
        .filter_map(|(name, range)| Some((name.strip_suffix("/data.pkl")?, range)))
        .collect();
    let &[(folder, pickle)] = pickles.as_slice() else {
        let reason = format!("it has {} parts `data.pkl`, expected 1", pickles.len());
        return Err(refused("archive", reason));
    };
    if let Some(order) = parts.get(&format!("{folder}/byteorder"))
        && order.len() < 16
        && file.slice(order.clone())?[..] != *b"little"
    {
        return Err(refused("archive", "its numbers are big endian".into()));
    }
    if pickle.len() > MAX_PICKLE_BYTES {
        let reason = format!(
            "{} bytes, of which {MAX_PICKLE_BYTES} are allowed",
            pickle.len()
        );
        return Err(refused("data.pkl", reason));
    }
    let (values, root, _) =
        pickle::read(&file.slice(pickle.clone())?).map_err(|reason| refused("data.pkl", reason))?;
    let data = format!("{folder}/data/");
    let storages = parts
        .iter()
        .filter_map(|(name, range)| Some((name.strip_prefix(&data)?.to_owned(), range.clone())));
    Ok(Read {
        storages: storages.collect(),
        values,
        root,
    })
}

/// The name of an archive's entry, and where its bytes lie.
fn zip_part(
    archive: &mut ZipArchive<BufReader<File>>,
    index: usize,
    file_len: usize,
) -> Result<(String, Range<usize>), String> {
    let part = archive
        .by_index_raw(index)
        .map_err(|error| error.to_string())?;
    let name = part.name().map_err(|error| error.to_string())?.into_owned();
    if part.encrypted() || part.compression() != CompressionMethod::Stored {
        return Err(format!("`{}` is compressed or encrypted", shown(&name)));
    }
    let start = part
        .data_start()
        .and_then(|start| usize::try_from(start).ok());
    let len = usize::try_from(part.size()).ok();
    let range = start
        .zip(len)
        .and_then(|(start, len)| Some(start..start.checked_add(len)?));
    match range.filter(|range| range.end <= file_len) {
        Some(range) => Ok((name, range)),
        None => Err(format!("`{}` does not lie within the file", shown(&name))),
    }
}

fn read_legacy(file: &FileBytes) -> Result<Read> {
    let path = file.path();
    let refused = |what: &str, reason: String| damaged(path, what, reason);
    let head = file.slice(0..file.len().min(MAX_PICKLE_BYTES))?;
    let mut at = 0;
    let mut next = |what: &str| {
        let (values, root, len) =
            pickle::read(&head[at..]).map_err(|reason| refused(what, reason))?;
        at += len;
        Ok::<_, WeightsError>((values, root))
    };
    let (values, magic) = next("header")?;
    if !matches!(values.get(magic), Value::LongInt(bytes) if *bytes == LEGACY_MAGIC) {
        return Err(refused("header", "it is not a file of torch.save".into()));
    }
    let (values, protocol) = next("protocol")?;
    if values.int(protocol) != Ok(LEGACY_PROTOCOL) {
        return Err(refused("protocol", format!("it is not {LEGACY_PROTOCOL}")));
    }
    let (system, root) = next("system")?;
    if !matches!(system.entry(root, "little_endian"), Some(Value::Bool(true))) {
        return Err(refused("system", "its numbers are big endian".into()));
    }
    let (values, root) = next("data")?;
    let (keys, list) = next("storages")?;
    let Value::List(list) = keys.get(list) else {
        return Err(refused("storages", "there is no list of them".into()));
    };
    let sizes = storage_sizes(&values);
    let mut storages = Storages::new();
    for &key in list {
        let Value::Text(key) = keys.get(key) else {
            return Err(refused("storages", "the name of one is not a text".into()));
        };
        let refused = |reason: &str| refused(&format!("storage `{}`", shown(key)), reason.into());
        let size = *sizes
            .get(key.as_str())
            .ok_or_else(|| refused("no tensor uses it"))?;
        let data = at.checked_add(8).filter(|data| *data <= file.len());
        let data = data.ok_or_else(|| refused("the file ends before it"))?;
        let len = file.slice(at..data)?;
        let len = len
            .iter()
            .rfold(0_u64, |len, byte| len << 8 | u64::from(*byte));
        let end = usize::try_from(len)
            .ok()
            .and_then(|len| len.checked_mul(size));
        let end = end
            .and_then(|len| data.checked_add(len))
            .filter(|end| *end <= file.len());
        at = end.ok_or_else(|| refused("the file ends within it"))?;
        if storages.insert(key.clone(), data..at).is_some() {
            return Err(refused("it is there twice"));
        }
    }
    Ok(Read {
        values,
        root,
        storages,
    })
}

/// Bytes per element of each storage.
fn storage_sizes(values: &Values) -> HashMap<&str, usize> {
    let storages = values.iter().filter_map(|value| match value {
        Value::Storage(storage) => Some((storage.key.as_str(), storage.element_size())),
        _ => None,
    });
    storages.collect()
}

/// Enough of a name for a message.
fn shown(name: &str) -> String {
    name.chars()
        .take(200)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

fn damaged(path: &Path, what: &str, reason: String) -> WeightsError {
    WeightsError::Torch {
        path: path.to_owned(),
        what: what.to_owned(),
        reason,
    }
}
