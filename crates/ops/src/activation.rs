//! Activations, and the gated pairs that feed-forward blocks use.

use burn::tensor::{Tensor, activation};
use transformers_kernels as kernels;
pub use transformers_kernels::Activation;

use crate::host::{flex, floats, on_host, update};

/// `activation(x)`, element by element; any shape.
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    if on_host(&x) {
        return update(flex(x), |x| kernels::activate(activation, x));
    }
    match activation {
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Relu => activation::relu(x),
        Activation::SquaredRelu => activation::relu(x).square(),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => activation::sigmoid(x),
        // burn's own form overflows.
        Activation::Softplus => activation::relu(x.clone()) + x.abs().neg().exp().log1p(),
    }
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
    activate(gate, activation) * up
}
