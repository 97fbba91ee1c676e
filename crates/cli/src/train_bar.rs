//! The bar of a training: loss, rate, tokens in a second, and the time that is left.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use transformers_trainer::{Event, Logs, Result, TrainerCallback, TrainerControl};

const TEMPLATE: &str = "{pos}/{len} {bar:24} {elapsed} + {eta} {msg}";

/// A bar on stderr, for who watches.
#[derive(Debug, Default)]
pub struct TrainBar {
    bar: Option<ProgressBar>,
    /// When this run began, and the tokens that were seen before.
    start: Option<(Instant, u64)>,
    loss: String,
}

impl TrainBar {
    /// Says something above the bar.
    fn say(&self, logs: &Logs) {
        if let Some(bar) = &self.bar {
            let pairs = logs.iter().filter(|(name, _)| name.starts_with("eval_"));
            let pairs: Vec<String> = pairs
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            if !pairs.is_empty() {
                bar.println(format!("step {}: {}", bar.position(), pairs.join(", ")));
            }
        }
    }

    fn message(&self, tokens: u64) -> String {
        let Some((start, before)) = self.start else {
            return String::new();
        };
        let fresh = tokens.saturating_sub(before);
        let speed = match fresh {
            0 => String::new(),
            fresh => format!(
                " {:.0} tokens/s",
                fresh as f64 / start.elapsed().as_secs_f64()
            ),
        };
        format!("{}{speed}", self.loss)
    }
}

impl TrainerCallback for TrainBar {
    fn name(&self) -> &str {
        "ProgressCallback"
    }

    fn on_train_begin(&mut self, event: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well-formed");
        let bar = ProgressBar::new(event.state.max_steps).with_style(style);
        bar.set_position(event.state.global_step);
        bar.reset_eta();
        self.start = Some((Instant::now(), event.state.num_input_tokens_seen));
        self.bar = Some(bar);
        Ok(())
    }

    fn on_step_end(&mut self, event: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.set_position(event.state.global_step);
            bar.set_message(self.message(event.state.num_input_tokens_seen));
        }
        Ok(())
    }

    fn on_log(&mut self, event: Event<'_>, _: &mut TrainerControl, logs: &Logs) -> Result<()> {
        let number = |name: &str| logs.get(name).and_then(serde_json::Value::as_f64);
        if let (Some(loss), Some(rate)) = (number("loss"), number("learning_rate")) {
            self.loss = format!("loss {loss:.4}, rate {rate:.2e}");
        }
        self.say(logs);
        if let Some(bar) = &self.bar {
            bar.set_message(self.message(event.state.num_input_tokens_seen));
        }
        Ok(())
    }

    fn on_train_end(&mut self, _: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_loss_and_speed() {
        let mut bar = TrainBar::default();
        assert_eq!(bar.message(5), "");
        bar.loss = "loss 1.0000, rate 1.00e-4".to_owned();
        bar.start = Some((Instant::now(), 100));
        assert_eq!(bar.message(100), "loss 1.0000, rate 1.00e-4");
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(bar.message(200).ends_with(" tokens/s"));
    }
}
