//! Changes of a model's adapters.
//!
//! burn's mappers see parameters, and not the weights that hold them. So a change is attached to a weight's parameter, as
//! a reparameterization that does nothing, and the weight takes it off when the mapper gives the parameter back.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param, Reparameterization, Reparameterizer};
use burn::tensor::Tensor;

use super::LoraLayer;
use super::lora::Beginning;
use crate::PreTrainedModel;
use crate::erased::Restore;
use crate::parameters::{ParameterPath, follow_path};

/// What becomes of the adapters of a weight.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    /// One more.
    Add {
        layer: Box<LoraLayer>,
        how: Beginning,
    },
    /// The one of that name is taken away.
    Remove(String),
    /// These take part, and no others; with `trains`, they alone are trained.
    Activate {
        adapters: Vec<String>,
        trains: bool,
    },
    /// The weight is used as the adapters that take part make it, until [`Edit::Unmerge`].
    Merge,
    Unmerge,
    /// The merged weight takes the place of the base, and no adapter is left.
    Unload,
}

/// An edit on its way.
#[derive(Module, Debug)]
pub(super) struct Delivery {
    #[module(skip)]
    pub edit: Edit,
}

impl Reparameterization for Delivery {
    const NAME: &'static str = "edit";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        base
    }
}

/// Attaches an edit to the one parameter that it is applied to.
struct Attach(Edit);

impl Reparameterizer for Attach {
    type Reparam = Delivery;

    fn reparameterize<const D: usize>(
        &mut self,
        _path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Delivery>) {
        let edit = self.0.clone();
        (param, Some(Delivery { edit }))
    }
}

/// The model with its weights edited, each by its name.
pub(crate) fn edit_weights(
    model: Box<dyn PreTrainedModel>,
    mut edits: HashMap<String, Edit>,
) -> Box<dyn PreTrainedModel> {
    edit_weights_by(model, |name| edits.remove(name))
}

/// The same with the edit that `choose` gives for a weight's name; it is asked once or twice.
pub(crate) fn edit_weights_by(
    model: Box<dyn PreTrainedModel>,
    choose: impl FnMut(&str) -> Option<Edit>,
) -> Box<dyn PreTrainedModel> {
    let mut deliver = Deliver {
        path: ParameterPath::default(),
        choose,
    };
    model.map_parameters(&mut Restore(&mut deliver))
}

struct Deliver<F> {
    path: ParameterPath,
    choose: F,
}

impl<F: FnMut(&str) -> Option<Edit>> ModuleMapper for Deliver<F> {
    follow_path!();
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !self.path.is_weight() {
            return param;
        }
        match (self.choose)(&self.path.name()) {
            Some(edit) => param.apply_reparameterization(Attach(edit)),
            None => param,
        }
    }
}
