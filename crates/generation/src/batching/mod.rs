//! Continuous batching: many requests at once, each with its own settings, in steps over one packed row of tokens.
//!
#![doc = include_str!("batching.md")]

mod blocks;
mod config;
mod engine;
mod intake;
mod manager;
mod request;
mod schedule;
mod setup;
mod store;
mod task;

pub use config::ContinuousBatchingConfig;
pub use engine::{Engine, EngineStats, generate_batch};
pub use manager::{ContinuousBatchingManager, RequestIter};
pub use request::{
    EventSink, GeneratedSequence, GenerationEvent, GenerationOutput, Request, RequestId,
    RequestStatus, RequestTiming,
};
