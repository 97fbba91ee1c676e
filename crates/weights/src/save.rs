//! Writing a checkpoint: one safetensors file, or shards and their index, byte for byte as the reference writes them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;

use crate::{HostTensor, LazyTensor, Result, ShardSize, WeightsError};

/// How a checkpoint is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// The size above which a checkpoint is parted into shards.
    pub max_shard_size: ShardSize,
    /// A variant of the weights: `fp16` writes `model.fp16.safetensors`.
    pub variant: Option<String>,
}

type Shard = Vec<LazyTensor>;

/// The members in alphabetical order, as the reference sorts them.
#[derive(Serialize)]
struct Index {
    metadata: IndexMetadata,
    weight_map: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct IndexMetadata {
    total_parameters: usize,
    total_size: usize,
}

/// The names of a checkpoint's files.
struct Names {
    /// `model`, or `model.fp16` for a variant.
    stem: String,
    index: String,
}

impl Names {
    fn new(options: &SaveOptions) -> Self {
        let variant = options
            .variant
            .as_ref()
            .map(|variant| format!(".{variant}"));
        let variant = variant.unwrap_or_default();
        Self {
            stem: format!("model{variant}"),
            index: format!("model.safetensors.index{variant}.json"),
        }
    }

    fn file(&self, number: usize, count: usize) -> String {
        match count {
            1 => format!("{}.safetensors", self.stem),
            _ => format!("{}-{number:05}-of-{count:05}.safetensors", self.stem),
        }
    }

    fn is_ours(&self, name: &str) -> bool {
        let shard = || {
            let number = name.strip_prefix(&self.stem)?.strip_prefix('-')?;
            let (number, count) = number.strip_suffix(".safetensors")?.split_once("-of-")?;
            let is_number =
                |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
            Some(is_number(number) && is_number(count))
        };
        name == self.file(1, 1) || name == self.index || shard() == Some(true)
    }
}

/// Leaves out tensors that are another one under a second name, given as pairs of that name and the other, unless their values
/// differ or the other is not there.
pub fn without_tied(
    tensors: Vec<(String, HostTensor)>,
    tied: &[(String, String)],
) -> Vec<(String, HostTensor)> {
    let by_name: HashMap<&str, &HostTensor> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let is_twin = |(target, source): &&(String, String)| {
        let pair = by_name
            .get(target.as_str())
            .zip(by_name.get(source.as_str()));
        pair.is_some_and(|(target, source)| target == source)
    };
    let twins: HashSet<&str> = tied
        .iter()
        .filter(is_twin)
        .map(|(target, _)| target.as_str())
        .collect();
    tensors
        .iter()
        .filter(|(name, _)| !twins.contains(name.as_str()))
        .cloned()
        .collect()
}

/// Writes `tensors` into the folder `dir` in shards of at most `max_shard_size` bytes, see [`save_checkpoint`].
///
/// # Errors
/// As [`save_checkpoint`].
pub fn save_safetensors(
    dir: &Path,
    tensors: Vec<(String, HostTensor)>,
    max_shard_size: u64,
) -> Result<()> {
    let options = SaveOptions {
        max_shard_size: ShardSize::of_bytes(max_shard_size),
        ..SaveOptions::default()
    };
    save_checkpoint(
        dir,
        tensors.into_iter().map(LazyTensor::from).collect(),
        &options,
    )
}

/// Writes `tensors` into the folder `dir`: as `model.safetensors`, or, where they exceed the largest size of a shard, as
/// `model-00001-of-0000N.safetensors` and so on with their index. Shards are filled in the order given; a tensor larger
/// than the limit has one of its own. Tensors that are still to be converted are so one group at a time.
///
/// Everything is written under temporary names and then renamed, so the folder's old weights stay whole until the new ones
/// are, and tensors may be views of the very files that are replaced. Weights of an earlier save that are no longer part
/// of the checkpoint are removed.
///
/// # Errors
/// If a name is there twice, a conversion fails, or writing does.
pub fn save_checkpoint(dir: &Path, tensors: Vec<LazyTensor>, options: &SaveOptions) -> Result<()> {
    let mut names = HashSet::new();
    if let Some(tensor) = tensors.iter().find(|tensor| !names.insert(tensor.name())) {
        return Err(WeightsError::SavedTwice {
            path: dir.to_owned(),
            name: tensor.name().to_owned(),
        });
    }
    fs::create_dir_all(dir).map_err(|source| WeightsError::io("creating", dir, source))?;
    let temporary = tempfile::Builder::new()
        .prefix(".saving-")
        .tempdir_in(dir)
        .map_err(|source| WeightsError::io("writing", dir, source))?;

    let names = Names::new(options);
    // Where nothing is replaced, nothing can be lost with the power either.
    let replaces = !stale(dir, &names, &[])?.is_empty();
    let mut index = Index {
        metadata: IndexMetadata {
            total_parameters: tensors.iter().map(LazyTensor::len).sum(),
            total_size: tensors.iter().map(LazyTensor::byte_len).sum(),
        },
        weight_map: BTreeMap::new(),
    };
    let shards = split(tensors, options.max_shard_size.bytes());
    let count = shards.len();
    let mut written = Vec::new();
    for (number, shard) in (1..).zip(shards) {
        let file = names.file(number, count);
        let held = shard
            .iter()
            .map(|tensor| (tensor.name().to_owned(), file.clone()));
        index.weight_map.extend(held);
        write_file(&temporary.path().join(&file), shard, replaces)?;
        written.push(file);
    }
    if count > 1 {
        let path = temporary.path().join(&names.index);
        write_index(&path, &index, replaces)
            .map_err(|source| WeightsError::io("writing", &path, source))?;
        written.push(names.index.clone());
    }
    for file in &written {
        let target = dir.join(file);
        fs::rename(temporary.path().join(file), &target)
            .map_err(|source| WeightsError::io("writing", &target, source))?;
    }
    remove_stale(dir, &names, &written)
}

/// Writes `tensors` into one file; it is whole or not there.
///
/// # Errors
/// As [`save_checkpoint`].
pub fn save_file(path: &Path, tensors: Vec<LazyTensor>) -> Result<()> {
    let mut names = HashSet::new();
    if let Some(tensor) = tensors.iter().find(|tensor| !names.insert(tensor.name())) {
        return Err(WeightsError::SavedTwice {
            path: path.to_owned(),
            name: tensor.name().to_owned(),
        });
    }
    let io = |source| WeightsError::io("writing", path, source);
    let dir = path.parent().unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new()
        .prefix(".saving-")
        .tempdir_in(dir)
        .map_err(io)?;
    let unfinished = temporary.path().join("tensors");
    write_file(&unfinished, tensors, path.exists())?;
    fs::rename(&unfinished, path).map_err(io)
}

fn split(tensors: Shard, max_shard_size: u64) -> Vec<Shard> {
    let mut shards = Vec::new();
    let mut current = Shard::new();
    let mut current_size = 0_u64;
    for tensor in tensors {
        let size = tensor.byte_len() as u64;
        if size > max_shard_size {
            shards.push(vec![tensor]);
            continue;
        }
        if current_size + size > max_shard_size {
            shards.push(std::mem::take(&mut current));
            current_size = 0;
        }
        current.push(tensor);
        current_size += size;
    }
    if !current.is_empty() || shards.is_empty() {
        shards.push(current);
    }
    shards
}

/// The largest alignment first, then by name: the order that keeps every tensor aligned.
fn write_file(path: &Path, mut tensors: Shard, sync: bool) -> Result<()> {
    tensors.sort_by(|left, right| {
        let by_alignment = right.dtype().stored().cmp(&left.dtype().stored());
        by_alignment.then_with(|| left.name().cmp(right.name()))
    });
    let io = |source| WeightsError::io("writing", path, source);
    let header = header(&tensors).map_err(io)?;
    let mut file = BufWriter::new(File::create(path).map_err(io)?);
    file.write_all(&(header.len() as u64).to_le_bytes())
        .map_err(io)?;
    file.write_all(&header).map_err(io)?;
    for tensor in tensors {
        let (_, tensor) = tensor.into_tensor()?;
        file.write_all(tensor.bytes()).map_err(io)?;
    }
    let file = file.into_inner().map_err(|error| io(error.into_error()))?;
    match sync {
        true => file.sync_all().map_err(io),
        false => Ok(()),
    }
}

fn header(tensors: &[LazyTensor]) -> std::io::Result<Vec<u8>> {
    let mut end = 0;
    let entries = tensors.iter().map(|tensor| {
        let start = end;
        end += tensor.byte_len();
        let info = TensorInfo {
            dtype: tensor.dtype().stored(),
            shape: tensor.shape().to_vec(),
            data_offsets: (start, end),
        };
        (tensor.name().to_owned(), info)
    });
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(format), entries.collect()).map_err(std::io::Error::other)?;
    let mut json = serde_json::to_vec(&metadata)?;
    json.resize(json.len().next_multiple_of(size_of::<u64>()), b' ');
    Ok(json)
}

fn write_index(path: &Path, index: &Index, sync: bool) -> std::io::Result<()> {
    let mut json = serde_json::to_vec_pretty(index)?;
    json.push(b'\n');
    let mut file = File::create(path)?;
    file.write_all(&json)?;
    match sync {
        true => file.sync_all(),
        false => Ok(()),
    }
}

/// A stale `model.safetensors` would be loaded in place of new shards, and a stale shard is dead weight.
fn remove_stale(dir: &Path, names: &Names, written: &[String]) -> Result<()> {
    for path in stale(dir, names, written)? {
        fs::remove_file(&path).map_err(|source| WeightsError::io("removing", &path, source))?;
    }
    Ok(())
}

/// The weights of this name in the folder that are not among those written.
fn stale(dir: &Path, names: &Names, written: &[String]) -> Result<Vec<PathBuf>> {
    let io = |source| WeightsError::io("listing", dir, source);
    let mut stale = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if names.is_ours(name) && !written.iter().any(|file| file == name) {
            stale.push(entry.path());
        }
    }
    Ok(stale)
}
