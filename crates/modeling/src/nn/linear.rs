//! The linear layer.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_ops as ops;

use super::{Init, Weight};

/// `x Wᵀ + b` with the weight as checkpoints store it.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Weight,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer from `input` to `output` features.
    pub fn new(input: usize, output: usize, bias: bool, init: &Init) -> Self {
        Self {
            weight: Weight::new([output, input], init),
            bias: bias.then(|| init.zeros([output])),
        }
    }

    /// `[.., in]` to `[.., out]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let [y] = linears(x, [self]);
        y
    }
}

/// Several layers on one input `[.., in]`, in one pass over it.
pub fn linears<const D: usize, const N: usize>(
    x: Tensor<D>,
    layers: [&Linear; N],
) -> [Tensor<D>; N] {
    let operands = layers.map(|layer| (layer.weight.val(), layer.bias.as_ref().map(Param::val)));
    ops::linears(x, operands)
}
