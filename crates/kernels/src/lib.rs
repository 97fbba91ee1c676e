//! CPU kernels for transformer models, on plain slices.
#![allow(dead_code)]

mod element;
mod gemm;
mod gemv;
mod isa;
mod linear;
mod math;
pub mod pool;
#[cfg(test)]
mod random;
mod shared;
mod simd;

pub use element::Element;
pub use linear::{Projection, Weight, linear};
pub use isa::{ISA_VARIABLE, Isa};
