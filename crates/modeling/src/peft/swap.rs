//! Parameters that stand in for the model's own: of parts that are trained as a whole, and of biases.

use std::collections::BTreeMap;

use burn::module::{ModuleMapper, Param, ParamId};
use burn::tensor::{DType, Tensor};

use crate::erased::{Parameter, ParameterMapper, ParameterRef, ParameterVisitor, Restore};
use crate::parameters::ParameterPath;
use crate::{ModelError, PreTrainedModel};

/// The model with `values` in the places of the parameters of these names, and what was there.
pub(super) fn swap(
    model: Box<dyn PreTrainedModel>,
    values: BTreeMap<String, Parameter>,
) -> (Box<dyn PreTrainedModel>, BTreeMap<String, Parameter>) {
    let mut swap = Swap {
        path: ParameterPath::default(),
        values,
        taken: BTreeMap::new(),
    };
    let model = model.map_parameters(&mut swap);
    (model, swap.taken)
}

struct Swap {
    path: ParameterPath,
    values: BTreeMap<String, Parameter>,
    taken: BTreeMap<String, Parameter>,
}

impl ParameterMapper for Swap {
    fn map(&mut self, param: Parameter) -> Parameter {
        let name = self.path.name();
        match self.values.remove(&name) {
            Some(value) => {
                self.taken.insert(name, param);
                value
            }
            None => param,
        }
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}

/// Copies of the model's own parameters that `is_wanted` names, to be trained in their stead: in f32, as what is trained is.
///
/// # Errors
/// A weight in quantised blocks.
pub(super) fn copies(
    model: &dyn PreTrainedModel,
    is_wanted: impl FnMut(&str) -> bool,
) -> Result<BTreeMap<String, Parameter>, ModelError> {
    let mut copies = Copies {
        path: ParameterPath::default(),
        is_wanted,
        found: BTreeMap::new(),
        in_blocks: None,
    };
    model.visit_parameters(&mut copies);
    match copies.in_blocks {
        Some(name) => Err(ModelError::InBlocks { name }),
        None => Ok(copies.found),
    }
}

struct Copies<F> {
    path: ParameterPath,
    is_wanted: F,
    found: BTreeMap<String, Parameter>,
    in_blocks: Option<String>,
}

impl<F: FnMut(&str) -> bool> ParameterVisitor for Copies<F> {
    fn visit(&mut self, param: ParameterRef<'_>) {
        let name = self.path.name();
        if self.path.adapter().is_some() || !(self.is_wanted)(&name) {
            return;
        }
        if matches!(param, ParameterRef::Blocks(_)) {
            self.in_blocks = Some(name);
            return;
        }
        let copy = Restore(&mut Fresh).map(param.to_parameter());
        self.found.insert(name, copy);
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}

/// A parameter of its own with the same value.
struct Fresh;

impl ModuleMapper for Fresh {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (_, value, mapper) = param.consume();
        let value = value.detach().cast(DType::F32);
        Param::from_mapped_value(ParamId::new(), value, mapper)
    }
}
