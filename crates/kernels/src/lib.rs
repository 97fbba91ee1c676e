//! CPU kernels for transformer models, on plain slices.
#![allow(dead_code)]

mod element;
mod isa;
mod math;
pub mod pool;
mod shared;
mod simd;

pub use element::Element;
pub use isa::{ISA_VARIABLE, Isa};
