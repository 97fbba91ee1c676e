//! The gated feed-forward block of Llama and its kin.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_ops as ops;

use super::{Activation, Init, Linear, linears};

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
