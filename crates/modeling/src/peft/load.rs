//! Adapters from files, as `peft` writes them.
#![allow(non_snake_case, reason = "the names of peft")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::{ModuleMapper, Param, ParamId};
use burn::tensor::{DType as BurnDType, Device, Shape, Tensor, TensorData};
use transformers_hub::{HubOptions, ModelFiles, ModelSource};
use transformers_weights::{Checkpoint, DType, OpenOptions};

use super::experts::{SingleExperts, join};
use super::fresh::{attach, check, device, is_own, settings, shapes, tensor};
use super::merge::{merge, unload};
use super::save::{CONFIG, WEIGHTS, adapter_folder, base_key, keeps_base, keys};
use super::state::{AdapterState, set_active, set_enabled};
use super::swap::copies;
use super::targets::Target;
use super::{AdapterOptions, DEFAULT_NAME, LoraConfig};
use crate::erased::{Parameter, ParameterMapper, Restore};
use crate::nn::LoraLayer;
use crate::{ModelError, PreTrainedModel};

/// The file of adapters that were not saved as safetensors.
const TORCH_WEIGHTS: &str = "adapter_model.bin";

pub(super) fn load(
    model: Box<dyn PreTrainedModel>,
    name: &str,
    source: ModelSource,
    options: &AdapterOptions,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let files = ModelFiles::resolve(source, &options.hub)?;
    let mut config = LoraConfig::from_file(&files.require(CONFIG)?)?;
    config.inference_mode = !options.is_trainable;
    let path = match files.find(WEIGHTS)? {
        Some(path) => path,
        None => match files.find(TORCH_WEIGHTS)? {
            Some(path) => path,
            None => files.require(WEIGHTS)?,
        },
    };
    let checkpoint = Checkpoint::open_file(&path, &OpenOptions::default())?;
    let experts = SingleExperts::of(&*model, &checkpoint);
    if let Some(experts) = &experts {
        config = experts.stacked(config)?;
    }
    let targets = check(&*model, name, &config)?;
    let mut tensors = Tensors {
        experts,
        checkpoint,
        path,
        taken: BTreeSet::new(),
        missing: Vec::new(),
    };
    let device = device(&*model);
    let mut layers = Vec::with_capacity(targets.len());
    for target in &targets {
        layers.extend(tensors.layer(target, name, &config, &device)?);
    }
    let own = tensors.own(&*model, &config, &targets, &device)?;
    tensors.finish()?;
    attach(model, name, config, targets, layers, own, false)
}

/// The model with the adapter that `from_pretrained` is asked for. Those of stacked experts are merged: each pass would make
/// their weights anew.
pub(crate) fn add_to_loaded(
    model: Box<dyn PreTrainedModel>,
    source: &ModelSource,
    hub: &HubOptions,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let options = AdapterOptions {
        hub: HubOptions {
            // These are the model's.
            revision: None,
            subfolder: None,
            ..hub.clone()
        },
        is_trainable: false,
    };
    let model = load(model, DEFAULT_NAME, source.clone(), &options)?;
    let mut targets = model
        .info()
        .adapters
        .adapters
        .iter()
        .flat_map(|it| &it.targets);
    match targets.any(Target::is_parameter) {
        true => merge(model),
        false => Ok(model),
    }
}

/// The model with what `folder` has of its adapters, as [`save_pretrained`](PreTrainedModel::save_pretrained) wrote it.
pub(crate) fn reload(
    model: &dyn PreTrainedModel,
    folder: &Path,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let AdapterState {
        adapters,
        active,
        enabled,
        ..
    } = model.info().adapters.clone();
    let mut new = unload(model.boxed_clone())?;
    for adapter in adapters {
        let options = AdapterOptions {
            is_trainable: !adapter.config.inference_mode,
            ..AdapterOptions::default()
        };
        let folder = adapter_folder(folder, &adapter.name);
        new = load(new, &adapter.name, folder.as_path().into(), &options)?;
    }
    let active: Vec<&str> = active.iter().map(String::as_str).collect();
    set_enabled(set_active(new, &active)?, enabled)
}

/// The tensors of a file, each of which is to be taken.
struct Tensors {
    path: PathBuf,
    experts: Option<SingleExperts>,
    checkpoint: Checkpoint,
    taken: BTreeSet<String>,
    missing: Vec<String>,
}

impl Tensors {
    /// The values of a tensor in f32; `None` of one that is not there.
    ///
    /// # Errors
    /// Another shape.
    fn values(&mut self, name: &str, expected: &[usize]) -> Result<Option<Vec<f32>>, ModelError> {
        if !self.checkpoint.contains(name) {
            self.missing.push(name.to_owned());
            return Ok(None);
        }
        self.taken.insert(name.to_owned());
        let found = self.checkpoint.shape(name)?;
        if found != expected {
            return Err(ModelError::AdapterShape {
                path: self.path.clone(),
                name: name.to_owned(),
                found: found.to_vec(),
                expected: expected.to_vec(),
            });
        }
        let values = self.checkpoint.tensor(name)?.cast(DType::F32)?.aligned();
        Ok(values.as_slice::<f32>().map(<[f32]>::to_vec))
    }

    fn parameter<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Option<Param<Tensor<D>>>, ModelError> {
        let values = self.values(name, &shape)?;
        Ok(values.map(|values| Param::from_tensor(tensor(values, shape, device))))
    }

    fn layer(
        &mut self,
        target: &Target,
        adapter: &str,
        config: &LoraConfig,
        device: &Device,
    ) -> Result<Option<LoraLayer>, ModelError> {
        let [a, b] = shapes(target);
        let keys = keys(target);
        let out = b[0];
        let parts = match &self.experts {
            Some(experts) => experts.parts(target),
            None => Vec::new(),
        };
        let [lora_A, lora_B] = match parts.is_empty() {
            true => [
                self.parameter(&keys.a, a, device)?,
                self.parameter(&keys.b, b, device)?,
            ],
            false => self.joined(&parts, target, device)?,
        };
        let lora_magnitude_vector = match config.use_dora {
            true => self.parameter(&keys.magnitude, [out], device)?,
            false => None,
        };
        let lora_bias = match &keys.bias {
            Some(bias) if config.lora_bias => self.parameter(bias, [out], device)?,
            _ => None,
        };
        Ok(lora_A.zip(lora_B).map(|(lora_A, lora_B)| LoraLayer {
            lora_A,
            lora_B,
            lora_magnitude_vector,
            lora_bias,
            initial: None,
            settings: settings(target, adapter, config),
            scale: Arc::default(),
        }))
    }

    /// A and B of stacked experts, of those of single ones.
    fn joined(
        &mut self,
        parts: &[Vec<String>],
        target: &Target,
        device: &Device,
    ) -> Result<[Option<Param<Tensor<2>>>; 2], ModelError> {
        let (count, [out, input]) = (parts[0].len(), target.place.dims);
        let [rank, out] = [target.rank / count, out / count];
        let mut layers = Vec::new();
        for expert in parts {
            for module in expert {
                let a = self.values(&format!("{module}.lora_A.weight"), &[rank, input])?;
                let b = self.values(&format!("{module}.lora_B.weight"), &[out, rank])?;
                let Some((a, b)) = a.zip(b) else {
                    return Ok([None, None]);
                };
                layers.push([a, b]);
            }
        }
        let values = join(&layers, count, [rank, out]);
        let [a, b] = shapes(target);
        let parameter = |values, shape| Some(Param::from_tensor(tensor(values, shape, device)));
        let [values_a, values_b] = values;
        Ok([parameter(values_a, a), parameter(values_b, b)])
    }

    /// What the file has of the model's own parameters.
    fn own(
        &mut self,
        model: &dyn PreTrainedModel,
        config: &LoraConfig,
        targets: &[Target],
        device: &Device,
    ) -> Result<BTreeMap<String, Parameter>, ModelError> {
        let mut own = copies(model, |name| is_own(config, targets, name))?;
        // Tables that were adapted, or had other sizes, are in the file as well; blocks stay as they are.
        let tables: Vec<String> = self.checkpoint.names().map(str::to_owned).collect();
        let is_table = |name: &str| {
            keeps_base(name) && tables.contains(&base_key(name, targets)) && !own.contains_key(name)
        };
        let tables = copies(model, is_table);
        own.extend(tables?);
        let mut filled = BTreeMap::new();
        for (name, parameter) in own {
            let key = base_key(&name, targets);
            let shape = parameter.as_ref().shape();
            if let Some(values) = self.values(&key, &shape)? {
                let mut given = Given {
                    data: Some(TensorData::new(values, Shape::from(shape))),
                    device,
                };
                filled.insert(name, Restore(&mut given).map(parameter));
            }
        }
        Ok(filled)
    }

    /// # Errors
    /// Tensors that are missing, or that nobody took.
    fn finish(self) -> Result<(), ModelError> {
        let names = self.checkpoint.names();
        let unexpected = names.filter(|name| !self.taken.contains(*name));
        let unexpected: Vec<String> = unexpected.map(str::to_owned).collect();
        match self.missing.is_empty() && unexpected.is_empty() {
            true => Ok(()),
            false => Err(ModelError::AdapterTensors {
                path: self.path,
                missing: self.missing,
                unexpected,
            }),
        }
    }
}

/// Gives a parameter its value.
struct Given<'a> {
    data: Option<TensorData>,
    device: &'a Device,
}

impl ModuleMapper for Given<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.data.take() {
            Some(data) => {
                let value = Tensor::from_data(data, (self.device, BurnDType::F32));
                param.transform_for_load(value, ParamId::new())
            }
            None => param,
        }
    }
}
