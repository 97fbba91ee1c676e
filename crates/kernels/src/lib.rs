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
mod math;
pub mod memory;
mod norm;
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

pub use activation::{Activation, activate, clamped_gated, gated};
pub use argmax::{argmax, argmax_rows};
pub use attention::{AttentionOptions, AttentionShape, HeadView, KeyRows, Keys, attention};
pub use blocks::{BlockError, BlockFormat, BlockMatrix, Precision};
pub use conv::causal_conv1d;
pub use delta::{Delta, DeltaShape, gated_delta_rule};
pub use determinism::{deterministic, is_deterministic};
pub use element::Element;
pub use embedding::embedding;
pub use experts::{Experts, Gate, Routes, experts};
pub use isa::{ISA_VARIABLE, Isa};
pub use linear::{Projection, Weight, grouped_linear, linear};
pub use norm::{add_layer_norm, add_rms_norm, layer_norm, rms_norm};
pub use rotary::{Heads, Rotation, rotary, rotary_in_place};
pub use scan::{Scan, ScanShape, selective_scan};
pub use softmax::softmax;
