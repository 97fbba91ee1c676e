//! Values that go together, and those that follow from others.

use super::{IntervalStrategy, SaveStrategy, TrainingArguments};
use crate::optimizers::check_name;
use crate::{Result, TrainerError};

/// What `report_to` may name.
const REPORTERS: [&str; 4] = ["none", "all", "tensorboard", "jsonl"];

impl TrainingArguments {
    /// The same with what follows from others filled in.
    ///
    /// # Errors
    /// Values that have no sense, alone or together.
    pub fn validated(mut self) -> Result<Self> {
        self.derive();
        self.check_numbers()?;
        self.check_intervals()?;
        self.check_best()?;
        self.check_halves()?;
        self.check_reporters()?;
        check_name(&self.optim).map_err(|reason| wrong("optim", reason))?;
        Ok(self)
    }

    fn derive(&mut self) {
        self.do_eval |= self.eval_strategy != IntervalStrategy::No;
        self.activation_checkpointing |= self.gradient_checkpointing;
        self.gradient_checkpointing = self.activation_checkpointing;
        if self.eval_strategy == IntervalStrategy::Steps && self.eval_steps.unwrap_or(0.0) == 0.0 {
            self.eval_steps = Some(self.logging_steps);
        }
        let wants_metric = self.load_best_model_at_end || self.lr_scheduler_type.follows_a_metric();
        if wants_metric && self.metric_for_best_model.is_none() {
            self.metric_for_best_model = Some("loss".to_owned());
        }
        if let (None, Some(metric)) = (self.greater_is_better, &self.metric_for_best_model) {
            self.greater_is_better = Some(!metric.ends_with("loss"));
        }
    }

    fn check_numbers(&self) -> Result<()> {
        let counts = [
            (
                "per_device_train_batch_size",
                self.per_device_train_batch_size,
            ),
            (
                "per_device_eval_batch_size",
                self.per_device_eval_batch_size,
            ),
            (
                "gradient_accumulation_steps",
                self.gradient_accumulation_steps,
            ),
        ];
        for (name, count) in counts {
            if count == 0 {
                return Err(wrong(name, "it is at least 1"));
            }
        }
        let numbers = [
            ("learning_rate", self.learning_rate, f64::INFINITY),
            ("weight_decay", self.weight_decay, f64::INFINITY),
            ("warmup_steps", self.warmup_steps, f64::INFINITY),
            ("max_grad_norm", self.max_grad_norm, f64::INFINITY),
            ("num_train_epochs", self.num_train_epochs, f64::INFINITY),
            ("adam_epsilon", self.adam_epsilon, f64::INFINITY),
            ("adam_beta1", self.adam_beta1, 1.0),
            ("adam_beta2", self.adam_beta2, 1.0),
            ("label_smoothing_factor", self.label_smoothing_factor, 1.0),
        ];
        for (name, number, end) in numbers {
            if !(0.0..end).contains(&number) {
                return Err(wrong(
                    name,
                    format!("it is {number}; it is at least 0 and below {end}"),
                ));
            }
        }
        Ok(())
    }

    fn check_intervals(&self) -> Result<()> {
        let mut intervals = Vec::new();
        if self.logging_strategy == IntervalStrategy::Steps {
            intervals.push(("logging_steps", self.logging_steps));
        }
        if self.eval_strategy == IntervalStrategy::Steps {
            intervals.push(("eval_steps", self.eval_steps.unwrap_or_default()));
        }
        if self.save_strategy == SaveStrategy::Steps {
            intervals.push(("save_steps", self.save_steps));
        }
        for (name, steps) in intervals {
            if !(steps > 0.0 && steps.is_finite()) {
                return Err(wrong(name, "it is above 0"));
            }
            if steps > 1.0 && steps.fract() != 0.0 {
                return Err(wrong(name, "above 1 it is a whole number"));
            }
        }
        Ok(())
    }

    fn check_halves(&self) -> Result<()> {
        if self.bf16_full_eval && self.fp16_full_eval {
            return Err(wrong("bf16_full_eval", "it excludes `fp16_full_eval`"));
        }
        if self.bf16 && self.optim.starts_with("schedule_free") {
            return Err(wrong(
                "bf16",
                "this optimizer evaluates other weights than it trains, of which no masters are kept: load the model in \
                 bfloat16 instead",
            ));
        }
        Ok(())
    }

    fn check_reporters(&self) -> Result<()> {
        let unknown = |name: &&String| !REPORTERS.contains(&name.as_str());
        match self.report_to.iter().find(unknown) {
            None => Ok(()),
            Some(name) => Err(wrong(
                "report_to",
                format!(
                    "`{name}` is no reporter; there are tensorboard and jsonl, and others are callbacks of the Trainer"
                ),
            )),
        }
    }

    fn check_best(&self) -> Result<()> {
        if self.lr_scheduler_type.follows_a_metric() && self.eval_strategy == IntervalStrategy::No {
            return Err(wrong(
                "lr_scheduler_type",
                "this one follows a metric: set `eval_strategy`",
            ));
        }
        if self.save_strategy == SaveStrategy::Best && self.metric_for_best_model.is_none() {
            return Err(wrong(
                "save_strategy",
                "`best` needs `metric_for_best_model`",
            ));
        }
        if !self.load_best_model_at_end || self.save_strategy == SaveStrategy::Best {
            return Ok(());
        }
        let same = matches!(
            (self.eval_strategy, self.save_strategy),
            (IntervalStrategy::Steps, SaveStrategy::Steps)
                | (IntervalStrategy::Epoch, SaveStrategy::Epoch)
        );
        if !same {
            return Err(wrong(
                "load_best_model_at_end",
                "it needs equal `eval_strategy` and `save_strategy`, or `save_strategy: best`",
            ));
        }
        let times = self.save_steps / self.eval_steps.unwrap_or(1.0);
        if self.eval_strategy == IntervalStrategy::Steps && (times - times.round()).abs() > 1e-9 {
            return Err(wrong(
                "load_best_model_at_end",
                "`save_steps` must be a multiple of `eval_steps`",
            ));
        }
        Ok(())
    }
}

fn wrong(name: &str, reason: impl Into<String>) -> TrainerError {
    TrainerError::Argument {
        name: name.to_owned(),
        reason: reason.into(),
    }
}
