//! Adapters that begin.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::config::setting;
use super::save::has_turned_layers;
use super::state::{Adapter, is_trained_bias, push};
use super::swap::copies;
use super::targets::{Target, targets};
use super::{InitLoraWeights, LoraConfig};
use crate::embeddings::is_output;
use crate::erased::Parameter;
use crate::nn::{
    Beginning, Draws, Edit, LoraLayer, LoraSettings, LoraTarget, Principal, Stream, edit_weights,
    orthogonal,
};
use crate::rebuild::trains;
use crate::{ModelError, PreTrainedModel};

pub(super) fn add(
    model: Box<dyn PreTrainedModel>,
    name: &str,
    config: &LoraConfig,
    draws: &Draws,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let mut config = config.clone().with_fresh_heads();
    if config.base_model_name_or_path.is_none() {
        let files = model.info().origin.files.as_ref();
        config.base_model_name_or_path = files.map(|files| files.source().to_string());
    }
    let targets = check(&*model, name, &config)?;
    check_fresh(&config, &targets)?;
    let device = device(&*model);
    let layer = |target: &Target| fresh(target, name, &config, draws, &device);
    let layers = targets.iter().map(layer).collect();
    let own = copies(&*model, |parameter| is_own(&config, &targets, parameter))?;
    attach(model, name, config, targets, layers, own, true)
}

/// # Errors
/// Adapters that cannot begin here as the config says.
fn check_fresh(config: &LoraConfig, targets: &[Target]) -> Result<(), ModelError> {
    let wrong = |reason: &str| Err(setting("init_lora_weights", reason));
    match config.init_lora_weights {
        InitLoraWeights::Eva => {
            wrong("explained variance needs data: such adapters are loaded and not made")
        }
        InitLoraWeights::Orthogonal if targets.iter().any(|target| target.rank % 2 == 1) => {
            wrong("orthogonal directions need an even rank")
        }
        InitLoraWeights::Orthogonal if targets.iter().any(Target::is_parameter) => {
            wrong("orthogonal directions do not go with `target_parameters`")
        }
        _ => Ok(()),
    }
}

/// # Errors
/// Adapters that cannot take over a part of a weight, where the config says that they do.
fn check_principal(
    model: &dyn PreTrainedModel,
    config: &LoraConfig,
    targets: &[Target],
) -> Result<(), ModelError> {
    let Some(principal) = config.init_lora_weights.principal() else {
        return Ok(());
    };
    let key = "init_lora_weights";
    if targets.iter().any(Target::is_parameter) {
        let reason =
            "adapters that take over a part of a weight do not go with `target_parameters`";
        return Err(setting(key, reason));
    }
    if principal == Principal::Orthonormal && has_turned_layers(model) {
        let reason = "OLoRA of Python's layers `[in, out]` is no adapter of theirs: take pissa";
        return Err(setting(key, reason));
    }
    let linear = targets
        .iter()
        .filter(|target| target.place.target == LoraTarget::Linear);
    for target in linear {
        let most = target.place.dims.into_iter().min().unwrap_or_default();
        if target.rank > most {
            let (rank, weight) = (target.rank, &target.place.weight);
            let reason = format!("rank {rank} of `{weight}`, which has {most} directions");
            return Err(setting("r", &reason));
        }
    }
    Ok(())
}

/// Whether the adapter has a parameter of its own in the place of the model's.
pub(super) fn is_own(config: &LoraConfig, targets: &[Target], parameter: &str) -> bool {
    config.saves(parameter) || is_trained_bias(config, targets, parameter)
}

/// The weights that the new adapter is for.
///
/// # Errors
/// What [`PeftModel::add_adapter`](super::PeftModel::add_adapter) says.
pub(super) fn check(
    model: &dyn PreTrainedModel,
    name: &str,
    config: &LoraConfig,
) -> Result<Vec<Target>, ModelError> {
    let state = &model.info().adapters;
    state.check_name(name)?;
    state.check_unmerged()?;
    config.validate()?;
    let targets = targets(model, config)?;
    check_principal(model, config, &targets)?;
    if model.info().config.tie_word_embeddings() {
        check_ties(model, config, &targets)?;
    }
    Ok(targets)
}

/// Python's output layer shares the values of a tied table and not what is trained in its stead.
fn check_ties(
    model: &dyn PreTrainedModel,
    config: &LoraConfig,
    targets: &[Target],
) -> Result<(), ModelError> {
    let table = model.input_name();
    let saved = table.as_ref().is_some_and(|table| config.saves(table));
    let asked_head = config.saves("lm_head.weight");
    if saved || asked_head {
        let reason = "embedding and output layer are tied: untie them first (`untie_weights`)";
        return Err(setting("modules_to_save", reason));
    }
    let is_tied = |target: &Target| {
        Some(&target.place.weight) == table.as_ref() || is_output(&target.place.weight)
    };
    if config.ensure_weight_tying && targets.iter().any(is_tied) {
        let reason = "an adapter of one of two tied layers is not one of the other: untie them first \
                      (`untie_weights`)";
        return Err(setting("ensure_weight_tying", reason));
    }
    Ok(())
}

/// Where the model's parameters are.
pub(super) fn device(model: &dyn PreTrainedModel) -> Device {
    let device = model.collect_devices(Vec::new()).into_iter().next();
    device.unwrap_or_default().without_autodiff()
}

/// The model with the layers in its weights, and with `own` parameters of the adapter in the place of the model's while it
/// takes part.
pub(super) fn attach(
    model: Box<dyn PreTrainedModel>,
    name: &str,
    config: LoraConfig,
    targets: Vec<Target>,
    layers: Vec<LoraLayer>,
    own: BTreeMap<String, Parameter>,
    is_fresh: bool,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let trains = trains(&*model);
    let principal = config.init_lora_weights.principal();
    let edit = |(target, layer): (&Target, LoraLayer)| {
        let layer = match trains {
            true => layer.train(),
            false => layer,
        };
        let how = Beginning {
            principal: principal.filter(|_| target.place.target == LoraTarget::Linear),
            is_fresh,
            has_magnitudes: config.use_dora,
        };
        let edit = Edit::Add {
            layer: Box::new(layer),
            how,
        };
        (target.place.weight.clone(), edit)
    };
    let edits: HashMap<String, Edit> = targets.iter().zip(layers).map(edit).collect();
    let adapter = Adapter {
        name: name.to_owned(),
        config,
        targets,
        own: own.keys().cloned().collect(),
        held: own,
    };
    push(edit_weights(model, edits), adapter)
}

/// The shapes of A and B.
pub(super) fn shapes(target: &Target) -> [[usize; 2]; 2] {
    let [out, input] = target.place.dims;
    let rank = target.rank * target.experts();
    match target.place.target {
        // The table is `[vocab, hidden]`.
        LoraTarget::Embedding => [[rank, out], [input, rank]],
        _ => [[rank, input], [out, rank]],
    }
}

/// What is to know of a layer beside its parameters.
pub(super) fn settings(target: &Target, name: &str, config: &LoraConfig) -> LoraSettings {
    LoraSettings {
        adapter: name.to_owned(),
        target: target.place.target,
        scaling: target.scaling(config),
        dropout: match target.place.target {
            LoraTarget::Linear => config.lora_dropout,
            _ => 0.0,
        },
        active: false,
    }
}

fn fresh(
    target: &Target,
    name: &str,
    config: &LoraConfig,
    draws: &Draws,
    device: &Device,
) -> LoraLayer {
    let [a, b] = shapes(target);
    let streams = [draws.stream(), draws.stream()];
    let [a, b] = match (target.place.target, config.init_lora_weights) {
        (LoraTarget::Embedding, InitLoraWeights::Random) => {
            [(a, Values::Normal(1.0)), (b, Values::Normal(1.0))]
        }
        (LoraTarget::Embedding, _) => [(a, Values::Zero), (b, Values::Normal(1.0))],
        (_, InitLoraWeights::Default) => [(a, Values::Uniform), (b, Values::Zero)],
        (_, InitLoraWeights::Gaussian) => [
            (a, Values::Normal(1.0 / target.rank as f64)),
            (b, Values::Zero),
        ],
        (_, InitLoraWeights::Random) => [(a, Values::Uniform), (b, Values::Uniform)],
        (_, InitLoraWeights::Orthogonal) => {
            let [odd, even] = halves(target.rank, draws.stream());
            [(a, Values::A(odd)), (b, Values::B(even))]
        }
        // The weight gives them.
        _ => [(a, Values::Zero), (b, Values::Zero)],
    };
    let parameter = |(shape, values): ([usize; 2], Values), stream| {
        let values = values.draw(shape, stream);
        Param::from_tensor(tensor(values, shape, device))
    };
    let bias = config.lora_bias && target.place.target == LoraTarget::Linear;
    LoraLayer {
        lora_A: parameter(a, streams[0]),
        lora_B: parameter(b, streams[1]),
        lora_magnitude_vector: None,
        lora_bias: bias.then(|| {
            let out = target.place.dims[0];
            Param::from_tensor(tensor(vec![0.0; out], [out], device))
        }),
        initial: None,
        settings: settings(target, name, config),
        scale: Arc::default(),
    }
}

pub(super) fn tensor<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

enum Values {
    Zero,
    /// Of this spread.
    Normal(f64),
    /// As fresh linear layers are: up to one over the root of the inputs (He et al. 2015, with a slope of √5).
    Uniform,
    /// Of random multiples of these rows: A, whose columns they are, and B, whose rows they are.
    A(Vec<Vec<f64>>),
    B(Vec<Vec<f64>>),
}

/// Two random halves of an orthogonal basis of the ranks: what one says, the other does not hear.
fn halves(rank: usize, stream: Stream) -> [Vec<Vec<f64>>; 2] {
    let mut rows = orthogonal(rank, stream.normal(rank * rank, 1.0));
    let even = rows.split_off(rank / 2);
    [rows, even]
}

/// For each of `count`, a random combination of the rows; a tenth of it, as in `peft`.
fn combinations(rows: &[Vec<f64>], count: usize, stream: Stream) -> Vec<Vec<f64>> {
    let factors = stream.normal(count * rows.len(), 0.1);
    let combination = |factors: &[f32]| {
        let mut sum = vec![0.0; rows.first().map_or(0, Vec::len)];
        for (row, factor) in rows.iter().zip(factors) {
            for (sum, x) in sum.iter_mut().zip(row) {
                *sum += f64::from(*factor) * x;
            }
        }
        sum
    };
    factors.chunks(rows.len().max(1)).map(combination).collect()
}

impl Values {
    fn draw(&self, shape: [usize; 2], stream: Stream) -> Vec<f32> {
        let count = shape[0] * shape[1];
        match self {
            Self::Zero => vec![0.0; count],
            Self::Normal(std) => stream.normal(count, *std),
            Self::Uniform => {
                let bound = (shape[1] as f64).powf(-0.5);
                stream.uniform(count, -bound, bound)
            }
            Self::A(rows) => {
                let inputs = combinations(rows, shape[1], stream);
                let row = |rank: usize| inputs.iter().map(move |input| input[rank] as f32);
                (0..shape[0]).flat_map(row).collect()
            }
            Self::B(rows) => {
                let outputs = combinations(rows, shape[0], stream);
                outputs.into_iter().flatten().map(|x| x as f32).collect()
            }
        }
    }
}
