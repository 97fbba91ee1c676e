//! CPU kernels for transformer models, on plain slices.
#![allow(dead_code)]

mod activation;
mod argmax;
mod attention;
mod blocks;
mod element;
mod embedding;
mod gemm;
mod gemv;
mod isa;
pub mod limits;
mod linear;
mod math;
pub mod memory;
mod norm;
pub mod pool;
#[cfg(test)]
mod random;
mod rotary;
mod rows;
mod shared;
mod simd;
mod softmax;

pub use activation::{Activation, activate, gated};
pub use attention::{AttentionOptions, AttentionShape, HeadView, KeyRows, Keys, attention};
pub use argmax::{argmax, argmax_rows};
pub use blocks::{BlockError, BlockFormat, BlockMatrix, BlockProjection, Precision, linear_blocks};
pub use element::Element;
pub use embedding::embedding;
pub use linear::{Projection, Weight, linear};
pub use isa::{ISA_VARIABLE, Isa};
pub use norm::{add_layer_norm, add_rms_norm, layer_norm, rms_norm};
pub use rotary::{Heads, Rotation, rotary, rotary_in_place};
pub use softmax::softmax;
