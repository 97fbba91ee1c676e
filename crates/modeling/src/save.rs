//! From a model to a folder that this library and Python load: the checkpoint's own names and bytes, its configs, and the
//! files of its tokenizer and processors.

use std::fs;
use std::path::Path;

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{DType as BurnDType, Device, Int, Tensor, TensorData};
use bytes::Bytes;
use transformers_config::AutoConfig;
use transformers_hub::ModelFiles;
use transformers_ops as ops;
use transformers_weights::conversion::ModelFacts;
use transformers_weights::{
    DType, HostTensor, LazyTensor, ShardSize, WeightsError, conversion_mapping, revert,
    save_checkpoint,
};

use crate::classes::{class_name, facts};
use crate::erased::Restore;
use crate::origin::{Dtypes, sub_models};
use crate::parameters::{ParameterPath, follow_path};
use crate::registry::family;
use crate::{Head, ModelError, PreTrainedModel, Precision};

/// How `save_pretrained` writes a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveOptions {
    /// The size above which the checkpoint is parted into shards: 50 GB.
    pub max_shard_size: ShardSize,
    /// A variant of the weights: `fp16` writes `model.fp16.safetensors`.
    pub variant: Option<String>,
    /// Give the tensors the names and shapes of published checkpoints (the default), not those that they have in memory.
    pub save_original_format: bool,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self {
            max_shard_size: ShardSize::default(),
            variant: None,
            save_original_format: true,
        }
    }
}

impl dyn PreTrainedModel + '_ {
    /// Writes the model into a folder, from which `from_pretrained` loads it here and in Python, with default options.
    ///
    /// # Errors
    /// As those of `save_pretrained_with`.
    pub fn save_pretrained(&self, folder: impl AsRef<Path>) -> Result<(), ModelError> {
        self.save_pretrained_with(folder, &SaveOptions::default())
    }

    /// Writes the model into a folder, which is created if it is not there: the weights, `config.json`, the generation
    /// config of a model that generates, and the files of the tokenizer and the processors as they were in the repository
    /// that it was loaded from. Of these last, a file that is in the folder already stays as it is.
    ///
    /// The tensors have the names, shapes, dtypes and bytes of the checkpoint that was loaded, and tied weights are there
    /// once; a model that was not loaded is written as published checkpoints of its family are. Weights in quantised
    /// blocks are written as the f32 values that they stand for. Each file is whole or not there.
    ///
    /// Of a model with adapters, they alone are written, as `peft` does: `adapter_config.json` and
    /// `adapter_model.safetensors`, of the adapter `default` in the folder and of others in folders of their names.
    ///
    /// # Errors
    /// A conversion that cannot be undone, or a file that cannot be written.
    pub fn save_pretrained_with(
        &self,
        folder: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<(), ModelError> {
        let folder = folder.as_ref();
        if !self.adapters().is_empty() {
            return self.save_adapters(folder);
        }
        let tensors = match options.save_original_format {
            true => self.original_tensors()?,
            false => self.tensors(),
        };
        let weights = transformers_weights::SaveOptions {
            max_shard_size: options.max_shard_size,
            variant: options.variant.clone(),
        };
        save_checkpoint(folder, tensors, &weights)?;
        self.config_to_save()?.save_pretrained(folder)?;
        if self
            .class_name()
            .is_some_and(|class| facts(class).generates)
        {
            self.info().generation_config.save_unchanged(folder)?;
        }
        match &self.info().origin.files {
            Some(files) => carry_along(files, folder),
            None => Ok(()),
        }
    }

    /// The dtype that a parameter of this name is saved in; it may be wider in memory.
    pub fn saved_dtype(&self, name: &str) -> DType {
        self.info().origin.dtypes.of_parameter(name)
    }

    /// The reference's class, such as `LlamaForCausalLM`; `None` of families of your own and of modules boxed by hand.
    pub fn class_name(&self) -> Option<&'static str> {
        class_name(self.info().config.model_type(), self.info().origin.head?)
    }

    fn config_to_save(&self) -> Result<AutoConfig, ModelError> {
        let info = self.info();
        let mut config = info.config.completed()?;
        if let (Some(head), Ok(family)) = (info.origin.head, family(&config)) {
            family.settle(head, &mut config);
        }
        config.set_dtype(info.origin.dtypes.main.name());
        if info.origin.says_tied && !config.tie_word_embeddings() {
            // Both are written, and so they are not tied when they are loaded again.
            config.set("tie_word_embeddings", true);
        }
        if let Some(class) = self.class_name() {
            config.set("architectures", vec![class]);
        }
        // Start and end of an answer are two labels, however many the family has by default.
        let answers = info.origin.head == Some(Head::QuestionAnswering);
        if answers && info.config.get("id2label").is_none() {
            config.set("id2label", serde_json::Value::Null);
            config.set("label2id", serde_json::Value::Null);
        }
        Ok(config)
    }

    /// The parameters under their own names, in the order of the module tree.
    fn tensors(&self) -> Vec<LazyTensor> {
        let mut collected = Collect {
            path: ParameterPath::default(),
            dtypes: self.info().origin.dtypes.clone(),
            tensors: Vec::new(),
        };
        self.visit_parameters(&mut Restore(&mut collected));
        collected.tensors
    }

    /// The tensors as a checkpoint has them.
    fn original_tensors(&self) -> Result<Vec<LazyTensor>, ModelError> {
        let info = self.info();
        let transforms = match (&info.origin.transforms, info.origin.head) {
            (Some(used), _) => used.clone(),
            (None, Some(head)) => {
                let family = family(&info.config)?;
                let models = sub_models(&family, head);
                conversion_mapping::of_new_model(&models, family.base_model_prefix(head))
            }
            (None, None) => Vec::new(),
        };
        let tensors = self.tensors();
        if transforms.is_empty() && info.origin.transforms.is_none() {
            return Ok(tensors);
        }
        let shape = |tensor: &LazyTensor| (tensor.name().to_owned(), tensor.shape().to_vec());
        let model = ModelFacts {
            parameters: tensors.iter().map(shape).collect(),
            config: serde_json::Value::Object(info.config.tree().clone()),
        };
        Ok(revert(tensors, &transforms, &model)?)
    }
}

/// All parameters as host tensors, each read when it is asked for.
struct Collect {
    path: ParameterPath,
    dtypes: Dtypes,
    tensors: Vec<LazyTensor>,
}

impl ModuleVisitor for Collect {
    follow_path!();
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        self.push(value.dims().to_vec(), move || value.into_data());
    }
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let blocks = param.val();
        let dims = blocks.dims();
        let Ok(dims) = <[usize; 3]>::try_from(dims.as_slice()) else {
            return;
        };
        let weight = ops::Weight::Blocks(blocks.reshape(dims), Precision::Exact);
        self.push(weight.dims().to_vec(), move || {
            weight.dense(&Device::flex(), BurnDType::F32).into_data()
        });
    }
}

impl Collect {
    fn push(&mut self, shape: Vec<usize>, read: impl FnOnce() -> TensorData + Send + 'static) {
        let name = self.path.name();
        let dtype = match self.path.is_buffer() {
            true => self.dtypes.of_buffer(&name),
            false => self.dtypes.of_parameter(&name),
        };
        let read = move || host_tensor(read())?.cast(dtype);
        let tensor = LazyTensor::deferred(name, dtype, shape, read);
        self.tensors.push(tensor);
    }
}

/// burn's host data as ours, without a copy.
pub(crate) fn host_tensor(data: TensorData) -> Result<HostTensor, WeightsError> {
    struct Owner(burn::tensor::Bytes);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let dtype = match data.dtype() {
        BurnDType::F64 => DType::F64,
        BurnDType::F16 => DType::F16,
        BurnDType::BF16 => DType::BF16,
        _ => DType::F32,
    };
    let shape = data.shape().as_slice().to_vec();
    HostTensor::new(Bytes::from_owner(Owner(data.into_bytes())), dtype, shape)
}

/// Names of the files that tokenizers and processors are made of, beside those that end in [`TOKENIZER_ENDINGS`].
const PROCESSOR_FILES: &[&str] = &[
    "added_tokens.json",
    "audio_tokenizer_config.json",
    "bpe.codes",
    "chat_template.jinja",
    "chat_template.json",
    "dict.txt",
    "image_processor_config.json",
    "merges.txt",
    "normalizer.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "target_vocab.json",
    "tekken.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
    "vocab.bpe",
    "vocab.json",
    "vocab.txt",
];
const TOKENIZER_ENDINGS: &[&str] = &[".model", ".spm", ".tiktoken"];
const CHAT_TEMPLATES: &str = "additional_chat_templates/";

fn is_processor_file(name: &str) -> bool {
    let versioned = name.rsplit_once(".v").map_or(name, |(stem, _)| stem);
    let template = name.strip_prefix(CHAT_TEMPLATES);
    PROCESSOR_FILES.contains(&name)
        || template.is_some_and(|name| !name.contains('/') && name.ends_with(".jinja"))
        || !name.contains('/') && TOKENIZER_ENDINGS.iter().any(|end| versioned.ends_with(end))
}

/// Copies the files of tokenizer and processors to `folder`, but none over another.
fn carry_along(files: &ModelFiles, folder: &Path) -> Result<(), ModelError> {
    for name in files.list()?.iter().filter(|name| is_processor_file(name)) {
        let target = folder.join(name);
        if target.exists() {
            continue;
        }
        if let Some(source) = files.find(name)? {
            copy(&source, &target).map_err(|source| ModelError::Io {
                operation: "copying to",
                path: target,
                source,
            })?;
        }
    }
    Ok(())
}

/// Under a temporary name first, so that what has the final name is whole.
fn copy(source: &Path, target: &Path) -> std::io::Result<()> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut unfinished = target.as_os_str().to_owned();
    unfinished.push(format!(".{}.tmp", std::process::id()));
    fs::copy(source, &unfinished)
        .and_then(|_| fs::rename(&unfinished, target))
        .inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_tokenizers_and_processors_are_known() {
        for name in [
            "tokenizer.json",
            "spiece.model",
            "tokenizer.model.v3",
            "source.spm",
            "qwen.tiktoken",
            "additional_chat_templates/tool_use.jinja",
            "preprocessor_config.json",
        ] {
            assert!(is_processor_file(name), "{name}");
        }
        for name in [
            "config.json",
            "model.safetensors",
            "README.md",
            "onnx/tokenizer.json",
            "old/spiece.model",
            "additional_chat_templates/a/b.jinja",
        ] {
            assert!(!is_processor_file(name), "{name}");
        }
    }
}
