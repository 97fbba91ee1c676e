//! CPU kernels for transformer models, on plain slices.
//!
//! Every kernel is written once over vectors of f32 and compiled for each instruction set; which copy runs is decided at
//! run time ([`Isa`]), and [`ISA_VARIABLE`] forces one. Work is split over a [pool] of threads that stay hot between the
//! operations of a decoding step. Weights are read where they lie, in the dtype or the quantised blocks of the
//! checkpoint; activations are f32.
//!
//! This crate and the memory map of the weights hold the only `unsafe` code of the workspace.
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]
// Tiles and lanes are indexed side by side, in loops that the compiler has to unroll.
#![allow(clippy::needless_range_loop)]

mod activation;
mod argmax;
mod attention;
mod blocks;
mod conv;
mod cross_entropy;
mod delta;
mod determinism;
mod element;
mod embedding;
mod experts;
mod gemm;
mod gemv;
mod isa;
pub mod limits;
mod linear;
mod linear_gradient;
mod math;
pub mod memory;
mod norm;
mod norm_gradient;
mod optimizer;
pub mod pool;
mod product;
#[cfg(test)]
mod random;
mod rotary;
mod rows;
mod scan;
mod shared;
mod simd;
mod softmax;

pub use activation::{
    Activation, activate, activated, activation_gradient, clamped_gated, gated, gated_gradient,
    gated_product,
};
pub use argmax::{argmax, argmax_rows};
pub use attention::{
    AttentionGradients, AttentionOptions, AttentionShape, HeadView, KeyRows, Keys, attention,
    attention_gradient,
};
pub use blocks::{BlockError, BlockFormat, BlockMatrix, Precision};
pub use conv::causal_conv1d;
pub use cross_entropy::{cross_entropy_gradient, log_sum_exp};
pub use delta::{Delta, DeltaShape, gated_delta_rule};
pub use determinism::{deterministic, is_deterministic};
pub use element::Element;
pub use embedding::{embedding, embedding_gradient};
pub use experts::{Experts, Gate, Routes, experts};
pub use isa::{ISA_VARIABLE, Isa};
pub use linear::{Factor, Projection, Weight, grouped_linear, linear, projected};
pub use linear_gradient::{
    Rows, add_linear_input_gradient, add_rows, linear_input_gradient, linear_weight_gradient,
};
pub use norm::{add_layer_norm, add_rms_norm, layer_norm, rms_norm};
pub use norm_gradient::{layer_norm_gradient, rms_norm_gradient};
pub use optimizer::{AdamW, accumulate, scale, square_sum};
pub use rotary::{Heads, Rotation, rotary, rotary_in_place};
pub use scan::{Scan, ScanShape, selective_scan};
pub use softmax::softmax;
