//! Calls of the callbacks, and logs.

use serde_json::json;

use super::Trainer;
use crate::callbacks::{Event, TrainerCallback};
use crate::state::Logs;
use crate::{CountTokens, Result, TrainerControl};

impl Trainer {
    /// Calls every callback.
    pub(super) fn call(
        &mut self,
        mut event: impl FnMut(&mut dyn TrainerCallback, Event<'_>, &mut TrainerControl) -> Result<()>,
    ) -> Result<()> {
        let model = self
            .model
            .as_deref()
            .expect("the model is here between steps");
        for callback in &mut self.callbacks {
            let seen = Event {
                args: &self.args,
                state: &self.state,
                model,
            };
            event(callback.as_mut(), seen, &mut self.control)?;
        }
        Ok(())
    }

    /// Logs numbers, and adds the epoch.
    pub(super) fn log(&mut self, mut logs: Logs) -> Result<()> {
        if let Some(epoch) = self.state.epoch {
            logs.insert("epoch".to_owned(), json!(epoch));
        }
        if self.args.include_num_input_tokens_seen != CountTokens::No {
            let seen = self.state.num_input_tokens_seen;
            logs.insert("num_input_tokens_seen".to_owned(), json!(seen));
            let seconds = self.progress.started.elapsed().as_secs_f64();
            let fresh = seen - self.progress.first_token.min(seen);
            if fresh > 0 && logs.contains_key("loss") {
                logs.insert("train_runtime".to_owned(), json!(rounded(seconds, 4)));
                logs.insert(
                    "train_tokens_per_second".to_owned(),
                    json!(rounded(fresh as f64 / seconds, 3)),
                );
            }
        }
        let mut entry = logs.clone();
        entry.insert("step".to_owned(), json!(self.state.global_step));
        self.state.log_history.push(entry);
        self.control.should_log = false;
        self.call(|callback, event, control| callback.on_log(event, control, &logs))
    }
}

/// Rounded to so many decimals.
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

/// `<split>_runtime` and what was done in it.
pub(super) fn speed(split: &str, seconds: f64, samples: f64, steps: f64) -> Logs {
    let mut logs = Logs::new();
    logs.insert(format!("{split}_runtime"), json!(rounded(seconds, 4)));
    if seconds > 0.0 {
        logs.insert(
            format!("{split}_samples_per_second"),
            json!(rounded(samples / seconds, 3)),
        );
        logs.insert(
            format!("{split}_steps_per_second"),
            json!(rounded(steps / seconds, 3)),
        );
    }
    logs
}
