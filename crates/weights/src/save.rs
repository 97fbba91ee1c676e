//! Writing a checkpoint: one safetensors file, or shards and their index, byte for byte as the reference writes them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;

use crate::{HostTensor, Result, WeightsError};

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";

type Shard = Vec<(String, HostTensor)>;

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

/// Writes `tensors` into the folder `dir`: as `model.safetensors`, or, where they exceed `max_shard_size` bytes, as
/// `model-00001-of-0000N.safetensors` and so on with their index. Shards are filled in the order given; a tensor larger
/// than the limit has one of its own.
///
/// Everything is written under temporary names and then renamed, so the folder's old weights stay whole until the new ones
/// are, and tensors may be views of the very files that are replaced. Weights of an earlier save that are no longer part
/// of the checkpoint are removed.
pub fn save_safetensors(
    dir: &Path,
    tensors: Vec<(String, HostTensor)>,
    max_shard_size: u64,
) -> Result<()> {
    let mut names = HashSet::new();
    if let Some((name, _)) = tensors
        .iter()
        .find(|(name, _)| !names.insert(name.as_str()))
    {
        return Err(WeightsError::SavedTwice {
            path: dir.to_owned(),
            name: name.clone(),
        });
    }
    fs::create_dir_all(dir).map_err(|source| WeightsError::io("creating", dir, source))?;
    let temporary = tempfile::Builder::new()
        .prefix(".saving-")
        .tempdir_in(dir)
        .map_err(|source| WeightsError::io("writing", dir, source))?;

    let mut index = Index {
        metadata: IndexMetadata {
            total_parameters: tensors.iter().map(|(_, tensor)| tensor.len()).sum(),
            total_size: tensors.iter().map(|(_, tensor)| tensor.bytes().len()).sum(),
        },
        weight_map: BTreeMap::new(),
    };
    let shards = split(tensors, max_shard_size);
    let count = shards.len();
    let mut written = Vec::new();
    for (number, shard) in (1..).zip(shards) {
        let file = match count {
            1 => SINGLE_FILE.to_owned(),
            _ => format!("model-{number:05}-of-{count:05}.safetensors"),
        };
        let names = shard.iter().map(|(name, _)| (name.clone(), file.clone()));
        index.weight_map.extend(names);
        write_file(&temporary.path().join(&file), shard)?;
        written.push(file);
    }
    if count > 1 {
        let path = temporary.path().join(INDEX_FILE);
        write_index(&path, &index).map_err(|source| WeightsError::io("writing", &path, source))?;
        written.push(INDEX_FILE.to_owned());
    }
    for file in &written {
        let target = dir.join(file);
        fs::rename(temporary.path().join(file), &target)
            .map_err(|source| WeightsError::io("writing", &target, source))?;
    }
    remove_stale(dir, &written)
}

fn split(tensors: Shard, max_shard_size: u64) -> Vec<Shard> {
    let mut shards = Vec::new();
    let mut current = Shard::new();
    let mut current_size = 0_u64;
    for (name, tensor) in tensors {
        let size = tensor.bytes().len() as u64;
        if size > max_shard_size {
            shards.push(vec![(name, tensor)]);
            continue;
        }
        if current_size + size > max_shard_size {
            shards.push(std::mem::take(&mut current));
            current_size = 0;
        }
        current.push((name, tensor));
        current_size += size;
    }
    if !current.is_empty() || shards.is_empty() {
        shards.push(current);
    }
    shards
}

/// The largest alignment first, then by name: the order that keeps every tensor aligned.
fn write_file(path: &Path, mut tensors: Shard) -> Result<()> {
    tensors.sort_by(|(left_name, left), (right_name, right)| {
        let by_alignment = right.dtype().stored().cmp(&left.dtype().stored());
        by_alignment.then_with(|| left_name.cmp(right_name))
    });
    let write = || {
        let header = header(&tensors)?;
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (_, tensor) in &tensors {
            file.write_all(tensor.bytes())?;
        }
        file.into_inner()?.sync_all()
    };
    write().map_err(|source| WeightsError::io("writing", path, source))
}

fn header(tensors: &[(String, HostTensor)]) -> std::io::Result<Vec<u8>> {
    let mut end = 0;
    let entries = tensors.iter().map(|(name, tensor)| {
        let start = end;
        end += tensor.bytes().len();
        let info = TensorInfo {
            dtype: tensor.dtype().stored(),
            shape: tensor.shape().to_vec(),
            data_offsets: (start, end),
        };
        (name.clone(), info)
    });
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(format), entries.collect()).map_err(std::io::Error::other)?;
    let mut json = serde_json::to_vec(&metadata)?;
    json.resize(json.len().next_multiple_of(size_of::<u64>()), b' ');
    Ok(json)
}

fn write_index(path: &Path, index: &Index) -> std::io::Result<()> {
    let mut json = serde_json::to_vec_pretty(index)?;
    json.push(b'\n');
    let mut file = File::create(path)?;
    file.write_all(&json)?;
    file.sync_all()
}

/// A stale `model.safetensors` would be loaded in place of new shards, and a stale shard is dead weight.
fn remove_stale(dir: &Path, written: &[String]) -> Result<()> {
    let io = |operation| move |source| WeightsError::io(operation, dir, source);
    for entry in fs::read_dir(dir).map_err(io("listing"))? {
        let entry = entry.map_err(io("listing"))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if is_ours(name) && !written.iter().any(|file| file == name) {
            fs::remove_file(entry.path())
                .map_err(|source| WeightsError::io("removing", &entry.path(), source))?;
        }
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    let shard = || {
        let number = name.strip_prefix("model-")?.strip_suffix(".safetensors")?;
        let (number, count) = number.split_once("-of-")?;
        let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        Some(is_number(number) && is_number(count))
    };
    name == SINGLE_FILE || name == INDEX_FILE || shard() == Some(true)
}
