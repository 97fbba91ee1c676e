//! Activations and the gated pairs that the feed-forward blocks use.

use burn::tensor::{Tensor, activation};

/// `x * sigmoid(x)`.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::silu(x)
}

/// The exact Gaussian error linear unit: `x * Φ(x)`.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::gelu(x)
}

/// The tanh approximation of [`gelu`] (`gelu_pytorch_tanh`, `gelu_new`).
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    const SQRT_2_OVER_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    // burn's own form raises to the power with `powf`, many times slower than two products.
    let cubic = x.clone().square() * x.clone() * 0.044715 + x.clone();
    ((cubic * SQRT_2_OVER_PI).tanh() + 1.0) * x * 0.5
}

/// `silu(gate) * up`, both `[.., intermediate]` (Shazeer 2020).
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    silu(gate) * up
}

/// `gelu_tanh(gate) * up`, both `[.., intermediate]`.
pub fn geglu_tanh<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    gelu_tanh(gate) * up
}
