//! A bar for every file that is being downloaded, and one for a model that takes a while to load.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use transformers_hub::Progress;
use transformers_modeling::LoadProgress;

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

const LOAD_TEMPLATE: &str = "{msg:28!} {bar:30} {percent:>3}% {eta:>4}";

/// Who waits no longer than this needs no bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// The bar on stderr for tensors that are being loaded or worked on; it appears late, and leaves nothing behind.
#[derive(Debug)]
pub struct LoadBar {
    message: &'static str,
    state: Mutex<Option<Loading>>,
}

#[derive(Debug)]
struct Loading {
    since: Instant,
    bar: ProgressBar,
}

impl LoadBar {
    /// A bar with `message` before it.
    pub fn new(message: &'static str) -> Self {
        Self {
            message,
            state: Mutex::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Loading>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadProgress for LoadBar {
    fn start(&self, _: usize, elements: u64) {
        let style = ProgressStyle::with_template(LOAD_TEMPLATE);
        let style = style.expect("the template is well-formed");
        let hidden = ProgressDrawTarget::hidden();
        let bar = ProgressBar::with_draw_target(Some(elements), hidden).with_style(style);
        bar.set_message(self.message);
        let since = Instant::now();
        *self.lock() = Some(Loading { since, bar });
    }

    fn advance(&self, _: &str, elements: u64) {
        if let Some(Loading { since, bar }) = &*self.lock() {
            if bar.is_hidden() && since.elapsed() > PATIENCE {
                bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            bar.inc(elements);
        }
    }

    fn finish(&self) {
        if let Some(Loading { bar, .. }) = self.lock().take() {
            bar.finish_and_clear();
        }
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

    #[test]
    fn loading_has_a_bar_that_is_hidden_at_first() {
        let loading = LoadBar::new("loading");
        loading.start(2, 10);
        loading.advance("embed_tokens.weight", 4);
        let bar = loading.lock().as_ref().map(|loading| loading.bar.clone());
        let bar = bar.expect("it has started");
        assert_eq!((bar.position(), bar.length()), (4, Some(10)));
        assert!(bar.is_hidden() && !bar.is_finished());
        loading.finish();
        assert!(bar.is_finished() && loading.lock().is_none());
    }
}
