//! From a repository to a model: files, config, empty module tree, checkpoint, filled parameters.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{AllocationProperty, Bytes, DType as BurnDType, Device, Tensor, TensorData};
use bytes::Bytes as SharedBytes;
use transformers_config::{AutoConfig, GenerationConfig};
use transformers_hub::{HubOptions, ModelFiles, ModelSource};
use transformers_ops::Precision;
use transformers_weights::conversion_mapping::{self, SubModel};
use transformers_weights::{
    Checkpoint, DType, HostTensor, LoadPlan, LoadRules, OpenOptions, ReadOptions, TensorReader,
    plan,
};

use crate::device::DeviceSpec;
use crate::erased::{Blocks, Restore};
use crate::nn::Init;
use crate::parameters::{Fill, ParameterSource, Shapes};
use crate::registry::{Family, Head, family};
use crate::{ModelError, PreTrainedModel};

/// The dtype to load in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dtype {
    /// The checkpoint's.
    #[default]
    Auto,
    /// `float32`.
    Float32,
    /// `float16`.
    Float16,
    /// `bfloat16`.
    BFloat16,
}

impl FromStr for Dtype {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        match name {
            "auto" => Ok(Self::Auto),
            "float32" | "f32" | "float" => Ok(Self::Float32),
            "float16" | "f16" | "half" => Ok(Self::Float16),
            "bfloat16" | "bf16" => Ok(Self::BFloat16),
            other => Err(ModelError::UnknownDtype(other.to_owned())),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
        })
    }
}

/// How `from_pretrained` loads. Start from the default and set what differs:
///
/// ```
/// use transformers_modeling::{Dtype, LoadOptions};
///
/// let options = LoadOptions {
///     dtype: Dtype::Float32,
///     ..LoadOptions::default()
/// };
/// # assert!(options.variant.is_none());
/// ```
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Revision, token, cache_dir, local_files_only, force_download, subfolder and progress.
    pub hub: HubOptions,
    /// The dtype of the weights.
    pub dtype: Dtype,
    /// Where the model runs.
    pub device: DeviceSpec,
    /// Take `model.<variant>.safetensors`.
    pub variant: Option<String>,
    /// Further renames of checkpoint keys: regular expression and replacement.
    pub key_mapping: Vec<(String, String)>,
    /// Leave parameters of another shape in the checkpoint at their initial values instead of failing.
    pub ignore_mismatched_sizes: bool,
    /// Map the files into memory (the default) or read them.
    pub mmap: bool,
    /// Use this config instead of the repository's.
    pub config: Option<AutoConfig>,
    /// How products with quantised weights are computed on the CPU.
    pub precision: Precision,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            hub: HubOptions::default(),
            dtype: Dtype::default(),
            device: DeviceSpec::default(),
            variant: None,
            key_mapping: Vec::new(),
            ignore_mismatched_sizes: false,
            mmap: true,
            config: None,
            precision: Precision::default(),
        }
    }
}

/// Loads the model of `source` with `head` on top.
pub(crate) fn from_pretrained(
    source: ModelSource,
    head: Head,
    options: &LoadOptions,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let files = ModelFiles::resolve(source, &options.hub)?;
    let config = match &options.config {
        Some(config) => config.clone(),
        None => AutoConfig::from_files(&files)?,
    };
    // Before the weights are opened: what the config rules out needs no download.
    let family = family(&config)?;
    family.builder(head)?;
    if let Some(method) = config.quantization_method() {
        let method = method.to_owned();
        return Err(ModelError::UnsupportedQuantization { method });
    }

    let open = OpenOptions {
        variant: options.variant.clone(),
        mmap: options.mmap,
    };
    let checkpoint = Checkpoint::open(&files, &open)?;
    let device = options.device.resolve()?;
    let dtype = LoadDtype::choose(options.dtype, &checkpoint, &device);
    let init = Init {
        dtype: dtype.compute,
        precision: options.precision,
        ..Init::new(device.clone())
    };
    let (model, plan) = build(&family, head, config, &init, &checkpoint, options)
        .map_err(|error| in_config_file(error, &files))?;
    if plan.report.refuses(options.ignore_mismatched_sizes) {
        let report = plan.report;
        return Err(ModelError::CheckpointMismatch { report });
    }
    let mut model = fill(model, &checkpoint, &plan, dtype, &device)?;
    if !plan.report.missing.is_empty() || !plan.report.mismatched.is_empty() {
        log::warn!(
            "parameters that are not in the checkpoint were initialised\n{}",
            plan.report
        );
    }
    let info = model.info_mut();
    info.generation_config = GenerationConfig::from_files(&files, &info.config)?;
    info.loading_info = plan.report;
    Ok(model)
}

/// Says which file holds the config value that is wrong.
fn in_config_file(error: ModelError, files: &ModelFiles) -> ModelError {
    let path = files
        .gguf()
        .ok()
        .flatten()
        .or_else(|| files.find("config.json").ok().flatten());
    match (error, path) {
        (ModelError::Config(error), Some(path)) => ModelError::Config(error.in_file(&path)),
        (error, _) => error,
    }
}

/// The model with empty parameters, and what of the checkpoint fills which.
///
/// A checkpoint that stores both sides of a tie with different values is not tied, whatever its config says: the model is
/// then built anew without the tie.
fn build(
    family: &Family,
    head: Head,
    mut config: AutoConfig,
    init: &Init,
    checkpoint: &Checkpoint,
    options: &LoadOptions,
) -> Result<(Box<dyn PreTrainedModel>, LoadPlan), ModelError> {
    let owned = |(target, source): &(&str, &str)| ((*target).to_owned(), (*source).to_owned());
    loop {
        let tied: Vec<(String, String)> = match config.tie_word_embeddings() {
            true => family.tied_weights().iter().map(owned).collect(),
            false => Vec::new(),
        };
        let model = family.builder(head)?(&config, init)?;
        let mut shapes = Shapes::default();
        model.visit_parameters(&mut Restore(&mut shapes));
        let whole = SubModel {
            path: "",
            class: "",
            model_type: family.model_type(),
        };
        let raw = serde_json::Value::Object(config.tree().clone());
        let rules = LoadRules {
            base_model_prefix: family.base_model_prefix(),
            transforms: &conversion_mapping::of_model(&[whole], family.base_model_prefix()),
            key_mapping: &options.key_mapping,
            config: Some(&raw),
            tied: &tied,
            ignore_unexpected: conversion_mapping::FORMER_BUFFERS,
        };
        let plan = plan(&shapes.found, checkpoint, &rules)?;
        if plan.report.untied.is_empty() {
            return Ok((model, plan));
        }
        log::warn!(
            "`tie_word_embeddings` is true, but the checkpoint is not tied\n{}",
            plan.report
        );
        config.set("tie_word_embeddings", false);
    }
}

/// The dtype that parameters are rounded to, and the one that is computed in.
///
/// The CPU computes in f32 whatever the parameters are rounded to. Its weight matrices stay as the checkpoint has them:
/// in the dtype that they were rounded to, and with `auto` in blocks, or in a half type that a GGUF file has.
#[derive(Debug, Clone, Copy)]
struct LoadDtype {
    stored: DType,
    compute: BurnDType,
    on_cpu: bool,
    auto: bool,
}

impl LoadDtype {
    fn choose(asked: Dtype, checkpoint: &Checkpoint, device: &Device) -> Self {
        let stored = match asked {
            Dtype::Float32 => DType::F32,
            Dtype::Float16 => DType::F16,
            Dtype::BFloat16 => DType::BF16,
            Dtype::Auto => checkpoint.dtype_hint().unwrap_or(DType::F32),
        };
        let half = match stored {
            DType::F16 => BurnDType::F16,
            DType::BF16 => BurnDType::BF16,
            _ => BurnDType::F32,
        };
        let on_cpu = *device == Device::flex();
        let supported = half == BurnDType::F32 || device.supports_dtype(half);
        if !on_cpu && !supported {
            log::warn!("{device:?} has no {half:?}: the model is loaded in float32");
        }
        let compute = match !on_cpu && supported {
            true => half,
            false => BurnDType::F32,
        };
        Self {
            stored,
            compute,
            on_cpu,
            auto: asked == Dtype::Auto,
        }
    }
}

fn fill(
    model: Box<dyn PreTrainedModel>,
    checkpoint: &Checkpoint,
    plan: &LoadPlan,
    dtype: LoadDtype,
    device: &Device,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    plan.read(checkpoint, &ReadOptions::default(), |reader| {
        let mut fill = Fill::new(Source {
            checkpoint,
            plan,
            reader,
            dtype,
            device,
            error: None,
        });
        let model = model.map_parameters(&mut Restore(&mut fill));
        match fill.into_source().error {
            Some(error) => Err(error),
            None => Ok(model),
        }
    })
}

struct Source<'a, 'w> {
    checkpoint: &'a Checkpoint,
    plan: &'a LoadPlan,
    reader: &'a mut TensorReader<'w>,
    dtype: LoadDtype,
    device: &'a Device,
    /// The first thing that went wrong; a mapper cannot return it.
    error: Option<ModelError>,
}

impl ParameterSource for Source<'_, '_> {
    fn value<const D: usize>(&mut self, name: &str, weight: bool) -> Option<Tensor<D>> {
        if self.error.is_some() {
            return None;
        }
        let tensor = self.reader.tensor(name).map_err(ModelError::from);
        let tensor = self.note(tensor)??;
        let tensor = self.on_device(name, tensor, weight);
        self.note(tensor)
    }

    fn blocks(&mut self, name: &str) -> Option<Blocks> {
        let source = self.plan.sources.get(name).map(String::as_str);
        let blocks = self.read_blocks(source.filter(|_| self.error.is_none())?);
        self.note(blocks)?
    }
}

impl Source<'_, '_> {
    fn note<T>(&mut self, result: Result<T, ModelError>) -> Option<T> {
        result.map_err(|error| self.error = Some(error)).ok()
    }

    fn read_blocks(&self, name: &str) -> Result<Option<Blocks>, ModelError> {
        if !(self.dtype.on_cpu && self.dtype.auto) {
            return Ok(None);
        }
        let blocks = self.checkpoint.blocks(name)?.map(|blocks| {
            let (len, bytes) = (blocks.format.block_len(), blocks.format.block_bytes());
            let shape = [blocks.rows, blocks.cols / len, bytes];
            let data = shared(blocks.bytes, shape.to_vec(), BurnDType::U8);
            Tensor::from_data(data, (self.device, BurnDType::U8))
        });
        Ok(blocks)
    }

    fn on_device<const D: usize>(
        &self,
        name: &str,
        tensor: HostTensor,
        weight: bool,
    ) -> Result<Tensor<D>, ModelError> {
        if tensor.shape().len() != D {
            return Err(ModelError::Rank {
                name: name.to_owned(),
                found: tensor.shape().len(),
                expected: D,
            });
        }
        let LoadDtype {
            stored,
            compute,
            on_cpu,
            auto,
        } = self.dtype;
        let half = matches!(tensor.dtype(), DType::F16 | DType::BF16);
        let tensor = match weight && on_cpu && auto && half && stored == DType::F32 {
            true => tensor,
            false => tensor.cast(stored)?,
        };
        let kept = match (tensor.dtype(), compute) {
            (DType::F16, _) if weight && on_cpu => BurnDType::F16,
            (DType::BF16, _) if weight && on_cpu => BurnDType::BF16,
            (_, compute) => compute,
        };
        let tensor = match kept {
            BurnDType::F16 => tensor.cast(DType::F16)?,
            BurnDType::BF16 => tensor.cast(DType::BF16)?,
            _ => tensor.cast(DType::F32)?,
        };
        let (bytes, _, shape) = tensor.aligned().into_parts();
        Ok(Tensor::from_data(
            shared(bytes, shape, kept),
            (self.device, kept),
        ))
    }
}

/// Host bytes as burn's, without a copy: a memory-mapped weight stays where it lies until something changes it.
fn shared(bytes: SharedBytes, shape: Vec<usize>, dtype: BurnDType) -> TensorData {
    let bytes = Bytes::from_shared(bytes, AllocationProperty::File);
    TensorData::from_bytes(bytes, shape, dtype)
}
