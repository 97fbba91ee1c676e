//! From a repository to a model: files, config, empty module tree, checkpoint, filled parameters.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use burn::tensor::Device;
use transformers_config::{AutoConfig, GenerationConfig};
use transformers_hub::{CancelToken, HubOptions, ModelFiles, ModelSource};
use transformers_ops::Precision;
use transformers_weights::{
    Checkpoint, DType, LoadPlan, LoadRules, OpenOptions, conversion_mapping, plan,
};

use crate::classes::{class_name, facts};
use crate::device::{DeviceSpec, available_devices};
use crate::erased::Restore;
use crate::fill::{Filling, LoadDtype};
use crate::init_weights::InitWeights;
use crate::nn::{Draws, Init};
use crate::origin::{Origin, sub_models};
use crate::parameters::Shapes;
use crate::peft::{add_to_loaded, reload};
use crate::rebuild::trains;
use crate::registry::{Family, Head, family};
use crate::text_part::{self, TextPart};
use crate::{LoadProgress, ModelError, PreTrainedModel};

/// The dtype to load in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dtype {
    /// What the config says, or else what the first tensor of the checkpoint has.
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
    /// Makes what parameters get that no checkpoint fills the same each time.
    pub seed: Option<u64>,
    /// What such parameters get, in place of their family's rules.
    pub init_weights: Option<InitWeights>,
    /// An adapter of `peft` that the model is used with: a folder or a hub id.
    pub adapter: Option<ModelSource>,
    /// How attention is computed, by a name of [`AttentionInterface`](crate::nn::AttentionInterface). `None`: `sdpa`.
    pub attn_implementation: Option<String>,
    /// Told about the tensors as they are loaded; downloads have a sink of their own in `hub`.
    pub progress: Option<Arc<dyn LoadProgress>>,
    /// Ends downloads and loading from another thread, with an error.
    pub cancel: Option<CancelToken>,
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
            seed: None,
            init_weights: None,
            adapter: None,
            attn_implementation: None,
            progress: None,
            cancel: None,
        }
    }
}

/// Loads the model of `source` with `head` on top.
pub(crate) fn from_pretrained(
    source: ModelSource,
    head: Head,
    options: &LoadOptions,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let hub = HubOptions {
        cancel: options.hub.cancel.clone().or(options.cancel.clone()),
        ..options.hub.clone()
    };
    let files = ModelFiles::resolve(source, &hub)?;
    let config = match &options.config {
        Some(config) => config.clone(),
        None => AutoConfig::from_files(&files)?,
    };
    let quantised = config.quantization_method().map(str::to_owned);
    let part = TextPart::of(&config, head)?;
    let config = part.as_ref().map_or(config, |part| part.config.clone());
    // Before the weights are opened: what the config rules out needs no download.
    let family = family(&config)?;
    family.builder(head)?;
    if let Some(method) = quantised {
        return Err(ModelError::UnsupportedQuantization { method });
    }

    let open = OpenOptions {
        variant: options.variant.clone(),
        mmap: options.mmap,
    };
    let checkpoint = Checkpoint::open(&files, &open)?;
    let device = options.device.resolve()?;
    let class = class_name(config.model_type(), head).map(facts);
    let class = class.unwrap_or_default();
    let dtype = LoadDtype::choose(options.dtype, &config, &class, &checkpoint, &device)?;
    let init = Init {
        dtype: dtype.compute,
        ..init(&config, options, &device)
    };
    let says_tied = config.tie_word_embeddings();
    let (model, plan) = build(
        &family,
        head,
        config,
        &init,
        &checkpoint,
        options,
        part.as_ref(),
    )
    .map_err(|error| in_config_file(error, &files))?;
    if plan.report.refuses(options.ignore_mismatched_sizes) {
        let report = Box::new(plan.report);
        return Err(ModelError::CheckpointMismatch { report });
    }
    let filling = Filling {
        checkpoint: &checkpoint,
        plan: &plan,
        dtype: &dtype,
        device: &device,
        init: options.init_weights.as_ref(),
        draws: &init.draws,
        progress: options.progress.as_deref(),
        cancel: options.cancel.as_ref(),
    };
    let mut model = filling.fill(model)?;
    if !plan.report.missing.is_empty() || !plan.report.mismatched.is_empty() {
        log::warn!(
            "parameters that are not in the checkpoint were initialised\n{}",
            plan.report
        );
    }
    choose_attention(model.as_mut(), options)?;
    let info = model.info_mut();
    let says_tied = says_tied && !info.config.tie_word_embeddings();
    info.generation_config = GenerationConfig::from_files(&files, &info.config)?;
    info.loading_info = plan.report;
    info.origin = Origin {
        head: Some(head),
        dtypes: dtype.stored,
        // A text model that was taken out of its repository is saved as one of its own family.
        transforms: match part {
            Some(part) if !part.transforms.is_empty() => None,
            _ => Some(plan.used_transforms),
        },
        says_tied,
        files: Some(Arc::new(files)),
        precision: options.precision,
    };
    match &options.adapter {
        Some(adapter) => add_to_loaded(model, adapter, &hub),
        None => Ok(model),
    }
}

impl dyn PreTrainedModel + '_ {
    /// The same model with the weights of another folder, such as a checkpoint of its training: with its head, its dtype,
    /// and on its device.
    ///
    /// # Errors
    /// A folder of another model, and as `from_pretrained`.
    pub fn with_weights_of(&self, folder: &Path) -> Result<Box<dyn PreTrainedModel>, ModelError> {
        if !self.adapters().is_empty() {
            return reload(self, folder);
        }
        let info = self.info();
        let head = info.origin.head.ok_or(ModelError::BoxedByHand)?;
        let device = self
            .collect_devices(Vec::new())
            .into_iter()
            .next()
            .unwrap_or_default();
        let spec = available_devices().iter().find(|found| found.is(&device));
        let options = LoadOptions {
            device: spec.map_or(DeviceSpec::Cpu, |found| found.spec),
            dtype: match info.origin.dtypes.main {
                DType::BF16 => Dtype::BFloat16,
                DType::F16 => Dtype::Float16,
                _ => Dtype::Float32,
            },
            precision: info.origin.precision,
            attn_implementation: info
                .attention
                .as_ref()
                .map(|attention| attention.name().to_owned()),
            ..LoadOptions::default()
        };
        let mut model = from_pretrained(folder.into(), head, &options)?;
        let lacks = !model.info().loading_info.missing.is_empty();
        if lacks || model.info().config.model_type() != info.config.model_type() {
            let report = Box::new(model.info().loading_info.clone());
            return Err(ModelError::CheckpointMismatch { report });
        }
        // Saving gives back what the model was loaded from, and not what it was resumed from.
        let origin = info.origin.clone();
        model.info_mut().origin = Origin {
            transforms: origin.transforms.or(model.info().origin.transforms.clone()),
            ..origin
        };
        Ok(match trains(self) {
            true => model.train(),
            false => model,
        })
    }
}

fn choose_attention(
    model: &mut dyn PreTrainedModel,
    options: &LoadOptions,
) -> Result<(), ModelError> {
    match &options.attn_implementation {
        Some(name) => model.set_attn_implementation(name),
        None => Ok(()),
    }
}

fn init(config: &AutoConfig, options: &LoadOptions, device: &Device) -> Init {
    Init {
        draws: options.seed.map(Draws::seeded).unwrap_or_default(),
        ..fresh_init(config, device, options.precision)
    }
}

/// How the parameters of a fresh model of `config` are born.
pub(crate) fn fresh_init(config: &AutoConfig, device: &Device, precision: Precision) -> Init {
    Init {
        std: initializer_range(config),
        precision,
        ..Init::new(device.clone())
    }
}

/// The spread of fresh weights, under the names that the reference looks for it.
fn initializer_range(config: &AutoConfig) -> f64 {
    let completed = config.completed();
    let config = completed.as_ref().unwrap_or(config);
    let text = config
        .get("text_config")
        .and_then(|text| text.get("initializer_range"));
    ["initializer_range", "init_std", "initializer_factor"]
        .into_iter()
        .find_map(|key| config.get(key))
        .or(text)
        .and_then(serde_json::Value::as_f64)
        .unwrap_or_default()
}

/// A model with fresh weights and `head` on top.
pub(crate) fn from_config(
    config: &AutoConfig,
    head: Head,
    device: &Device,
    options: &LoadOptions,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let part = TextPart::of(config, head)?;
    let config = part.as_ref().map_or(config, |part| &part.config);
    let family = family(config)?;
    let mut settled = config.clone();
    family.settle(head, &mut settled);
    let init = init(config, options, device);
    let mut model = family.builder(head)?(&settled, &init)?;
    if let Some(rules) = &options.init_weights {
        model = rules.apply(model, &init.draws, device);
    }
    choose_attention(model.as_mut(), options)?;
    let info = model.info_mut();
    info.generation_config = GenerationConfig::from_model_config(config)?;
    info.origin.head = Some(head);
    info.origin.precision = options.precision;
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
    part: Option<&TextPart>,
) -> Result<(Box<dyn PreTrainedModel>, LoadPlan), ModelError> {
    family.settle(head, &mut config);
    let prefix = family.base_model_prefix(head);
    let mut transforms = part.map_or(Vec::new(), |part| part.transforms.clone());
    transforms.extend(conversion_mapping::of_model(
        &sub_models(family, head),
        prefix,
    ));
    let mut ignored = conversion_mapping::FORMER_BUFFERS.to_vec();
    ignored.extend(part.map(|_| text_part::BESIDE));
    let owned = |(target, source): &(&str, &str)| ((*target).to_owned(), (*source).to_owned());
    loop {
        let ties = family.tied_weights(config.tie_word_embeddings());
        let tied: Vec<(String, String)> = ties.map(owned).collect();
        let model = family.builder(head)?(&config, init)?;
        let mut shapes = Shapes::default();
        model.visit_parameters(&mut Restore(&mut shapes));
        let raw = serde_json::Value::Object(config.tree().clone());
        let rules = LoadRules {
            base_model_prefix: prefix,
            transforms: &transforms,
            key_mapping: &options.key_mapping,
            config: Some(&raw),
            tied: &tied,
            ignore_unexpected: &ignored,
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
