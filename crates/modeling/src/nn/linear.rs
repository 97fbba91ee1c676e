//! The linear layer.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_ops as ops;

use super::Init;

/// `x Wᵀ + b` with the weight as checkpoints store it.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer from `input` to `output` features.
    pub fn new(input: usize, output: usize, bias: bool, init: &Init) -> Self {
        Self {
            weight: init.normal([output, input]),
            bias: bias.then(|| init.zeros([output])),
        }
    }

    /// `[.., in]` to `[.., out]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::linear(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }
}
