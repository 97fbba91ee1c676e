//! Fused neural-network operations on burn tensors: the one interface between the model files and the arithmetic.
//!
//! Every operation is a plain function over [`Tensor`](burn::tensor::Tensor). Its body here is written in burn
//! primitives, so it runs on every device and under autodiff, and it stays the oracle for any faster body that a
//! device gets later. Model code calls these functions and never a kernel.
//!
//! Numerics follow the reference: normalisation and softmax are computed in f32 and cast back.
#![forbid(unsafe_code)]

mod activation;
mod attention;
mod linear;
mod norm;
mod rotary;

pub use activation::{geglu_tanh, gelu, gelu_tanh, silu, swiglu};
pub use attention::{AttentionOptions, attention};
pub use linear::{embedding, linear};
pub use norm::{layer_norm, rms_norm, rms_norm_one_plus};
pub use rotary::rotary;
