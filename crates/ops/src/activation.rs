//! Activations, and the gated pairs that feed-forward blocks use.

use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, activation};
use transformers_kernels as kernels;
pub use transformers_kernels::Activation;

use crate::gradient::{Derivative, Operand, record, takes};
use crate::host::{changed, flex, flex_of, floats, on_host, update};

/// `activation(x)`, element by element; any shape.
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    if on_host(&x) {
        return update(flex(x), |x| kernels::activate(activation, x));
    }
    if takes(&x) {
        let dims = x.dims();
        let x = Operand::new(x);
        let value = x.value();
        let y = flex_of(kernels::activated(activation, &floats(&value)), dims);
        let derivative = Activated {
            x: value,
            activation,
        };
        return record([x.node()], y, derivative);
    }
    match activation {
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Relu => activation::relu(x),
        Activation::SquaredRelu => activation::relu(x).square(),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::Softplus => softplus(x),
        Activation::QuickGelu => activation::sigmoid(x.clone() * 1.702) * x,
        Activation::ClippedGelu => activation::gelu(x).clamp_max(10.0),
        Activation::Mish => softplus(x.clone()).tanh() * x,
        Activation::LeakyRelu => activation::relu(x.clone()) * 0.99 + x * 0.01,
        Activation::Relu6 => activation::relu(x).clamp_max(6.0),
        Activation::HardSwish => activation::relu(x.clone() + 3.0).clamp_max(6.0) * x / 6.0,
        Activation::Laplace => {
            let deviations = (x - std::f64::consts::FRAC_1_SQRT_2) * std::f64::consts::TAU.sqrt();
            (deviations.erf() + 1.0) * 0.5
        }
        Activation::Linear => x,
    }
}

/// burn's own form overflows.
fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::relu(x.clone()) + x.abs().neg().exp().log1p()
}

fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    const SQRT_2_OVER_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    // burn's own form raises to the power with `powf`, many times slower than two products.
    let cubic = x.clone().square() * x.clone() * 0.044715 + x.clone();
    ((cubic * SQRT_2_OVER_PI).tanh() + 1.0) * x * 0.5
}

/// `activation(gate) * up`, both `[.., intermediate]` (Shazeer 2020): SwiGLU with [`Activation::Silu`], GEGLU with a
/// GELU.
pub fn gated<const D: usize>(gate: Tensor<D>, up: Tensor<D>, activation: Activation) -> Tensor<D> {
    if on_host(&gate) && on_host(&up) {
        let up = flex(up);
        return update(flex(gate), |gate| {
            kernels::gated(activation, gate, &floats(&up))
        });
    }
    if takes(&gate) && takes(&up) {
        let dims = gate.dims();
        let [gate, up] = [gate, up].map(Operand::new);
        let [plain_gate, plain_up] = [&gate, &up].map(Operand::value);
        let y = kernels::gated_product(activation, &floats(&plain_gate), &floats(&plain_up));
        let y = flex_of(y, dims);
        let derivative = Gated {
            gate: plain_gate,
            up: plain_up,
            activation,
        };
        return record([gate.node(), up.node()], y, derivative);
    }
    activate(gate, activation) * up
}

#[derive(Debug, Clone)]
struct Activated {
    x: FlexTensor,
    activation: Activation,
}

impl Derivative<1> for Activated {
    fn gradients(self, grad: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let grad = floats(&grad);
        let back = |x: &mut [f32]| kernels::activation_gradient(self.activation, &grad, x);
        [Some(changed(self.x, back))]
    }
}

#[derive(Debug, Clone)]
struct Gated {
    gate: FlexTensor,
    up: FlexTensor,
    activation: Activation,
}

impl Derivative<2> for Gated {
    /// Both gradients take the place of their operands, where nobody else holds those.
    fn gradients(self, grad: FlexTensor, _: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let grad = floats(&grad);
        let mut to_gate = None;
        let to_up = changed(self.up, |up| {
            let back = |gate: &mut [f32]| kernels::gated_gradient(self.activation, &grad, gate, up);
            to_gate = Some(changed(self.gate, back));
        });
        [to_gate, Some(to_up)]
    }
}
