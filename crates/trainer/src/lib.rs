//! Fine-tuning: `TrainingArguments`, the `Trainer`, datasets, collators, optimizers, schedules and checkpoints.
#![forbid(unsafe_code)]

pub mod data;
mod error;

pub use error::{Result, TrainerError};
