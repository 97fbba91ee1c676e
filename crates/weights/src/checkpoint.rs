//! A model's tensors by name, wherever they are stored: one safetensors file, shards with an index, GGUF, or memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use transformers_hub::ModelFiles;

use crate::conversion::Operand;
use crate::gguf::GgufFile;
use crate::index::{ShardIndex, index_error};
use crate::natural_order;
use crate::safetensors::SafetensorsFile;
use crate::tensor::element_count;
use crate::torch_file::TorchFile;
use crate::{BlockTensor, DType, HostTensor, Result, WeightsError};

/// A checkpoint, opened lazily: headers are read and checked, tensors are read when they are asked for.
#[derive(Debug)]
pub struct Checkpoint {
    /// For messages.
    label: String,
    stores: Vec<Store>,
    /// In natural order of the names.
    tensors: Vec<Located>,
    /// What an index says.
    stated_dtype: Option<DType>,
}

/// How a tensor lies in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// What the format calls its type: `BF16`, `F8_E4M3`, `Q4_K`.
    pub dtype: String,
    /// Bytes.
    pub bytes: usize,
    /// The file; `None` for tensors in memory.
    pub file: Option<PathBuf>,
}

/// How to open a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// A variant of the weights: `fp16` selects `model.fp16.safetensors`.
    pub variant: Option<String>,
    /// Map files into memory instead of reading them (the default). Mapped tensors are not copied and share the system's
    /// file cache. What becomes of a mapped file that is changed in place is undefined: other values, or, where it is cut
    /// short, the end of the process. Reading notices that; it is for such files and for network file systems.
    pub mmap: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            variant: None,
            mmap: true,
        }
    }
}

#[derive(Debug)]
struct Located {
    name: String,
    shape: Vec<usize>,
    /// Which of the stores.
    store: usize,
}

#[derive(Debug)]
enum Store {
    Safetensors(SafetensorsFile),
    Torch(TorchFile),
    Gguf(GgufFile),
    Memory(BTreeMap<String, HostTensor>),
}

impl Checkpoint {
    /// Opens the weights among a model's files: the GGUF file if it is one, else `model.safetensors`, else the shards that
    /// `model.safetensors.index.json` lists, else `pytorch_model.bin` or its shards, of which nothing but tensors is read.
    ///
    /// # Errors
    /// If there are none, or a file is damaged or in a format that is not read.
    pub fn open(files: &ModelFiles, options: &OpenOptions) -> Result<Self> {
        if let Some(path) = files.gguf()? {
            return Self::open_file(&path, options);
        }
        let mut looked_for = Vec::new();
        for (stem, extension) in [("model", ".safetensors"), ("pytorch_model", ".bin")] {
            let single = with_variant(stem, extension, options);
            if let Some(path) = files.find(&single)? {
                return Self::open_file(&path, options);
            }
            let index = with_variant(&format!("{stem}{extension}.index"), ".json", options);
            if let Some(path) = files.find(&index)? {
                return Self::open_shards(files, &path, options);
            }
            looked_for.extend([single, index]);
        }
        Err(no_weights(files, &looked_for))
    }

    /// Opens one file: `.gguf`; `.bin`, `.pt`, `.pth` or `.ckpt` of `torch.save`; or safetensors of any other name.
    ///
    /// # Errors
    /// If the file is damaged, or holds what is not read.
    pub fn open_file(path: &Path, options: &OpenOptions) -> Result<Self> {
        let store = Store::open(path, options)?;
        let label = path.display().to_string();
        Ok(Self::over(label, vec![store], |_, _| true))
    }

    /// A checkpoint of tensors in memory, for weights that come from elsewhere; of two with one name the last counts.
    pub fn from_tensors(tensors: impl IntoIterator<Item = (String, HostTensor)>) -> Self {
        let store = Store::Memory(tensors.into_iter().collect());
        Self::over("the checkpoint in memory".into(), vec![store], |_, _| true)
    }

    fn open_shards(files: &ModelFiles, path: &Path, options: &OpenOptions) -> Result<Self> {
        let index = ShardIndex::read(path)?;
        let mut shards = BTreeMap::new();
        for name in index.files() {
            let shard = files.find(name)?.ok_or_else(|| {
                let reason = "there is no such file".to_owned();
                index_error(path, &format!("shard `{name}`"), reason)
            })?;
            shards.insert(name, Store::open(&shard, options)?);
        }
        for (tensor, file) in &index.weight_map {
            if !shards[file.as_str()].contains(tensor) {
                let reason = format!("it is not in its shard `{file}`");
                return Err(index_error(path, &format!("tensor `{tensor}`"), reason));
            }
        }
        let (names, stores): (Vec<&str>, Vec<Store>) = shards.into_iter().unzip();
        // Shards may hold tensors that the index does not list, and copies of those of other shards.
        let belongs = |tensor: &str, store: usize| match index.weight_map.get(tensor) {
            Some(file) => file == names[store],
            None => true,
        };
        Ok(Self {
            stated_dtype: index.dtype,
            ..Self::over(path.display().to_string(), stores, belongs)
        })
    }

    /// Gathers the tensors of `stores` that `belongs` accepts; of two with one name the first counts.
    fn over(label: String, stores: Vec<Store>, belongs: impl Fn(&str, usize) -> bool) -> Self {
        let mut tensors: Vec<Located> = Vec::new();
        for (index, store) in stores.iter().enumerate() {
            let held = store
                .tensors()
                .into_iter()
                .filter(|(name, _)| belongs(name, index));
            tensors.extend(held.map(|(name, shape)| Located {
                name: name.to_owned(),
                shape: shape.to_vec(),
                store: index,
            }));
        }
        // Stable: a name's first holder stays first.
        tensors.sort_by(|a, b| natural_order::compare(&a.name, &b.name));
        tensors.dedup_by(|later, first| later.name == first.name);
        Self {
            label,
            stores,
            tensors,
            stated_dtype: None,
        }
    }

    /// The names in natural order: layer 2 before layer 10. Those of a GGUF file are the Hugging Face names; tensors that
    /// have none keep their own.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str())
    }

    /// Whether there is a tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.locate(name).is_ok()
    }

    /// The shape of the tensor `name`.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.locate(name)?.shape)
    }

    /// The element type of the tensor `name`; for those of a GGUF file f32, which all of them are decoded to in Python.
    pub fn dtype(&self, name: &str) -> Result<DType> {
        self.stores[self.locate(name)?.store].dtype(name)
    }

    /// How the tensor `name` lies in its file, also where its type is one that is not read.
    pub fn stored(&self, name: &str) -> Result<StoredTensor> {
        Ok(self.stores[self.locate(name)?.store].stored(name))
    }

    /// The tensor `name`: a view of the mapped file where it can be used as it lies, else read, or decoded to f32 from
    /// blocks.
    pub fn tensor(&self, name: &str) -> Result<HostTensor> {
        self.stores[self.locate(name)?.store].tensor(name)
    }

    /// The tensor `name` for a conversion.
    pub(crate) fn operand(&self, name: &str) -> Result<Operand> {
        match &self.stores[self.locate(name)?.store] {
            Store::Safetensors(file) => file.operand(name),
            store => Ok(store.tensor(name)?.into()),
        }
    }

    /// The bytes of the tensor `name` as [`tensor`](Self::tensor) gives it.
    pub(crate) fn size(&self, name: &str) -> Result<usize> {
        let count = element_count(self.shape(name)?).unwrap_or(usize::MAX);
        Ok(count.saturating_mul(self.dtype(name)?.size()))
    }

    /// Whether giving the tensor `name` takes memory of its own: it is read, or decoded from a GGUF file, not mapped.
    pub fn copies(&self, name: &str) -> bool {
        let store = self.locate(name).map(|tensor| &self.stores[tensor.store]);
        match store {
            Ok(Store::Safetensors(file)) => !file.is_mapped(),
            Ok(Store::Torch(file)) => !file.is_mapped(),
            Ok(Store::Gguf(_)) => true,
            Ok(Store::Memory(_)) | Err(_) => false,
        }
    }

    /// The matrix `name` in quantised blocks, if it is stored so: a view of the mapped file where the rows lie in the
    /// model's order.
    pub fn blocks(&self, name: &str) -> Result<Option<BlockTensor>> {
        self.stores[self.locate(name)?.store].blocks(name)
    }

    /// Whether [`blocks`](Self::blocks) gives the tensor `name`; it is not read.
    pub fn has_blocks(&self, name: &str) -> bool {
        let store = self.locate(name).map(|tensor| &self.stores[tensor.store]);
        matches!(store, Ok(Store::Gguf(file)) if file.has_blocks(name))
    }

    /// What the model was saved as, where its configuration does not say: what an index says, or else the type of the first
    /// floating-point tensor, by the alphabet and of the first file that has one.
    pub fn dtype_hint(&self) -> Option<DType> {
        if self.stated_dtype.is_some() {
            return self.stated_dtype;
        }
        let typed = self.tensors.iter().filter_map(|tensor| {
            let dtype = self.stores[tensor.store].dtype(&tensor.name).ok()?;
            dtype.is_float().then_some((tensor, dtype))
        });
        let first = typed.min_by_key(|(tensor, _)| (tensor.store, tensor.name.as_str()));
        first.map(|(_, dtype)| dtype)
    }

    fn locate(&self, name: &str) -> Result<&Located> {
        self.tensors
            .binary_search_by(|tensor| natural_order::compare(&tensor.name, name))
            .map(|position| &self.tensors[position])
            .map_err(|_| self.no_such_tensor(name))
    }

    fn no_such_tensor(&self, name: &str) -> WeightsError {
        let ends_with = |long: &str, short: &str| {
            long.strip_suffix(short)
                .is_some_and(|rest| rest.ends_with('.'))
        };
        let alike = |other: &&str| ends_with(other, name) || ends_with(name, other);
        WeightsError::NoSuchTensor {
            checkpoint: self.label.clone(),
            name: name.to_owned(),
            hint: self
                .names()
                .find(alike)
                .map_or_else(String::new, |other| format!("; it has `{other}`")),
        }
    }
}

impl Store {
    fn open(path: &Path, options: &OpenOptions) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        Ok(match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("gguf") => Self::Gguf(GgufFile::open(path, options.mmap)?),
            Some("bin" | "pt" | "pth" | "ckpt") => {
                Self::Torch(TorchFile::open(path, options.mmap)?)
            }
            _ => Self::Safetensors(SafetensorsFile::open(path, options.mmap)?),
        })
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Self::Safetensors(file) => file.contains(name),
            Self::Torch(file) => file.contains(name),
            Self::Gguf(_) | Self::Memory(_) => {
                self.tensors().iter().any(|(other, _)| *other == name)
            }
        }
    }

    fn tensors(&self) -> Vec<(&str, &[usize])> {
        match self {
            Self::Safetensors(file) => file.tensors().collect(),
            Self::Torch(file) => file.tensors().collect(),
            Self::Gguf(file) => file.tensors().collect(),
            Self::Memory(tensors) => tensors
                .iter()
                .map(|(name, tensor)| (name.as_str(), tensor.shape()))
                .collect(),
        }
    }

    fn dtype(&self, name: &str) -> Result<DType> {
        match self {
            Self::Safetensors(file) => file.dtype(name),
            Self::Torch(file) => Ok(file.dtype(name)),
            Self::Gguf(_) => Ok(DType::F32),
            Self::Memory(tensors) => Ok(tensors[name].dtype()),
        }
    }

    fn stored(&self, name: &str) -> StoredTensor {
        let (dtype, bytes, file) = match self {
            Self::Safetensors(file) => {
                let (dtype, bytes) = file.stored(name);
                (dtype.to_string(), bytes, Some(file.path()))
            }
            Self::Torch(file) => {
                let (dtype, bytes) = file.stored(name);
                (dtype.stored().to_string(), bytes, Some(file.path()))
            }
            Self::Gguf(file) => {
                let (kind, bytes) = file.stored(name);
                (kind.name().to_owned(), bytes, Some(file.path()))
            }
            Self::Memory(tensors) => {
                let tensor = &tensors[name];
                let dtype = tensor.dtype().stored().to_string();
                (dtype, tensor.bytes().len(), None)
            }
        };
        StoredTensor {
            dtype,
            bytes,
            file: file.map(Path::to_owned),
        }
    }

    fn blocks(&self, name: &str) -> Result<Option<BlockTensor>> {
        match self {
            Self::Gguf(file) => file.blocks(name),
            Self::Safetensors(_) | Self::Torch(_) | Self::Memory(_) => Ok(None),
        }
    }

    fn tensor(&self, name: &str) -> Result<HostTensor> {
        match self {
            Self::Safetensors(file) => file.tensor(name),
            Self::Torch(file) => file.tensor(name),
            Self::Gguf(file) => file.tensor(name),
            Self::Memory(tensors) => Ok(tensors[name].clone()),
        }
    }
}

fn with_variant(stem: &str, extension: &str, options: &OpenOptions) -> String {
    match &options.variant {
        Some(variant) => format!("{stem}.{variant}{extension}"),
        None => format!("{stem}{extension}"),
    }
}

fn no_weights(files: &ModelFiles, looked_for: &[String]) -> WeightsError {
    let source_name = files.source().to_string();
    // What is there instead only improves the message: if it cannot be listed, the message stays general.
    let found = files.list().unwrap_or_default();
    let foreign: Vec<_> = found
        .into_iter()
        .filter(|name| is_foreign_weights(name))
        .collect();
    if foreign.is_empty() {
        return WeightsError::NoWeights {
            source_name,
            looked_for: looked_for.join(", "),
        };
    }
    WeightsError::NotSafetensors {
        source_name,
        files: foreign.join(", "),
    }
}

/// Whether the name is one that weights have in a layout that is not read; optimizer states and the like are not weights.
fn is_foreign_weights(name: &str) -> bool {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let stems = [
        "pytorch_model",
        "model",
        "consolidated",
        "tf_model",
        "flax_model",
    ];
    stems.iter().any(|known| stem.starts_with(known))
        && matches!(
            extension,
            "bin" | "pt" | "pth" | "ckpt" | "h5" | "msgpack" | "onnx"
        )
}
