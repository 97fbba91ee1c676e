//! The bar of a training: loss, rate, tokens in a second, and the time that is left.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use transformers_trainer::{Event, Logs, Result, TrainerCallback, TrainerControl};

use crate::train::rounded;

/// As wide as the terminal and no wider: done, time so far, time left, and what is said.
const TEMPLATE: &str = "{pos}/{len} {bar:24} {elapsed_precise} < {eta_precise} {wide_msg}";

/// A bar on stderr, for who watches.
#[derive(Debug, Default)]
pub struct TrainBar {
    bar: Option<ProgressBar>,
    /// When this run began, and the tokens that were seen before.
    start: Option<(Instant, u64)>,
    loss: String,
    /// Batches of the evaluation that runs.
    evaluated: u64,
}

impl TrainBar {
    /// Says something above the bar.
    fn say(&self, logs: &Logs) {
        if let Some(bar) = &self.bar {
            let pairs = logs.iter().filter(|(name, _)| {
                let speed = name.ends_with("_runtime") || name.ends_with("_per_second");
                name.starts_with("eval_") && !speed
            });
            let pairs: Vec<String> = pairs
                .map(|(name, value)| format!("{name} {}", rounded(value)))
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

    fn on_prediction_step(&mut self, _: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        self.evaluated += 1;
        if let Some(bar) = &self.bar {
            bar.set_message(format!("evaluating, batch {}", self.evaluated));
        }
        Ok(())
    }

    fn on_log(&mut self, event: Event<'_>, _: &mut TrainerControl, logs: &Logs) -> Result<()> {
        let number = |name: &str| logs.get(name).and_then(serde_json::Value::as_f64);
        if let (Some(loss), Some(rate)) = (number("loss"), number("learning_rate")) {
            self.loss = format!("loss {loss:.4}, rate {rate:.2e}");
        }
        self.evaluated = 0;
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
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// What a terminal of 90 columns is given.
    #[derive(Debug, Clone, Default)]
    struct Written(Arc<Mutex<String>>);

    impl TermLike for Written {
        fn width(&self) -> u16 {
            90
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("nobody panicked").push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().expect("nobody panicked").clear();
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, expect) in [
            (serde_json::json!(0.973_333_333), "0.9733"),
            (serde_json::json!(1.0), "1.0"),
            (serde_json::json!(12), "12"),
            (serde_json::json!(1e12), "1000000000000.0"),
            (serde_json::Value::Null, "null"),
        ] {
            assert_eq!(rounded(&value).to_string(), expect);
        }
    }

    #[test]
    fn a_bar_of_a_long_run_has_room_for_days() {
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well-formed");
        let target = Written::default();
        let bar = ProgressBar::with_draw_target(
            Some(1_000_000),
            indicatif::ProgressDrawTarget::term_like(Box::new(target.clone())),
        )
        .with_style(style)
        .with_elapsed(std::time::Duration::from_secs(100_000))
        .with_message(
            "loss 1.0000, rate 1.00e-4 12345 tokens/s and much more than there is room for",
        );
        bar.set_position(500_000);
        bar.tick();
        let line = target.0.lock().expect("nobody panicked").clone();
        assert!(line.starts_with("500000/1000000 "), "{line}");
        assert!(
            line.contains(" 1d 03:46:4") && line.contains("loss 1.0000"),
            "{line}"
        );
        assert_eq!(line.trim_end().chars().count(), 90, "{line}");
    }

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
