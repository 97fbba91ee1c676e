//! Conformance with the reference: cases on disk, and how our outputs are compared with them.
#![forbid(unsafe_code)]

mod batched;
mod case;
pub mod conformance;
pub mod gguf;
mod gradients;
pub mod saved;

pub use case::{Case, CaseError, Kind, Reference, ReferenceTensors};
