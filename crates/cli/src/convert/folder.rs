//! Safetensors with what belongs to them, in a folder.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use transformers_config::{AutoConfig, GenerationConfig};
use transformers_hub::ModelFiles;
use transformers_tokenization::AutoTokenizer;
use transformers_weights::{DType, SaveOptions, ShardSize, save_checkpoint};

use super::carried;
use super::tensors::Tensors;
use crate::failure::Result;
use crate::output::{print, size};

const CONFIG: &str = "config.json";

/// Where and how a folder is written.
pub struct Target<'a> {
    pub folder: &'a Path,
    pub max_shard_size: ShardSize,
}

impl Target<'_> {
    /// Writes the weights, then the files beside them.
    pub fn write(&self, files: &ModelFiles, config: &AutoConfig, tensors: Tensors) -> Result {
        let names = tensors.names()?;
        let lazy = names.iter().map(|name| tensors.tensor(name));
        let lazy = lazy.collect::<Result<Vec<_>>>()?;
        let bytes = |tensor: &transformers_weights::LazyTensor| {
            let elements: usize = tensor.shape().iter().product();
            (elements * tensor.dtype().size()) as u64
        };
        let total: u64 = lazy.iter().map(bytes).sum();
        tensors.start(&names)?;
        let options = SaveOptions {
            max_shard_size: self.max_shard_size,
            ..SaveOptions::default()
        };
        save_checkpoint(self.folder, lazy, &options)?;
        tensors.finish();
        let written = self.write_others(files, config, tensors.dtype)?;
        print(format_args!(
            "{}: {} tensors, {}\nwith them: {}\n",
            self.folder.display(),
            names.len(),
            size(total),
            written.join(", ")
        ))?;
        Ok(ExitCode::SUCCESS)
    }

    fn write_others(
        &self,
        files: &ModelFiles,
        config: &AutoConfig,
        dtype: Option<DType>,
    ) -> Result<Vec<String>> {
        let mut written = vec![CONFIG.to_owned()];
        match (files.find(CONFIG)?, dtype) {
            (Some(path), None) => carried::copy(&path, self.folder, CONFIG)?,
            (_, dtype) => self
                .with_dtype(config, dtype)
                .save_pretrained(self.folder)?,
        }
        if files.gguf()?.is_none() {
            for name in carried::names(files)? {
                carried::copy(&files.require(&name)?, self.folder, &name)?;
                written.push(name);
            }
            return Ok(written);
        }
        let generation = GenerationConfig::from_model_config(config)?;
        generation.save_unchanged(self.folder)?;
        written.push("generation_config.json".into());
        AutoTokenizer::from_files(files)?.save_pretrained(self.folder)?;
        written.push("tokenizer.json".into());
        Ok(written)
    }

    /// The configuration with this dtype, also in its parts.
    fn with_dtype(&self, config: &AutoConfig, dtype: Option<DType>) -> AutoConfig {
        let mut config = config.clone();
        let Some(dtype) = dtype else {
            return config;
        };
        config.set("dtype", dtype.name());
        for (key, mut part) in config.tree().clone() {
            if let Some(stated) = part.as_object_mut().and_then(|part| part.get_mut("dtype"))
                && stated.is_string()
            {
                *stated = Value::from(dtype.name());
                config.set(key, part);
            }
        }
        config
    }
}
