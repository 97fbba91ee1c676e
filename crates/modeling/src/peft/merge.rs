//! Adapters that become part of the weights.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::config::setting;
use super::state::{Adapter, AdapterState, Follow, put_back};
use crate::embeddings::is_output;
use crate::erased::Restore;
use crate::nn::{Edit, edit_weights_by};
use crate::parameters::{ParameterPath, follow_path};
use crate::{ModelError, PreTrainedModel};

pub(super) fn merge(
    mut model: Box<dyn PreTrainedModel>,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    model.info().adapters.check_unmerged()?;
    model = edit_weights_by(model, |_| Some(Edit::Merge));
    model.info_mut().adapters.merged = true;
    Ok(model)
}

pub(super) fn unmerge(
    mut model: Box<dyn PreTrainedModel>,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    model = edit_weights_by(model, |_| Some(Edit::Unmerge));
    model.info_mut().adapters.merged = false;
    Ok(model)
}

pub(super) fn unload(
    mut model: Box<dyn PreTrainedModel>,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    model = put_back(model);
    model = edit_weights_by(model, |_| Some(Edit::Unmerge));
    Ok(without_adapters(model))
}

pub(super) fn merge_and_unload(
    mut model: Box<dyn PreTrainedModel>,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let biases = biases(&*model)?;
    let shared = shared_table(&*model);
    if !model.info().adapters.merged {
        model = merge(model)?;
    }
    model = without_adapters(model);
    if !biases.is_empty() {
        model = model.map_parameters(&mut Restore(&mut AddBiases {
            path: ParameterPath::default(),
            biases,
        }));
    }
    match shared {
        // The output layer shares the table and not its adapters.
        Some(table) => Ok(model
            .with_tied_weights(false)?
            .with_parameter(is_output, table)),
        None => Ok(model),
    }
}

/// The weights as they are, merged where they are, and nothing of the adapters.
fn without_adapters(mut model: Box<dyn PreTrainedModel>) -> Box<dyn PreTrainedModel> {
    model = edit_weights_by(model, |_| Some(Edit::Unload));
    model.info_mut().adapters = AdapterState::default();
    let mut follow = Follow {
        path: ParameterPath::default(),
        trains: |_: &str| true,
    };
    model.map_parameters(&mut Restore(&mut follow))
}

/// The table of the tokens' vectors without adapters, where it has some and the output layer shares it.
fn shared_table(model: &dyn PreTrainedModel) -> Option<Tensor<2>> {
    let table = model.input_name()?;
    let tied = model.info().config.tie_word_embeddings();
    let active = active(model);
    let mut targets = active.iter().flat_map(|adapter| &adapter.targets);
    let adapted = targets.any(|target| target.place.weight == table);
    (tied && adapted).then(|| model.get_input_embeddings())?
}

fn active(model: &dyn PreTrainedModel) -> Vec<&Adapter> {
    let state = &model.info().adapters;
    let names = state.active.iter().filter(|_| state.enabled);
    names.filter_map(|name| state.get(name)).collect()
}

/// What adapters with a bias add to the biases of the model, by the parameter's name.
fn biases(model: &dyn PreTrainedModel) -> Result<BTreeMap<String, Tensor<1>>, ModelError> {
    let mut scalings = BTreeMap::new();
    for adapter in active(model).iter().filter(|it| it.config.lora_bias) {
        for target in &adapter.targets {
            let weight = &target.place.weight;
            let key = format!("{weight}.{}.lora_bias", adapter.name);
            let bias = format!("{}.bias", target.place.module);
            scalings.insert(key, (bias, target.scaling(&adapter.config)));
        }
    }
    let mut biases = Biases {
        path: ParameterPath::default(),
        scalings,
        names: BTreeSet::new(),
        found: BTreeMap::new(),
    };
    model.visit_parameters(&mut Restore(&mut biases));
    let lonely = biases
        .found
        .keys()
        .find(|name| !biases.names.contains(*name));
    match lonely {
        Some(name) => {
            let reason = format!("there is no `{name}` that the adapter's bias could be added to");
            Err(setting("lora_bias", &reason))
        }
        None => Ok(biases.found),
    }
}

struct Biases {
    path: ParameterPath,
    /// The bias and the factor, by the names of the adapters' biases.
    scalings: BTreeMap<String, (String, f64)>,
    /// Of all parameters.
    names: BTreeSet<String>,
    found: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Biases {
    follow_path!();
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        if let Some((bias, scaling)) = self.scalings.get(&name) {
            let value: Tensor<1> = param.val().detach().mul_scalar(*scaling).flatten(0, D - 1);
            let sum = match self.found.remove(bias) {
                Some(other) => other + value,
                None => value,
            };
            self.found.insert(bias.clone(), sum);
        }
        self.names.insert(name);
    }
}

struct AddBiases {
    path: ParameterPath,
    biases: BTreeMap<String, Tensor<1>>,
}

impl ModuleMapper for AddBiases {
    follow_path!();
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.biases.remove(&self.path.name()) {
            Some(bias) => param.map(|old| {
                let bias = bias.reshape(old.dims()).cast(old.dtype());
                (old + bias).detach()
            }),
            None => param,
        }
    }
}
