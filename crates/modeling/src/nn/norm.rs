//! Normalisation layers.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_ops as ops;
pub use transformers_ops::NormForm;

use super::Init;

/// Root-mean-square norm over the last dimension.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[size]`.
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub eps: f64,
    #[module(skip)]
    form: NormForm,
}

impl RmsNorm {
    /// A norm over `size` features.
    pub fn new(size: usize, eps: f64, form: NormForm, init: &Init) -> Self {
        let weight = match form {
            NormForm::Plain => init.ones([size]),
            NormForm::OnePlus => init.zeros([size]),
        };
        Self { weight, eps, form }
    }

    /// `[.., size]` to the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::rms_norm(x, self.weight.val(), self.form, self.eps)
    }

    /// Adds `x` to the residual stream: gives the stream and its norm. All are `[.., size]`.
    pub fn add<const D: usize>(&self, x: Tensor<D>, residual: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
        ops::add_rms_norm(x, residual, self.weight.val(), self.form, self.eps)
    }
}

/// Layer norm over the last dimension.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[size]`.
    pub weight: Param<Tensor<1>>,
    /// `[size]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// A norm over `size` features.
    pub fn new(size: usize, eps: f64, bias: bool, init: &Init) -> Self {
        Self {
            weight: init.ones([size]),
            bias: bias.then(|| init.zeros([size])),
            eps,
        }
    }

    /// `[.., size]` to the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        ops::layer_norm(x, self.weight.val(), bias, self.eps)
    }

    /// The norm of `x + residual`. All are `[.., size]`.
    pub fn add<const D: usize>(&self, x: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        ops::add_layer_norm(x, residual, self.weight.val(), bias, self.eps)
    }
}
