//! A bar for every file that is being downloaded.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use transformers_hub::Progress;

const TEMPLATE: &str =
    "{msg:28!} {bar:30} {bytes:>11} of {total_bytes:11} {bytes_per_sec:>13} {eta:>4}";

/// The bars on stderr.
#[derive(Debug, Default)]
pub struct Bars {
    all: MultiProgress,
    by_file: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    fn with(&self, file: &str, act: impl FnOnce(&ProgressBar)) {
        let bars = self.by_file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = bars.get(file) {
            act(bar);
        }
    }
}

impl Progress for Bars {
    fn start(&self, file: &str, bytes: Option<u64>) {
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well-formed");
        let bar = self
            .all
            .add(ProgressBar::new(bytes.unwrap_or(0)).with_style(style));
        bar.set_message(file.to_owned());
        let mut bars = self.by_file.lock().unwrap_or_else(PoisonError::into_inner);
        bars.insert(file.to_owned(), bar);
    }

    fn advance(&self, file: &str, bytes: u64) {
        self.with(file, |bar| bar.inc(bytes));
    }

    fn finish(&self, file: &str) {
        self.with(file, ProgressBar::finish);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_bar_from_start_to_finish() {
        let bars = Bars::default();
        bars.start("model.safetensors", Some(10));
        bars.advance("model.safetensors", 4);
        bars.advance("unknown", 1);
        bars.with("model.safetensors", |bar| {
            assert_eq!((bar.position(), bar.length()), (4, Some(10)));
            assert!(!bar.is_finished());
        });
        bars.finish("model.safetensors");
        bars.with("model.safetensors", |bar| assert!(bar.is_finished()));
    }
}
