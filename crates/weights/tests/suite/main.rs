//! Checkpoints read, planned and written, against files and results of the reference; no network, no Python.
#![allow(clippy::unwrap_used)]

mod conversions;
mod corpus;
mod gguf;
mod gguf_file;
mod plan;
mod reading;
mod safetensors;
mod save;
mod torch;
mod transforms;

use std::path::{Path, PathBuf};

use transformers_hub::{HubOptions, ModelFiles};
use transformers_weights::{Checkpoint, HostTensor, LazyTensor, OpenOptions, Result};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn open_folder(folder: &Path, options: &OpenOptions) -> Result<Checkpoint> {
    Checkpoint::open(
        &ModelFiles::resolve(folder, &HubOptions::default())?,
        options,
    )
}

fn read_instead_of_mapping() -> OpenOptions {
    OpenOptions {
        mmap: false,
        ..OpenOptions::default()
    }
}

fn converted(tensors: Vec<LazyTensor>) -> Vec<(String, HostTensor)> {
    let tensors = tensors.into_iter().map(LazyTensor::into_tensor);
    tensors.collect::<Result<_>>().unwrap()
}

/// The message of an error, which must hold every one of `parts`.
fn check_error<T>(result: Result<T>, parts: &[&str]) {
    let Err(error) = result else {
        panic!("no error, expected one with {parts:?}");
    };
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}
