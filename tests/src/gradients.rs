//! The gradients of a case's loss against the reference's.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::{Gradients, Tensor};
use transformers_modeling::{
    ModelInputs, Parameter, ParameterMapper, ParameterPath, ParameterRef, ParameterVisitor,
    PreTrainedModel,
};

use crate::case::ReferenceTensors;
use crate::conformance::worst;
use crate::{Case, CaseError, saved};

/// A gradient may be this far away, relative to the largest value of its tensor.
const RELATIVE: f64 = 1e-4;
/// And at least this far, relative to the largest of all: some are zero but for rounding, as that of a key's bias.
const OF_ALL: f64 = 1e-6;

/// Of two parameters that are tied, the reference may know the output layer's, where we have the embedding.
const OUTPUT: &str = "lm_head.decoder.weight";
const WORDS: &str = "word_embeddings.weight";

/// Of the parameters `names`, the distance of the gradient that is farthest beyond, or nearest to, its limit.
pub(crate) fn farthest(
    case: &Case,
    names: &[String],
    model: Box<dyn PreTrainedModel>,
    inputs: &ModelInputs,
) -> Result<(f64, f64), CaseError> {
    let model = model.train();
    let loss = model.forward(inputs, None)?.loss()?;
    let mut ours = Collect {
        path: ParameterPath::default(),
        gradients: loss.backward(),
        found: BTreeMap::new(),
    };
    model.visit_parameters(&mut ours);
    let on_disk = as_saved(model, &ours.gradients)?;

    let mut pairs = Vec::with_capacity(names.len());
    for name in names {
        let reference = case.tensors.values(&format!("grad.{name}"))?;
        let ours = match on_disk.has(name) {
            true => on_disk.values(name)?,
            false => {
                let tied = name.ends_with(OUTPUT);
                let mut found = ours.found.iter();
                let found = found.find(|(it, _)| *it == name || tied && it.ends_with(WORDS));
                let ours = found.map(|(_, gradient)| gradient.clone());
                ours.ok_or_else(|| CaseError::NoParameter(name.clone()))?
            }
        };
        if ours.len() != reference.len() {
            return Err(CaseError::Length {
                name: format!("grad.{name}"),
                reference: reference.len(),
                ours: ours.len(),
            });
        }
        pairs.push((ours, reference));
    }
    let largest = |values: &[f32]| {
        let values = values.iter().map(|value| f64::from(value.abs()));
        values.fold(0.0, f64::max)
    };
    let of_all = pairs.iter().map(|(_, reference)| largest(reference));
    let of_all = of_all.fold(0.0, f64::max);
    Ok(worst(pairs.iter().map(|(ours, reference)| {
        let apart: Vec<f32> = ours.iter().zip(reference).map(|(a, b)| a - b).collect();
        let limit = (RELATIVE * largest(reference)).max(OF_ALL * of_all);
        match apart.iter().any(|value| value.is_nan()) {
            true => (f64::NAN, limit),
            false => (largest(&apart), limit),
        }
    })))
}

/// The gradients in the places of their parameters, as the model would be saved: checkpoints have other names, and some
/// of their tensors are turned or parted.
fn as_saved(
    model: Box<dyn PreTrainedModel>,
    gradients: &Gradients,
) -> Result<ReferenceTensors, CaseError> {
    let folder = saved::temporary_folder()?;
    let placed = model.map_parameters(&mut Place(gradients));
    placed.save_pretrained(folder.path())?;
    // The file stays readable when the folder is gone.
    Ok(ReferenceTensors::of(saved::open(folder.path())?))
}

struct Place<'a>(&'a Gradients);

impl Place<'_> {
    fn take<const D: usize>(&self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| {
            let gradient = value.grad(self.0);
            gradient.unwrap_or_else(|| value.without_autodiff().zeros_like())
        })
    }
}

impl ParameterMapper for Place<'_> {
    fn map(&mut self, param: Parameter) -> Parameter {
        match param {
            Parameter::Rank1(param) => Parameter::Rank1(self.take(param)),
            Parameter::Rank2(param) => Parameter::Rank2(self.take(param)),
            Parameter::Rank3(param) => Parameter::Rank3(self.take(param)),
            Parameter::Rank4(param) => Parameter::Rank4(self.take(param)),
            Parameter::Rank5(param) => Parameter::Rank5(self.take(param)),
            blocks @ Parameter::Blocks(_) => blocks,
        }
    }
    fn enter(&mut self, _: &str, _: &str) {}
    fn exit(&mut self, _: &str, _: &str) {}
}

/// Gradients by the names that the parameters have in memory; of parameters without one, zeros.
struct Collect {
    path: ParameterPath,
    gradients: Gradients,
    found: BTreeMap<String, Vec<f32>>,
}

impl Collect {
    fn take<const D: usize>(&mut self, value: &Tensor<D>) {
        let gradient = match value.grad(&self.gradients) {
            Some(gradient) => gradient.into_data().iter::<f32>().collect(),
            None => vec![0.0; value.shape().num_elements()],
        };
        self.found.insert(self.path.name(), gradient);
    }
}

impl ParameterVisitor for Collect {
    fn visit(&mut self, param: ParameterRef<'_>) {
        match param {
            ParameterRef::Rank1(param) => self.take(&param.val()),
            ParameterRef::Rank2(param) => self.take(&param.val()),
            ParameterRef::Rank3(param) => self.take(&param.val()),
            ParameterRef::Rank4(param) => self.take(&param.val()),
            ParameterRef::Rank5(param) => self.take(&param.val()),
            ParameterRef::Blocks(_) => {}
        }
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}
