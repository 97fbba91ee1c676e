//! The linear layer.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_ops as ops;

use super::{Embedding, Init, Weight};

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

    /// A layer from `input` to `output` features, whose fresh weights have a spread of their own where `std` says so.
    pub fn with_std(
        [input, output]: [usize; 2],
        bias: bool,
        std: Option<f64>,
        init: &Init,
    ) -> Self {
        match std {
            Some(std) => Self::new(input, output, bias, &init.with_std(std)),
            None => Self::new(input, output, bias, init),
        }
    }

    /// `[.., in]` to `[.., out]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let [y] = linears(x, [self]);
        y
    }
}

/// The layer that gives logits of the vocabulary; its weight is its own, or that of the table of words.
#[derive(Module, Debug)]
pub struct OutputLayer {
    weight: Option<Weight>,
    /// `[vocab]`.
    bias: Option<Param<Tensor<1>>>,
}

impl OutputLayer {
    /// A layer from `hidden` features to `vocab` logits; a tied one has no weight.
    pub fn new(hidden: usize, vocab: usize, bias: bool, tied: bool, init: &Init) -> Self {
        Self {
            weight: (!tied).then(|| Weight::new([vocab, hidden], init)),
            bias: bias.then(|| init.zeros([vocab])),
        }
    }

    /// `[batch, seq, hidden]` to `[batch, seq, vocab]`; `words` is the table that a tied layer shares, without the table's
    /// adapters.
    pub fn forward(&self, hidden: Tensor<3>, words: &Embedding) -> Tensor<3> {
        let bias = self.bias.as_ref().map(Param::val);
        match &self.weight {
            Some(weight) => {
                let [logits] = products(hidden, [(weight, bias)]);
                logits
            }
            None => ops::linear(hidden, words.weight.stored(), bias),
        }
    }
}

/// Several layers on one input `[.., in]`, in one pass over it.
pub fn linears<const D: usize, const N: usize>(
    x: Tensor<D>,
    layers: [&Linear; N],
) -> [Tensor<D>; N] {
    products(
        x,
        layers.map(|layer| (&layer.weight, layer.bias.as_ref().map(Param::val))),
    )
}

/// What the weights give, with their adapters.
fn products<const D: usize, const N: usize>(
    x: Tensor<D>,
    layers: [(&Weight, Option<Tensor<1>>); N],
) -> [Tensor<D>; N] {
    let operands = layers
        .clone()
        .map(|(weight, bias)| (weight.base(), sum(bias, weight.merged_bias())));
    if layers.iter().all(|(weight, _)| weight.adapters().is_none()) {
        return ops::linears(x, operands);
    }
    let mut layers = layers.into_iter();
    ops::linears(x.clone(), operands).map(|y| {
        let (weight, bias) = layers.next().expect("one for each output");
        match weight.adapters() {
            Some(adapters) => adapters.linear(&x, y, weight, bias),
            None => y,
        }
    })
}

fn sum(bias: Option<Tensor<1>>, merged: Option<Tensor<1>>) -> Option<Tensor<1>> {
    match (bias, merged) {
        (Some(bias), Some(merged)) => Some(bias + merged),
        (bias, merged) => bias.or(merged),
    }
}
