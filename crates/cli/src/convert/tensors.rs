//! A checkpoint's tensors, to be read and rounded while they are written.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::sync::Arc;

use transformers_hub::{CancelToken, ModelFiles};
use transformers_modeling::LoadProgress;
use transformers_weights::{Checkpoint, DType, LazyTensor, OpenOptions, WeightsError};

use crate::failure::Result;
use crate::interrupt::cancel_on_interrupt;
use crate::progress::LoadBar;

/// The tensors of a checkpoint.
pub struct Tensors {
    pub checkpoint: Arc<Checkpoint>,
    /// What floats are rounded to; `None` leaves each as it is.
    pub dtype: Option<DType>,
    progress: Option<Arc<LoadBar>>,
    cancel: CancelToken,
}

impl Tensors {
    /// Opens the weights among `files`; those of a GGUF file, of which only some are quantised, all get one type.
    pub fn open(files: &ModelFiles, open: &OpenOptions, dtype: Option<DType>) -> Result<Self> {
        let checkpoint = Checkpoint::open(files, open)?;
        let dtype = match files.gguf()? {
            Some(_) => dtype.or_else(|| type_of_the_largest(&checkpoint)),
            None => dtype,
        };
        let watched = std::io::stderr().is_terminal();
        Ok(Self {
            checkpoint: Arc::new(checkpoint),
            dtype,
            progress: watched.then(|| Arc::new(LoadBar::new("converting"))),
            cancel: cancel_on_interrupt()?,
        })
    }

    /// The names that are written: of tensors that share their memory in a file of `torch.save`, one.
    pub fn names(&self) -> Result<Vec<String>> {
        let checkpoint = &self.checkpoint;
        let mut names: Vec<&str> = checkpoint.names().collect();
        // The embedding is what the others are tied to.
        names.sort_by_key(|name| !name.contains("embed"));
        let mut seen = HashSet::new();
        let mut kept = HashSet::new();
        for name in names {
            let place = match checkpoint.copies(name) || checkpoint.shape(name)?.contains(&0) {
                true => None,
                false => {
                    let tensor = checkpoint.tensor(name)?;
                    Some((tensor.bytes().as_ptr().addr(), tensor.shape().to_vec()))
                }
            };
            if place.is_none_or(|place| seen.insert(place)) {
                kept.insert(name);
            }
        }
        let names = checkpoint.names().filter(|name| kept.contains(name));
        Ok(names.map(str::to_owned).collect())
    }

    /// Begins the progress of writing `names`.
    pub fn start(&self, names: &[String]) -> Result<()> {
        let mut elements = 0;
        for name in names {
            elements += self.checkpoint.shape(name)?.iter().product::<usize>() as u64;
        }
        if let Some(progress) = &self.progress {
            progress.start(names.len(), elements);
        }
        Ok(())
    }

    /// Ends it.
    pub fn finish(&self) {
        if let Some(progress) = &self.progress {
            progress.finish();
        }
    }

    /// The tensor `name`.
    pub fn tensor(&self, name: &str) -> Result<LazyTensor> {
        let found = self.checkpoint.dtype(name)?;
        let dtype = match found.is_float() {
            true => self.dtype.unwrap_or(found),
            false => found,
        };
        let shape = self.checkpoint.shape(name)?.to_vec();
        let (checkpoint, cancel) = (Arc::clone(&self.checkpoint), self.cancel.clone());
        let (progress, key) = (self.progress.clone(), name.to_owned());
        Ok(LazyTensor::deferred(name, dtype, shape, move || {
            if cancel.is_cancelled() {
                return Err(WeightsError::Cancelled);
            }
            let tensor = checkpoint.tensor(&key)?.cast(dtype)?;
            if let Some(progress) = progress {
                progress.advance(&key, tensor.len() as u64);
            }
            Ok(tensor)
        }))
    }
}

/// Float16 or bfloat16 if most values are so, else float32.
fn type_of_the_largest(checkpoint: &Checkpoint) -> Option<DType> {
    let size = |name: &&str| {
        checkpoint
            .shape(name)
            .map_or(0, |shape| shape.iter().product())
    };
    let largest = checkpoint.names().max_by_key(|name| size(name))?;
    Some(match checkpoint.stored(largest).ok()?.dtype.as_str() {
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        _ => DType::F32,
    })
}
