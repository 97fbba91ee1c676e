//! What a checkpoint holds beside the weights.

use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};

use super::Init;

/// A tensor of a checkpoint that is not trained, and is f32 in memory whatever dtype the model is loaded in. Its values are
/// rounded to that dtype where the reference's class rounds them.
#[derive(Module, Debug)]
pub enum Buffer<const D: usize> {
    /// Its values.
    Float32(Param<Tensor<D>>),
}

/// The container that visitors and mappers see around a buffer's parameter.
pub(crate) const CONTAINER: &str = "Enum:Buffer";

impl<const D: usize> Buffer<D> {
    /// Zeros, unless a checkpoint fills it.
    pub fn zeros(shape: [usize; D], init: &Init) -> Self {
        let init = Init {
            dtype: DType::F32,
            ..init.clone()
        };
        Self::Float32(init.zeros(shape).set_require_grad(false))
    }

    /// Its values.
    pub fn val(&self) -> Tensor<D> {
        let Self::Float32(values) = self;
        values.val()
    }
}
