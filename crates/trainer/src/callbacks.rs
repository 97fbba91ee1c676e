//! What is called as a training goes on, and may steer it.

use serde_json::{Value, json};
use transformers_modeling::PreTrainedModel;

use crate::state::Logs;
use crate::{
    IntervalStrategy, Result, SaveStrategy, TrainerControl, TrainerError, TrainerState,
    TrainingArguments,
};

/// What a callback sees.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// How to train.
    pub args: &'a TrainingArguments,
    /// How far it is.
    pub state: &'a TrainerState,
    /// The model as it is now.
    pub model: &'a dyn PreTrainedModel,
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        $($(#[$doc])*
        ///
        /// # Errors
        /// An error ends the training.
        fn $name(&mut self, event: Event<'_>, control: &mut TrainerControl) -> Result<()> {
            let _ = (event, control);
            Ok(())
        })+
    };
}

/// The reference's `TrainerCallback`: every method does nothing unless it is written.
pub trait TrainerCallback: Send {
    /// Its class: the name under which its state is saved.
    fn name(&self) -> &str;

    events!(
        /// The Trainer is made and its training begins.
        on_init_end,
        /// Before the first step.
        on_train_begin,
        /// After all else.
        on_train_end,
        /// Before the first step of an epoch.
        on_epoch_begin,
        /// After the last one.
        on_epoch_end,
        /// Before the first micro-batch of a step.
        on_step_begin,
        /// Gradients are clipped, weights not yet changed.
        on_pre_optimizer_step,
        /// Weights are changed.
        on_optimizer_step,
        /// After a micro-batch that was not the last one of its step.
        on_substep_end,
        /// After a step: flags set here are acted upon at once.
        on_step_end,
        /// A checkpoint is there.
        on_save,
        /// A batch of an evaluation is done.
        on_prediction_step,
        /// An upload to the hub begins.
        on_push_begin,
    );

    /// An evaluation is done.
    ///
    /// # Errors
    /// An error ends the training.
    fn on_evaluate(
        &mut self,
        event: Event<'_>,
        control: &mut TrainerControl,
        metrics: &Logs,
    ) -> Result<()> {
        let _ = (event, control, metrics);
        Ok(())
    }

    /// A prediction is done.
    ///
    /// # Errors
    /// An error ends it.
    fn on_predict(
        &mut self,
        event: Event<'_>,
        control: &mut TrainerControl,
        metrics: &Logs,
    ) -> Result<()> {
        let _ = (event, control, metrics);
        Ok(())
    }

    /// Something is logged; the last entry of the state's `log_history` has the step too.
    ///
    /// # Errors
    /// An error ends the training.
    fn on_log(
        &mut self,
        event: Event<'_>,
        control: &mut TrainerControl,
        logs: &Logs,
    ) -> Result<()> {
        let _ = (event, control, logs);
        Ok(())
    }

    /// What has to be saved of it.
    fn state(&self) -> Option<Value> {
        None
    }

    /// Goes on where `state` was taken.
    ///
    /// # Errors
    /// It is that of another callback.
    fn restore(&mut self, state: &Value) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// When to log, evaluate, save and stop, by the arguments. The Trainer has it from the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultFlowCallback;

impl TrainerCallback for DefaultFlowCallback {
    fn name(&self) -> &str {
        "DefaultFlowCallback"
    }

    fn on_step_end(&mut self, event: Event<'_>, control: &mut TrainerControl) -> Result<()> {
        let Event { args, state, .. } = event;
        let step = state.global_step;
        let logs = args.logging_strategy == IntervalStrategy::Steps;
        control.should_log |= step == 1 && args.logging_first_step;
        control.should_log |= logs && step.is_multiple_of(state.logging_steps);
        let last = step >= state.max_steps;
        let evaluates =
            args.eval_strategy == IntervalStrategy::Steps && args.eval_delay <= step as f64;
        control.should_evaluate |= evaluates && (last || step.is_multiple_of(state.eval_steps));
        let saves = args.save_strategy == SaveStrategy::Steps;
        control.should_save |= saves && (last || step.is_multiple_of(state.save_steps));
        control.should_training_stop |= last;
        Ok(())
    }

    fn on_epoch_end(&mut self, event: Event<'_>, control: &mut TrainerControl) -> Result<()> {
        let Event { args, state, .. } = event;
        let evaluates = args.eval_strategy == IntervalStrategy::Epoch;
        control.should_log |= args.logging_strategy == IntervalStrategy::Epoch;
        control.should_evaluate |= evaluates && args.eval_delay <= state.epoch.unwrap_or_default();
        control.should_save |= args.save_strategy == SaveStrategy::Epoch;
        Ok(())
    }
}

/// Stops after some evaluations that were no better than the best one.
#[derive(Debug, Clone, Copy)]
pub struct EarlyStoppingCallback {
    patience: u64,
    threshold: f64,
    waited: u64,
}

impl EarlyStoppingCallback {
    /// After `patience` evaluations that did not improve `metric_for_best_model` by more than `threshold`.
    pub fn new(patience: u64, threshold: f64) -> Self {
        Self {
            patience,
            threshold,
            waited: 0,
        }
    }
}

impl TrainerCallback for EarlyStoppingCallback {
    fn name(&self) -> &str {
        "EarlyStoppingCallback"
    }

    fn on_train_begin(&mut self, event: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        let needs = |name: &str| {
            Err(TrainerError::Argument {
                name: name.to_owned(),
                reason: "stopping early needs it".to_owned(),
            })
        };
        match event.args {
            args if args.metric_for_best_model.is_none() => needs("metric_for_best_model"),
            args if args.eval_strategy == IntervalStrategy::No => needs("eval_strategy"),
            _ => Ok(()),
        }
    }

    fn on_evaluate(
        &mut self,
        event: Event<'_>,
        control: &mut TrainerControl,
        metrics: &Logs,
    ) -> Result<()> {
        let metric = event.args.best_metric();
        let Some(value) = metric.and_then(|name| metrics.get(&name)?.as_f64()) else {
            log::warn!("the evaluation has no `metric_for_best_model`: it does not stop early");
            return Ok(());
        };
        let better = event.state.best_metric.is_none_or(|best| {
            let gain = match event.args.greater_is_better {
                Some(true) => value - best,
                _ => best - value,
            };
            gain > 0.0 && gain > self.threshold
        });
        self.waited = if better { 0 } else { self.waited + 1 };
        control.should_training_stop |= self.waited >= self.patience;
        Ok(())
    }

    fn state(&self) -> Option<Value> {
        Some(json!({
            "args": {"early_stopping_patience": self.patience, "early_stopping_threshold": self.threshold},
            "attributes": {"early_stopping_patience_counter": self.waited},
        }))
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let counter = &state["attributes"]["early_stopping_patience_counter"];
        self.waited = counter.as_u64().ok_or_else(|| TrainerError::InvalidState {
            what: "EarlyStoppingCallback",
            reason: "it has no counter".to_owned(),
        })?;
        Ok(())
    }
}
