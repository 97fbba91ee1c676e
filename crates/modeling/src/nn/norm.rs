//! Normalisation layers.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_ops as ops;
pub use transformers_ops::NormForm;

use super::Init;

/// Which norm a family has, and its numbers.
#[derive(Debug, Clone, Copy)]
pub enum NormOptions {
    /// [`RmsNorm`].
    Rms {
        /// Added to the mean square.
        eps: f64,
        /// What the weight means.
        form: NormForm,
    },
    /// [`LayerNorm`].
    Layer {
        /// Added to the variance.
        eps: f64,
        /// Whether there is a bias beside the weight.
        bias: bool,
        /// What the weight means.
        form: NormForm,
    },
    /// [`PlainNorm`].
    Plain {
        /// Added to the variance.
        eps: f64,
    },
}

impl NormOptions {
    /// Llama's.
    pub fn rms(eps: f64) -> Self {
        let form = NormForm::Plain;
        Self::Rms { eps, form }
    }

    /// Gemma's.
    pub fn rms_one_plus(eps: f64) -> Self {
        let form = NormForm::OnePlus;
        Self::Rms { eps, form }
    }

    /// GPT-2's.
    pub fn layer(eps: f64) -> Self {
        let form = NormForm::Plain;
        let bias = true;
        Self::Layer { eps, bias, form }
    }

    /// MPT's.
    pub fn layer_without_bias(eps: f64) -> Self {
        let form = NormForm::Plain;
        let bias = false;
        Self::Layer { eps, bias, form }
    }

    /// Nemotron's.
    pub fn layer_one_plus(eps: f64) -> Self {
        let form = NormForm::OnePlus;
        let bias = true;
        Self::Layer { eps, bias, form }
    }
}

/// One of them.
#[derive(Module, Debug)]
pub enum Norm {
    /// Root mean square.
    Rms(RmsNorm),
    /// Mean and variance.
    Layer(LayerNorm),
    /// Mean and variance, and no parameters.
    Plain(PlainNorm),
}

impl Norm {
    /// A norm over `size` features.
    pub fn new(size: usize, options: NormOptions, init: &Init) -> Self {
        match options {
            NormOptions::Rms { eps, form } => Self::Rms(RmsNorm::new(size, eps, form, init)),
            NormOptions::Layer { eps, bias, form } => {
                Self::Layer(LayerNorm::with_form(size, eps, bias, form, init))
            }
            NormOptions::Plain { eps } => Self::Plain(PlainNorm { eps }),
        }
    }

    /// `[.., size]` to the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Rms(norm) => norm.forward(x),
            Self::Layer(norm) => norm.forward(x),
            Self::Plain(norm) => norm.forward(x),
        }
    }

    /// Adds `x` to the residual stream: gives the stream and its norm. All are `[.., size]`.
    pub fn add<const D: usize>(&self, x: Tensor<D>, residual: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
        match self {
            Self::Rms(norm) => norm.add(x, residual),
            norm => {
                let sum = residual + x;
                (sum.clone(), norm.forward(sum))
            }
        }
    }
}

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
        let weight = identity(size, form, init);
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
    #[module(skip)]
    form: NormForm,
}

impl LayerNorm {
    /// A norm over `size` features.
    pub fn new(size: usize, eps: f64, bias: bool, init: &Init) -> Self {
        Self::with_form(size, eps, bias, NormForm::Plain, init)
    }

    fn with_form(size: usize, eps: f64, bias: bool, form: NormForm, init: &Init) -> Self {
        Self {
            // Ones in either form: a fresh Nemotron doubles.
            weight: init.ones([size]),
            bias: bias.then(|| init.zeros([size])),
            eps,
            form,
        }
    }

    fn factor(&self) -> Tensor<1> {
        match self.form {
            NormForm::Plain => self.weight.val(),
            NormForm::OnePlus => self.weight.val() + 1.0,
        }
    }

    /// `[.., size]` to the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        ops::layer_norm(x, self.factor(), bias, self.eps)
    }

    /// The norm of `x + residual`. All are `[.., size]`.
    pub fn add<const D: usize>(&self, x: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        ops::add_layer_norm(x, residual, self.factor(), bias, self.eps)
    }
}

/// [`LayerNorm`] without weight and bias.
#[derive(Module, Debug)]
pub struct PlainNorm {
    eps: f64,
}

impl PlainNorm {
    /// `[.., size]` to the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let ones = Tensor::ones([x.dims()[D - 1]], (&x.device(), x.dtype()));
        ops::layer_norm(x, ones, None, self.eps)
    }
}

/// The weight that changes nothing.
fn identity(size: usize, form: NormForm, init: &Init) -> Param<Tensor<1>> {
    match form {
        NormForm::Plain => init.ones([size]),
        NormForm::OnePlus => init.zeros([size]),
    }
}
