//! Which adapters a model has, and which of them take part.

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, Param};
use burn::tensor::Tensor;

use super::swap::swap;
use super::targets::Target;
use super::{LoraBias, LoraConfig};
use crate::erased::{Parameter, Restore};
use crate::nn::{Edit, edit_weights_by};
use crate::parameters::{ParameterPath, follow_path};
use crate::{ModelError, PreTrainedModel};

/// What a model knows of its adapters.
#[derive(Debug, Clone)]
pub(crate) struct AdapterState {
    /// In the order in which they were added.
    pub adapters: Vec<Adapter>,
    /// Those that take part while they are enabled.
    pub active: Vec<String>,
    pub enabled: bool,
    pub merged: bool,
    /// The model's own parameters that those of the active adapter stand in for.
    pub originals: BTreeMap<String, Parameter>,
}

impl Default for AdapterState {
    fn default() -> Self {
        Self {
            adapters: Vec::new(),
            active: Vec::new(),
            enabled: true,
            merged: false,
            originals: BTreeMap::new(),
        }
    }
}

/// An adapter of a model.
#[derive(Debug, Clone)]
pub(crate) struct Adapter {
    pub name: String,
    pub config: LoraConfig,
    pub targets: Vec<Target>,
    /// Names of the model's parameters that it has its own of.
    pub own: Vec<String>,
    /// Their values while they are not in the model.
    pub held: BTreeMap<String, Parameter>,
}

impl Adapter {
    /// Whether a parameter of the model is trained with this adapter.
    fn trains(&self, name: &str) -> bool {
        let is_own = self.own.iter().any(|own| own == name);
        let whole = || {
            let bias = self.bias_of(name);
            bias || self.config.saves(name)
        };
        !self.config.inference_mode && is_own && whole()
    }

    /// Whether the parameter is a bias that its config names.
    pub fn bias_of(&self, name: &str) -> bool {
        is_trained_bias(&self.config, &self.targets, name)
    }
}

/// Whether a parameter of the model is a bias that is trained.
pub(super) fn is_trained_bias(config: &LoraConfig, targets: &[Target], name: &str) -> bool {
    let module = match name.strip_suffix("bias") {
        Some("") => Some(""),
        Some(before) => before.strip_suffix('.'),
        None => None,
    };
    match (config.bias, module) {
        (LoraBias::All, Some(_)) => true,
        (LoraBias::LoraOnly, Some(module)) => {
            targets.iter().any(|target| target.place.module == module)
        }
        _ => false,
    }
}

impl LoraConfig {
    /// Whether a parameter of the model is part of a module that is trained as a whole.
    pub(super) fn saves(&self, name: &str) -> bool {
        let modules = name.match_indices('.').map(|(end, _)| &name[..end]);
        let mut saved = self.modules_to_save.iter().flatten();
        saved.any(|end| modules.clone().any(|module| module.ends_with(end.as_str())))
    }
}

impl AdapterState {
    pub fn get(&self, name: &str) -> Option<&Adapter> {
        self.adapters.iter().find(|adapter| adapter.name == name)
    }

    fn require(&self, name: &str) -> Result<&Adapter, ModelError> {
        self.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.adapters.iter().map(|it| it.name.as_str()).collect();
            ModelError::UnknownAdapter {
                name: name.to_owned(),
                known: known.join(", "),
            }
        })
    }

    /// # Errors
    /// A name that is taken or that cannot be.
    pub fn check_name(&self, name: &str) -> Result<(), ModelError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = name.to_owned();
        if name.is_empty() || !name.chars().all(fits) {
            return Err(ModelError::AdapterName { name });
        }
        match self.get(&name) {
            Some(_) => Err(ModelError::AdapterExists { name }),
            None => Ok(()),
        }
    }

    pub fn check_unmerged(&self) -> Result<(), ModelError> {
        match self.merged {
            true => Err(ModelError::Merged),
            false => Ok(()),
        }
    }
}

/// The model with one more adapter in its list; its layers are in the weights already.
pub(super) fn push(
    mut model: Box<dyn PreTrainedModel>,
    adapter: Adapter,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let name = adapter.name.clone();
    let state = &mut model.info_mut().adapters;
    state.adapters.push(adapter);
    match state.active.is_empty() {
        true => set_active(model, &[&name]),
        false => Ok(refresh(model)),
    }
}

pub(super) fn set_active(
    mut model: Box<dyn PreTrainedModel>,
    names: &[&str],
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let state = &model.info().adapters;
    state.check_unmerged()?;
    let adapters = names.iter().map(|name| state.require(name));
    let adapters = adapters.collect::<Result<Vec<_>, _>>()?;
    let with_own = adapters.iter().filter(|adapter| !adapter.own.is_empty());
    let with_own: Vec<&str> = with_own.map(|adapter| adapter.name.as_str()).collect();
    if with_own.len() > 1 {
        let names = with_own.join(", ");
        return Err(ModelError::SavedModules { names });
    }
    model = put_back(model);
    model.info_mut().adapters.active = names.iter().map(|&name| name.to_owned()).collect();
    Ok(refresh(put_in(model)))
}

pub(super) fn set_enabled(
    mut model: Box<dyn PreTrainedModel>,
    enabled: bool,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    model.info().adapters.check_unmerged()?;
    model = put_back(model);
    model.info_mut().adapters.enabled = enabled;
    Ok(refresh(put_in(model)))
}

pub(super) fn delete(
    mut model: Box<dyn PreTrainedModel>,
    name: &str,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    model.info().adapters.require(name)?;
    model.info().adapters.check_unmerged()?;
    model = put_back(model);
    model = edit_weights_by(model, |_| Some(Edit::Remove(name.to_owned())));
    let state = &mut model.info_mut().adapters;
    state.adapters.retain(|adapter| adapter.name != name);
    state.active.retain(|active| active != name);
    if state.active.is_empty() {
        let first = state.adapters.first();
        state
            .active
            .extend(first.map(|adapter| adapter.name.clone()));
    }
    Ok(refresh(put_in(model)))
}

/// The model's own parameters take their places again.
pub(super) fn put_back(mut model: Box<dyn PreTrainedModel>) -> Box<dyn PreTrainedModel> {
    let originals = std::mem::take(&mut model.info_mut().adapters.originals);
    if originals.is_empty() {
        return model;
    }
    let (mut model, taken) = swap(model, originals);
    let state = &mut model.info_mut().adapters;
    let active = state.active.clone();
    let holder = state.adapters.iter_mut();
    let mut holders = holder.filter(|it| active.contains(&it.name) && !it.own.is_empty());
    if let Some(holder) = holders.next() {
        holder.held = taken;
    }
    model
}

/// The parameters that the active adapter has its own of give way to these.
fn put_in(mut model: Box<dyn PreTrainedModel>) -> Box<dyn PreTrainedModel> {
    let state = &mut model.info_mut().adapters;
    let active = match state.enabled {
        true => state.active.clone(),
        false => Vec::new(),
    };
    let mut active = state
        .adapters
        .iter_mut()
        .filter(|it| active.contains(&it.name));
    let Some(adapter) = active.find(|adapter| !adapter.own.is_empty()) else {
        return model;
    };
    let own = std::mem::take(&mut adapter.held);
    let (mut model, taken) = swap(model, own);
    model.info_mut().adapters.originals = taken;
    model
}

/// The layers of adapters that take part are switched on, and what is to be trained follows gradients.
fn refresh(model: Box<dyn PreTrainedModel>) -> Box<dyn PreTrainedModel> {
    let state = &model.info().adapters;
    let active: Vec<Adapter> = match state.enabled {
        true => {
            let active = state.active.iter().filter_map(|name| state.get(name));
            active.cloned().collect()
        }
        false => Vec::new(),
    };
    let names: Vec<String> = active.iter().map(|adapter| adapter.name.clone()).collect();
    let trains = active.iter().all(|adapter| !adapter.config.inference_mode);
    let edit = Edit::Activate {
        adapters: names,
        trains,
    };
    let model = edit_weights_by(model, |_| Some(edit.clone()));
    let mut follow = Follow {
        path: ParameterPath::default(),
        trains: |name: &str| active.iter().any(|adapter| adapter.trains(name)),
    };
    model.map_parameters(&mut Restore(&mut follow))
}

/// Of the model's own parameters, those that `trains` names follow gradients, and no others.
pub(super) struct Follow<F> {
    pub path: ParameterPath,
    pub trains: F,
}

impl<F: FnMut(&str) -> bool> ModuleMapper for Follow<F> {
    follow_path!();
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.path.adapter().is_some() || self.path.is_buffer() {
            return param;
        }
        let trains = (self.trains)(&self.path.name());
        param.set_require_grad(trains)
    }
}
