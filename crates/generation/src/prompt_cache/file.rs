//! The file of a prompt cache: safetensors, with the model's fingerprint and a checksum among the metadata.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use transformers_modeling::PreTrainedModel;
use transformers_modeling::nn::{CacheState, LayerState, RecurrentState};

use super::{PromptCache, fingerprint};
use crate::GenerateError;

const FORMAT: &str = "transformers-prompt-cache-1";

/// A tensor on its way into a file.
struct Part {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Part {
    fn new<const D: usize>(name: String, tensor: Tensor<D>) -> Self {
        let dtype = match tensor.dtype() {
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            _ => Dtype::F32,
        };
        let tensor = match dtype {
            Dtype::F32 => tensor.cast(DType::F32),
            _ => tensor,
        };
        let shape = tensor.dims().to_vec();
        let bytes = tensor.into_data().bytes().to_vec();
        Self {
            name,
            dtype,
            shape,
            bytes,
        }
    }
}

pub(super) fn hex(hash: Sha256) -> String {
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl PromptCache {
    /// Writes it to the file at `path`, which is whole or as it was.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), GenerateError> {
        let failed = |error: &dyn std::fmt::Display| GenerateError::file(path, error);
        let mut parts = vec![Part {
            name: "token_ids".to_owned(),
            dtype: Dtype::U32,
            shape: vec![self.ids.len()],
            bytes: self.ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
        }];
        let mut metadata = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("fingerprint".to_owned(), self.fingerprint.clone()),
            ("layers".to_owned(), self.state.layers.len().to_string()),
        ]);
        for (index, layer) in self.state.layers.iter().enumerate() {
            parts.extend(parts_of(index, layer));
            let seen = format!("{} {}", layer.seen, layer.recurrent.seen);
            metadata.insert(format!("layers.{index}.seen"), seen);
        }
        let mut views = Vec::new();
        for part in &parts {
            let view = TensorView::new(part.dtype, part.shape.clone(), &part.bytes);
            views.push((part.name.as_str(), view.map_err(|error| failed(&error))?));
        }
        metadata.insert("checksum".to_owned(), checksum(views.iter().cloned()));
        let bytes = safetensors::serialize(views, Some(metadata));
        let bytes = bytes.map_err(|error| failed(&error))?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        let written = fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path));
        written.map_err(|error| {
            // It may never have been there.
            let _ = fs::remove_file(&partial);
            failed(&error)
        })
    }

    /// Reads what [`Self::save`] wrote for the same model.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or belongs to another model.
    pub fn load<M: PreTrainedModel + ?Sized>(
        path: &Path,
        model: &M,
    ) -> Result<Self, GenerateError> {
        let bytes = fs::read(path).map_err(|error| GenerateError::file(path, error))?;
        let damaged = |reason: &str| GenerateError::PromptCacheDamaged {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let file = File::open(&bytes).map_err(|reason| damaged(&reason))?;
        if file.metadata("fingerprint") != Some(&fingerprint::of(model)) {
            return Err(GenerateError::PromptCacheOfOtherModel);
        }
        let device = model.collect_devices(Vec::new()).into_iter().next();
        let read = file.read(&device.unwrap_or_default());
        let (ids, state) = read.map_err(|reason| damaged(&reason))?;
        let mut cache = model.new_cache().ok_or(GenerateError::NotADecoder)?;
        if !cache.restore(&state) || cache.seq_len() != ids.len() {
            return Err(damaged(
                "it has not the layers and tokens that it should have",
            ));
        }
        Ok(Self {
            ids,
            state,
            fingerprint: fingerprint::of(model),
        })
    }

    /// [`Self::load`], or `None` where there is no such file.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_if_there<M: PreTrainedModel + ?Sized>(
        path: &Path,
        model: &M,
    ) -> Result<Option<Self>, GenerateError> {
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            _ => Self::load(path, model).map(Some),
        }
    }
}

fn parts_of(index: usize, layer: &LayerState) -> Vec<Part> {
    // All fields by name: what comes to be kept must come to be saved. The rates are made of parameters.
    let RecurrentState {
        conv,
        state,
        rates: _,
        seen: _,
    } = &layer.recurrent;
    let name = |part: &str| format!("layers.{index}.{part}");
    let mut parts = Vec::new();
    if let Some((keys, values)) = &layer.attention {
        parts.push(Part::new(name("keys"), keys.clone()));
        parts.push(Part::new(name("values"), values.clone()));
    }
    parts.extend(conv.clone().map(|conv| Part::new(name("conv"), conv)));
    parts.extend(state.clone().map(|state| Part::new(name("state"), state)));
    parts
}

fn checksum<'a>(tensors: impl Iterator<Item = (&'a str, TensorView<'a>)>) -> String {
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_by_key(|(name, _)| *name);
    let mut hash = Sha256::new();
    for (name, tensor) in &tensors {
        hash.update(name);
        hash.update(tensor.data());
    }
    hex(hash)
}

/// The contents of a file that is whole.
struct File<'a> {
    tensors: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

/// What is wrong with a file.
type Reason = String;

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Reason> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let file = Self { tensors, metadata };
        if file.metadata("format").map(String::as_str) != Some(FORMAT) {
            return Err("it is no prompt cache, or of another version".to_owned());
        }
        let checksum = checksum(file.tensors.iter());
        match file.metadata("checksum") == Some(&checksum) {
            true => Ok(file),
            false => Err("its checksum is another".to_owned()),
        }
    }

    fn metadata(&self, key: &str) -> Option<&String> {
        self.metadata.get(key)
    }

    fn read(&self, device: &Device) -> Result<(Vec<u32>, CacheState), Reason> {
        let ids = self.tensors.tensor("token_ids");
        let ids = ids.map_err(|error| error.to_string())?;
        let ids = ids.data().chunks_exact(4);
        let ids = ids.map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        let layers = self.metadata("layers").and_then(|count| count.parse().ok());
        let layers: usize = layers.ok_or("it does not say how many layers there are")?;
        let layers = (0..layers).map(|index| self.layer(index, device));
        Ok((
            ids.collect(),
            CacheState {
                layers: layers.collect::<Result<_, _>>()?,
            },
        ))
    }

    fn layer(&self, index: usize, device: &Device) -> Result<LayerState, Reason> {
        let name = |part: &str| format!("layers.{index}.{part}");
        let seen = self.metadata(&name("seen"));
        let seen = seen.and_then(|seen| {
            let (attention, recurrent) = seen.split_once(' ')?;
            Some((attention.parse().ok()?, recurrent.parse().ok()?))
        });
        let (seen, recurrent) = seen.ok_or("a layer does not say what it saw")?;
        let keys = self.tensor(&name("keys"), device)?;
        let state = LayerState {
            attention: keys.zip(self.tensor(&name("values"), device)?),
            seen,
            recurrent: RecurrentState {
                conv: self.tensor(&name("conv"), device)?,
                state: self.tensor(&name("state"), device)?,
                rates: None,
                seen: recurrent,
            },
            cross: None,
        };
        match state.kept() <= seen {
            true => Ok(state),
            false => Err("a layer has more keys than it saw tokens".to_owned()),
        }
    }

    fn tensor<const D: usize>(
        &self,
        name: &str,
        device: &Device,
    ) -> Result<Option<Tensor<D>>, Reason> {
        let Ok(view) = self.tensors.tensor(name) else {
            return Ok(None);
        };
        let dtype = match view.dtype() {
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F32 => DType::F32,
            other => return Err(format!("`{name}` is of dtype {other:?}")),
        };
        let shape = <[usize; D]>::try_from(view.shape().to_vec());
        let shape = shape.map_err(|shape| format!("`{name}` has the shape {shape:?}"))?;
        let bytes = burn::tensor::Bytes::from_bytes_vec(view.data().to_vec());
        let data = TensorData::from_bytes(bytes, shape, dtype);
        Ok(Some(Tensor::from_data(data, (device, dtype))))
    }
}
