//! `TrainingArguments`: the reference's names, defaults and JSON form.

mod check;
mod hub;
mod other;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use hub::{HubStrategy, HubToken};

use crate::{Result, SchedulerType, TrainerError};

/// When something happens: `logging_strategy`, `eval_strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the reference's names")]
pub enum IntervalStrategy {
    #[default]
    No,
    Steps,
    Epoch,
}

/// `save_strategy`; `best`: after an evaluation that was better than all before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the reference's names")]
pub enum SaveStrategy {
    No,
    #[default]
    Steps,
    Epoch,
    Best,
}

/// `train_sampling_strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the reference's names")]
pub enum SamplingStrategy {
    #[default]
    Random,
    Sequential,
    GroupByLength,
}

/// `include_num_input_tokens_seen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the reference's names")]
pub enum CountTokens {
    #[default]
    No,
    All,
    NonPadding,
}

/// How to train. Fields have the reference's names, defaults and meaning; [`from_json`](Self::from_json) says no to what
/// cannot work here and to names that were removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "documented by groups")]
pub struct TrainingArguments {
    /// Where checkpoints go.
    pub output_dir: PathBuf,
    /// Examples of a micro-batch.
    pub per_device_train_batch_size: usize,
    /// Lower the batch to what fits into memory, where that can be told: on the CPU.
    #[serde(deserialize_with = "null_is_default")]
    pub auto_find_batch_size: bool,
    /// Passes over the data; a part of one counts.
    pub num_train_epochs: f64,
    /// Steps of the optimizer; above 0 it overrides `num_train_epochs`.
    pub max_steps: i64,
    /// The largest learning rate.
    pub learning_rate: f64,
    pub lr_scheduler_type: SchedulerType,
    /// Keywords of the schedule.
    pub lr_scheduler_kwargs: Option<Map<String, Value>>,
    /// Steps of warm-up; below 1, a share of all steps.
    pub warmup_steps: f64,
    /// One of [`optimizers::NAMES`](crate::optimizers::NAMES).
    pub optim: String,
    /// `key=value,key=value` for the optimizer.
    pub optim_args: Option<String>,
    /// Of parameters that are neither biases nor norms.
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    /// Micro-batches of a step.
    pub gradient_accumulation_steps: usize,
    /// Clips gradients to this global norm; 0: not at all.
    pub max_grad_norm: f64,
    /// The share of a label that goes to all classes.
    pub label_smoothing_factor: f64,
    /// Compute again in the backward pass what is cheap to compute.
    #[serde(deserialize_with = "null_is_default")]
    pub activation_checkpointing: bool,
    /// The older name of the same.
    #[serde(deserialize_with = "null_is_default")]
    pub gradient_checkpointing: bool,
    /// Passes run with weights in bfloat16, whose masters in f32 are changed and saved.
    #[serde(deserialize_with = "null_is_default")]
    pub bf16: bool,
    /// Evaluate with weights in bfloat16.
    #[serde(deserialize_with = "null_is_default")]
    pub bf16_full_eval: bool,
    /// Evaluate with weights in float16.
    #[serde(deserialize_with = "null_is_default")]
    pub fp16_full_eval: bool,
    /// Written to the model's config.
    pub use_cache: bool,
    /// Noise on the vectors of tokens while training.
    pub neftune_noise_alpha: Option<f64>,
    pub logging_strategy: IntervalStrategy,
    /// Steps between logs; below 1, a share of all steps.
    pub logging_steps: f64,
    pub logging_first_step: bool,
    /// A loss that is no number is logged as the mean of those before.
    pub logging_nan_inf_filter: bool,
    pub include_num_input_tokens_seen: CountTokens,
    /// No progress bar.
    #[serde(deserialize_with = "null_is_default")]
    pub disable_tqdm: bool,
    /// `tensorboard` (event files in `runs/` of the folder) and `jsonl` (its `log.jsonl`); `all` are both.
    #[serde(deserialize_with = "one_or_many")]
    pub report_to: Vec<String>,
    /// Read by callbacks: what a tracker calls the training.
    pub run_name: Option<String>,
    pub eval_strategy: IntervalStrategy,
    /// Steps between evaluations; `None`: `logging_steps`.
    pub eval_steps: Option<f64>,
    /// No evaluation before this step or epoch.
    pub eval_delay: f64,
    pub per_device_eval_batch_size: usize,
    /// Keep no logits of an evaluation.
    pub prediction_loss_only: bool,
    /// Evaluate before the first step.
    pub eval_on_start: bool,
    /// Batches between moves to the host, where results are at once.
    pub eval_accumulation_steps: Option<usize>,
    /// `inputs` and `loss` for `compute_metrics`.
    pub include_for_metrics: Vec<String>,
    /// Save the model and no state of the training.
    pub save_only_model: bool,
    pub save_strategy: SaveStrategy,
    /// Steps between checkpoints; below 1, a share of all steps.
    pub save_steps: f64,
    /// Delete older checkpoints above this number, but never the newest or the best.
    pub save_total_limit: Option<i64>,
    /// Save and stop when asked to ([`Trainer::cancel`](crate::Trainer)); it is so whatever this says.
    pub enable_jit_checkpoint: bool,
    /// At the end, go back to the best checkpoint.
    pub load_best_model_at_end: bool,
    /// The metric of an evaluation that says what is best.
    pub metric_for_best_model: Option<String>,
    /// `None`: unless the metric ends in `loss`.
    pub greater_is_better: Option<bool>,
    /// Begin a resumed epoch anew.
    pub ignore_data_skip: bool,
    /// Callbacks go on with their states of the checkpoint.
    pub restore_callback_states_from_checkpoint: bool,
    /// It is so here.
    pub full_determinism: bool,
    pub seed: u64,
    /// `None`: `seed`.
    pub data_seed: Option<u64>,
    /// Read by who loads the model.
    pub use_cpu: bool,
    pub dataloader_drop_last: bool,
    /// Drop the columns that models do not take.
    pub remove_unused_columns: bool,
    /// The columns that are labels.
    pub label_names: Option<Vec<String>>,
    pub train_sampling_strategy: SamplingStrategy,
    /// The column that has the lengths.
    pub length_column_name: String,
    /// Upload the model as it is trained; see [`Trainer::push_to_hub`](crate::Trainer::push_to_hub).
    #[serde(deserialize_with = "null_is_default")]
    pub push_to_hub: bool,
    /// The repository, `org/name` or `name`. `None`: the name of `output_dir`.
    pub hub_model_id: Option<String>,
    /// What is uploaded, and when.
    pub hub_strategy: HubStrategy,
    /// `None`: the token of the environment.
    #[serde(deserialize_with = "hub::token")]
    pub hub_token: Option<HubToken>,
    /// Whether a new repository is private. `None`: if its owner's are.
    pub hub_private_repo: Option<bool>,
    /// Upload a checkpoint even if that before is still on its way; otherwise it is left out.
    #[serde(deserialize_with = "null_is_default")]
    pub hub_always_push: bool,
    /// The branch. `None`: `main`.
    pub hub_revision: Option<String>,
    /// Read by programs.
    pub do_train: bool,
    /// Read by programs.
    pub do_eval: bool,
    /// Read by programs.
    pub do_predict: bool,
    /// Read by programs.
    pub resume_from_checkpoint: Option<String>,
}

impl Default for TrainingArguments {
    fn default() -> Self {
        Self {
            output_dir: "trainer_output".into(),
            per_device_train_batch_size: 8,
            auto_find_batch_size: false,
            num_train_epochs: 3.0,
            max_steps: -1,
            learning_rate: 5e-5,
            lr_scheduler_type: SchedulerType::Linear,
            lr_scheduler_kwargs: None,
            warmup_steps: 0.0,
            optim: "adamw_torch_fused".to_owned(),
            optim_args: None,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            gradient_accumulation_steps: 1,
            max_grad_norm: 1.0,
            label_smoothing_factor: 0.0,
            activation_checkpointing: false,
            gradient_checkpointing: false,
            bf16: false,
            bf16_full_eval: false,
            fp16_full_eval: false,
            use_cache: false,
            neftune_noise_alpha: None,
            logging_strategy: IntervalStrategy::Steps,
            logging_steps: 500.0,
            logging_first_step: false,
            logging_nan_inf_filter: true,
            include_num_input_tokens_seen: CountTokens::No,
            disable_tqdm: false,
            report_to: Vec::new(),
            run_name: None,
            eval_strategy: IntervalStrategy::No,
            eval_steps: None,
            eval_delay: 0.0,
            per_device_eval_batch_size: 8,
            prediction_loss_only: false,
            eval_on_start: false,
            eval_accumulation_steps: None,
            include_for_metrics: Vec::new(),
            save_only_model: false,
            save_strategy: SaveStrategy::Steps,
            save_steps: 500.0,
            save_total_limit: None,
            enable_jit_checkpoint: false,
            load_best_model_at_end: false,
            metric_for_best_model: None,
            greater_is_better: None,
            ignore_data_skip: false,
            restore_callback_states_from_checkpoint: false,
            full_determinism: false,
            seed: 42,
            data_seed: None,
            use_cpu: false,
            dataloader_drop_last: false,
            remove_unused_columns: true,
            label_names: None,
            train_sampling_strategy: SamplingStrategy::Random,
            length_column_name: "length".to_owned(),
            push_to_hub: false,
            hub_model_id: None,
            hub_strategy: HubStrategy::EverySave,
            hub_token: None,
            hub_private_repo: None,
            hub_always_push: false,
            hub_revision: None,
            do_train: false,
            do_eval: false,
            do_predict: false,
            resume_from_checkpoint: None,
        }
    }
}

impl TrainingArguments {
    /// Those of a folder, with the defaults.
    pub fn new(output_dir: impl Into<PathBuf>) -> Self {
        Self {
            output_dir: output_dir.into(),
            ..Self::default()
        }
    }

    /// Reads the JSON form, whole or in part.
    ///
    /// # Errors
    /// A name that was removed (with its successor), that is not known, whose value cannot work here (with the reason), or
    /// values that do not go together.
    pub fn from_json(json: &Value) -> Result<Self> {
        let map = json.as_object().ok_or_else(|| TrainerError::Argument {
            name: "TrainingArguments".to_owned(),
            reason: "it is a map of names and values".to_owned(),
        })?;
        let known = other::known_here(map, &Self::default().fields())?;
        let wrong = |error: serde_json::Error| TrainerError::Argument {
            name: "TrainingArguments".to_owned(),
            reason: error.to_string(),
        };
        for (name, value) in &known {
            let one = Value::Object([(name.clone(), value.clone())].into_iter().collect());
            serde_json::from_value::<Self>(one).map_err(|error| TrainerError::Argument {
                name: name.clone(),
                reason: error.to_string(),
            })?;
        }
        let args: Self = serde_json::from_value(Value::Object(known)).map_err(wrong)?;
        args.validated()
    }

    /// The JSON form, with every name that the reference has (`to_dict`).
    pub fn to_json(&self) -> Value {
        let mut map = other::with_the_rest(self.fields());
        // As the reference does whether there is one or not.
        map.insert("hub_token".to_owned(), hub::HIDDEN.into());
        Value::Object(map)
    }

    fn fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut map)) => {
                map.iter_mut().for_each(|(_, value)| whole(value));
                map
            }
            _ => Map::new(),
        }
    }

    /// Steps of warm-up of a training of so many steps.
    pub fn warmup(&self, total_steps: u64) -> u64 {
        match self.warmup_steps >= 1.0 {
            true => self.warmup_steps as u64,
            false => (total_steps as f64 * self.warmup_steps).ceil() as u64,
        }
    }

    /// Examples of a step of the optimizer.
    pub fn total_train_batch_size(&self) -> usize {
        self.per_device_train_batch_size * self.gradient_accumulation_steps
    }

    /// Whether `report_to` names this reporter.
    pub(crate) fn reports_to(&self, name: &str) -> bool {
        let mut names = self.report_to.iter();
        names.any(|wanted| wanted == name || wanted == "all")
    }

    /// The metric that says what is best, with `eval_` before it.
    pub fn best_metric(&self) -> Option<String> {
        let name = self.metric_for_best_model.as_deref()?;
        Some(match name.starts_with("eval_") {
            true => name.to_owned(),
            false => format!("eval_{name}"),
        })
    }
}

/// `500.0` as `500`, where Python would have an int.
fn whole(value: &mut Value) {
    if let Some(number) = value.as_f64()
        && value.is_f64()
        && number.fract() == 0.0
        && number.abs() < 1e15
    {
        *value = (number as i64).into();
    }
}

fn null_is_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A text, a list of texts, or nothing; `none` is an empty list.
fn one_or_many<'de, D>(deserializer: D) -> std::result::Result<Vec<String>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Many(Vec<String>),
    }
    let names = match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Names::One(name)) => vec![name],
        Some(Names::Many(names)) => names,
    };
    Ok(names.into_iter().filter(|name| name != "none").collect())
}
