//! Fused neural-network operations on burn tensors: the one interface between the model files and the arithmetic.
//!
//! Every operation is a plain function over [`Tensor`](burn::tensor::Tensor) with two bodies. One is written in burn
//! primitives: it runs on every device and under autodiff, and is the oracle of the other. On the CPU a kernel of
//! [`transformers_kernels`] runs on the tensors' elements; where gradients are followed, for those operations that have a
//! kernel for the gradient too. Model code calls these functions and never a kernel.
//!
//! Numerics follow the reference: normalisation and softmax are computed in f32 and cast back.
#![forbid(unsafe_code)]

mod activation;
mod attention;
mod cross_entropy;
mod delta;
mod experts;
mod gradient;
mod host;
mod linear;
mod mask;
mod mask_function;
mod norm;
mod packed;
mod recompute;
mod rotary;
mod routing;
mod scan;
mod softmax;
mod weight;
mod write;

pub use activation::{Activation, activate, gated};
pub use attention::{AttentionOptions, attention, eager_attention};
pub use cross_entropy::cross_entropy;
pub use delta::{GatedDelta, gated_delta_rule};
pub use experts::{Experts, Gate, experts};
pub use gradient::gradients_in_primitives;
pub use linear::{embedding, linear, linears, padded_embedding};
pub use mask::{Hiding, Mask};
pub use mask_function::{MaskFunction, MaskIndex};
pub use norm::{NormForm, add_layer_norm, add_rms_norm, layer_norm, rms_norm};
pub use packed::{PageTable, copy_page, empty_pages, write_pages};
pub use recompute::{FollowedParameter, Gradient, recompute};
pub use rotary::{RotaryLayout, rotary};
pub use routing::{ExpertGroups, RouterOptions, Routing, Score, route};
pub use scan::{Scan, causal_conv1d, selective_scan};
pub use softmax::softmax;
pub use transformers_kernels::{
    AdamW, accumulate, deterministic, is_deterministic, memory::zeros, scale, square_sum,
};
pub use weight::{Precision, Weight};
pub use write::write_rows;
