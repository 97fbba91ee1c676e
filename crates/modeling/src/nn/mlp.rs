//! Feed-forward layers.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_ops as ops;

use super::{Activation, Init, Linear, linears};

/// The shape of an [`Mlp`].
#[derive(Debug, Clone, Copy)]
pub struct MlpOptions {
    /// Features inside.
    pub intermediate_size: usize,
    /// Which products there are.
    pub form: MlpForm,
    /// Biases of all projections.
    pub bias: bool,
    /// What is between them.
    pub activation: Activation,
    /// Standard deviation of the fresh weights of a [`PlainMlp`]'s second layer, where it has one of its own (GPT-2).
    pub output_std: Option<f64>,
}

/// The products of an [`Mlp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MlpForm {
    /// [`GatedMlp`].
    Gated,
    /// The same with gate and up in one weight ([`FusedGatedMlp`]).
    FusedGated,
    /// [`PlainMlp`].
    Plain,
}

impl MlpOptions {
    /// Llama's: gated, without biases.
    pub fn gated(intermediate_size: usize, activation: Activation) -> Self {
        Self {
            intermediate_size,
            form: MlpForm::Gated,
            bias: false,
            activation,
            output_std: None,
        }
    }

    /// GPT-2's: two layers with biases.
    pub fn plain(intermediate_size: usize, activation: Activation) -> Self {
        Self {
            intermediate_size,
            form: MlpForm::Plain,
            bias: true,
            activation,
            output_std: None,
        }
    }
}

/// The feed-forward layer of a block, in one of its forms.
#[derive(Module, Debug)]
pub enum Mlp {
    /// See [`MlpForm::Gated`].
    Gated(GatedMlp),
    /// See [`MlpForm::FusedGated`].
    FusedGated(FusedGatedMlp),
    /// See [`MlpForm::Plain`].
    Plain(PlainMlp),
}

impl Mlp {
    /// A layer of `hidden` features.
    pub fn new(hidden: usize, options: MlpOptions, init: &Init) -> Self {
        let MlpOptions {
            intermediate_size,
            bias,
            activation,
            ..
        } = options;
        let linear = |input, output| Linear::new(input, output, bias, init);
        match options.form {
            MlpForm::Gated => Self::Gated(GatedMlp::new(
                hidden,
                intermediate_size,
                bias,
                activation,
                init,
            )),
            MlpForm::FusedGated => Self::FusedGated(FusedGatedMlp {
                gate_up_proj: linear(hidden, 2 * intermediate_size),
                down_proj: linear(intermediate_size, hidden),
                activation,
            }),
            MlpForm::Plain => Self::Plain(PlainMlp {
                up_proj: linear(hidden, intermediate_size),
                down_proj: Linear::with_std(
                    [intermediate_size, hidden],
                    bias,
                    options.output_std,
                    init,
                ),
                activation,
            }),
        }
    }

    /// `[batch, seq, hidden]` to the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Gated(mlp) => mlp.forward(x),
            Self::FusedGated(mlp) => mlp.forward(x),
            Self::Plain(mlp) => mlp.forward(x),
        }
    }
}

/// `down(act(gate(x)) * up(x))` (Shazeer 2020).
#[derive(Module, Debug)]
pub struct GatedMlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl GatedMlp {
    /// A block of `hidden` features with `intermediate` ones inside.
    pub fn new(
        hidden: usize,
        intermediate: usize,
        bias: bool,
        activation: Activation,
        init: &Init,
    ) -> Self {
        Self {
            gate_proj: Linear::new(hidden, intermediate, bias, init),
            up_proj: Linear::new(hidden, intermediate, bias, init),
            down_proj: Linear::new(intermediate, hidden, bias, init),
            activation,
        }
    }

    /// `[batch, seq, hidden]` to the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [gate, up] = linears(x, [&self.gate_proj, &self.up_proj]);
        self.down_proj
            .forward(ops::gated(gate, up, self.activation))
    }
}

/// [`GatedMlp`] with gate and up as the two halves of one weight.
#[derive(Module, Debug)]
pub struct FusedGatedMlp {
    gate_up_proj: Linear,
    down_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl FusedGatedMlp {
    /// `[batch, seq, hidden]` to the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let both = self.gate_up_proj.forward(x);
        let inner = both.dims()[2] / 2;
        let (gate, up) = (
            both.clone().narrow(2, 0, inner),
            both.narrow(2, inner, inner),
        );
        self.down_proj
            .forward(ops::gated(gate, up, self.activation))
    }
}

/// `down(act(up(x)))`.
#[derive(Module, Debug)]
pub struct PlainMlp {
    up_proj: Linear,
    down_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl PlainMlp {
    /// `[batch, seq, hidden]` to the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let inner = self.up_proj.forward(x);
        self.down_proj
            .forward(ops::activate(inner, self.activation))
    }
}
