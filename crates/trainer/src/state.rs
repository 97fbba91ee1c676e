//! What a training knows of itself, in the form of `trainer_state.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::TrainingArguments;

/// Numbers by name: what is logged.
pub type Logs = Map<String, Value>;

/// The reference's `TrainerState`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the reference's names")]
pub struct TrainerState {
    pub epoch: Option<f64>,
    pub global_step: u64,
    pub max_steps: u64,
    pub logging_steps: u64,
    pub eval_steps: u64,
    pub save_steps: u64,
    pub train_batch_size: Option<usize>,
    pub num_train_epochs: u64,
    pub num_input_tokens_seen: u64,
    pub total_flos: f64,
    pub log_history: Vec<Logs>,
    pub best_metric: Option<f64>,
    pub best_global_step: Option<u64>,
    pub best_model_checkpoint: Option<String>,
    pub is_local_process_zero: bool,
    pub is_world_process_zero: bool,
    pub is_hyper_param_search: bool,
    pub trial_name: Option<String>,
    pub trial_params: Option<Value>,
    pub stateful_callbacks: BTreeMap<String, Value>,
}

impl TrainerState {
    /// That of a training which has not begun.
    pub fn new(args: &TrainingArguments, max_steps: u64, epochs: u64) -> Self {
        let steps = |steps: f64| match steps < 1.0 {
            true => (max_steps as f64 * steps).ceil() as u64,
            false => steps as u64,
        };
        Self {
            max_steps,
            num_train_epochs: epochs,
            logging_steps: steps(args.logging_steps).max(1),
            eval_steps: args.eval_steps.map_or(500, steps).max(1),
            save_steps: steps(args.save_steps).max(1),
            train_batch_size: Some(args.per_device_train_batch_size),
            is_local_process_zero: true,
            is_world_process_zero: true,
            ..Self::default()
        }
    }
}

/// What callbacks may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the reference's names")]
pub struct TrainerControl {
    pub should_training_stop: bool,
    pub should_epoch_stop: bool,
    pub should_save: bool,
    pub should_evaluate: bool,
    pub should_log: bool,
}
