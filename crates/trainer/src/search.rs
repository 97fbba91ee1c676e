//! Hyper-parameter search: trials of one training with other arguments.

mod sampler;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use sampler::{RandomSearch, SearchSampler, TpeSampler};

use crate::state::Logs;
use crate::{Result, Trainer, TrainerError, TrainingArguments};

/// The values that an argument may have.
#[derive(Debug, Clone, PartialEq)]
pub enum Distribution {
    /// Numbers from `low` to `high`; `log`: equally likely by their logarithm.
    Float {
        /// The least.
        low: f64,
        /// The largest.
        high: f64,
        /// By the logarithm.
        log: bool,
    },
    /// Whole numbers from `low` to `high`, both included.
    Int {
        /// The least.
        low: i64,
        /// The largest.
        high: i64,
    },
    /// One of these.
    Categorical(Vec<Value>),
}

/// Arguments by name, and what each may be.
pub type SearchSpace = BTreeMap<String, Distribution>;

/// The reference's `default_hp_space`.
pub fn default_hp_space() -> SearchSpace {
    let log = Distribution::Float {
        low: 1e-6,
        high: 1e-4,
        log: true,
    };
    let batches = [4, 8, 16, 32, 64].map(|size| json!(size));
    [
        ("learning_rate", log),
        ("num_train_epochs", Distribution::Int { low: 1, high: 5 }),
        ("seed", Distribution::Int { low: 1, high: 40 }),
        (
            "per_device_train_batch_size",
            Distribution::Categorical(batches.into()),
        ),
    ]
    .map(|(name, distribution)| (name.to_owned(), distribution))
    .into()
}

/// Whether a small objective is good, or a large one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// A small one.
    #[default]
    Minimize,
    /// A large one.
    Maximize,
}

/// A trial that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Its number.
    pub run_id: usize,
    /// What it reached.
    pub objective: f64,
    /// The arguments that it had.
    pub hyperparameters: Map<String, Value>,
}

/// The reference's `default_compute_objective`: the loss if there is no other metric, else the sum of the others.
///
/// # Errors
/// There is no loss either.
pub fn default_compute_objective(metrics: &Logs) -> Result<f64> {
    let speed = |name: &str| name.ends_with("_runtime") || name.ends_with("_per_second");
    let others = metrics
        .iter()
        .filter(|(name, _)| !speed(name) && !["eval_loss", "epoch"].contains(&name.as_str()));
    let others: Vec<f64> = others.filter_map(|(_, value)| value.as_f64()).collect();
    match (
        others.is_empty(),
        metrics.get("eval_loss").and_then(Value::as_f64),
    ) {
        (false, _) => Ok(others.iter().sum()),
        (true, Some(loss)) => Ok(loss),
        (true, None) => Err(TrainerError::Argument {
            name: "compute_objective".to_owned(),
            reason: "the evaluation has no metric".to_owned(),
        }),
    }
}

impl Trainer {
    /// Trains `n_trials` times, each time with other arguments and a fresh model, and gives the best trial and all of them.
    /// The Trainer needs a `model_init` and an evaluation set. Every trial has the folder `run-<number>` in `output_dir`.
    ///
    /// # Errors
    /// As [`train`](Self::train), an argument that is not known, or no trial whose objective is a number.
    pub fn hyperparameter_search(
        &mut self,
        space: &SearchSpace,
        n_trials: usize,
        direction: Direction,
        sampler: &mut dyn SearchSampler,
        compute_objective: impl Fn(&Logs) -> Result<f64>,
    ) -> Result<(Trial, Vec<Trial>)> {
        if self.model_init.is_none() {
            return Err(TrainerError::Argument {
                name: "model_init".to_owned(),
                reason: "searching makes a model for every trial".to_owned(),
            });
        }
        check(space)?;
        let first = self.args.clone();
        let done = self.trials(space, n_trials, direction, sampler, &compute_objective);
        self.args = first;
        let done = done?;
        let best = done
            .iter()
            .filter(|trial| !trial.objective.is_nan())
            .reduce(|best, trial| {
                let better = match direction {
                    Direction::Minimize => trial.objective < best.objective,
                    Direction::Maximize => trial.objective > best.objective,
                };
                if better { trial } else { best }
            });
        match best {
            Some(best) => Ok((best.clone(), done)),
            None => Err(TrainerError::Argument {
                name: "n_trials".to_owned(),
                reason: "no trial has an objective that is a number".to_owned(),
            }),
        }
    }

    fn trials(
        &mut self,
        space: &SearchSpace,
        n_trials: usize,
        direction: Direction,
        sampler: &mut dyn SearchSampler,
        compute_objective: &impl Fn(&Logs) -> Result<f64>,
    ) -> Result<Vec<Trial>> {
        let first = self.args.clone();
        let mut done = Vec::with_capacity(n_trials);
        for run_id in 0..n_trials {
            let hyperparameters = sampler.sample(space, &done, direction);
            self.args = with(&first, &hyperparameters)?;
            self.args.output_dir = first.output_dir.join(format!("run-{run_id}"));
            self.set_trial(Some((run_id, hyperparameters.clone())));
            let objective = self
                .train()
                .and_then(|_| self.evaluate())
                .and_then(|metrics| compute_objective(&metrics));
            self.set_trial(None);
            let objective = objective?;
            done.push(Trial {
                run_id,
                objective,
                hyperparameters,
            });
        }
        Ok(done)
    }
}

/// Arguments with others in the place of some.
fn with(
    args: &TrainingArguments,
    hyperparameters: &Map<String, Value>,
) -> Result<TrainingArguments> {
    let mut json = args.to_json();
    if let Some(map) = json.as_object_mut() {
        map.extend(hyperparameters.clone());
    }
    TrainingArguments::from_json(&json)
}

fn check(space: &SearchSpace) -> Result<()> {
    for (name, distribution) in space {
        let right = match distribution {
            Distribution::Float { low, high, log } => {
                low < high && (!log || *low > 0.0) && high.is_finite()
            }
            Distribution::Int { low, high } => low <= high,
            Distribution::Categorical(values) => !values.is_empty(),
        };
        if !right {
            return Err(TrainerError::Argument {
                name: name.clone(),
                reason: format!("{distribution:?} has no values"),
            });
        }
    }
    Ok(())
}
