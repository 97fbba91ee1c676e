//! Fine-tuning: `TrainingArguments`, the `Trainer`, datasets, collators, optimizers, schedules and checkpoints.
#![forbid(unsafe_code)]

mod arguments;
mod callbacks;
mod checkpoint;
pub mod data;
mod disk;
mod error;
mod inputs;
mod loss;
mod memory;
pub mod optimizers;
mod options;
mod parameters;
pub mod recipe;
pub mod reporting;
mod schedules;
pub mod search;
mod seq2seq;
mod state;
mod trainer;

pub use arguments::{
    CountTokens, HubStrategy, HubToken, IntervalStrategy, SamplingStrategy, SaveStrategy,
    TrainingArguments,
};
pub use callbacks::{DefaultFlowCallback, EarlyStoppingCallback, Event, TrainerCallback};
pub use checkpoint::last_checkpoint;
pub use error::{Result, TrainerError};
pub use schedules::{Schedule, SchedulerType};
pub use seq2seq::Seq2SeqTrainingArguments;
pub use state::{Logs, TrainerControl, TrainerState};
pub use trainer::{
    ComputeLoss, ComputeMetrics, EvalPrediction, ModelInit, PredictionOutput, PreprocessLogits,
    TrainOutput, Trainer,
};
