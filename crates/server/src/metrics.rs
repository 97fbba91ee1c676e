//! Counters, in the text form of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::Shared;

/// What the server has done so far.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    pub prompt_tokens: AtomicU64,
    pub cached_tokens: AtomicU64,
    pub generated_tokens: AtomicU64,
    in_flight: AtomicI64,
    pub time_to_first_token: Histogram,
    pub time_between_tokens: Histogram,
}

/// The upper ends of the buckets, in seconds.
const BOUNDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// How long things took.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    microseconds: AtomicU64,
}

impl Histogram {
    /// Adds one.
    pub fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            if seconds <= bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    fn write(&self, name: &str, text: &mut String) {
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            let count = bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let count = self.count.load(Ordering::Relaxed);
        let sum = self.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum {sum}\n{name}_count {count}");
    }
}

impl Metrics {
    /// In Prometheus' form. `waiting`: jobs in the engines; `loaded`: models in memory.
    pub fn text(&self, waiting: usize, loaded: usize) -> String {
        let mut text = String::new();
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let name = "transformers_requests_total";
        head(&mut text, name, "counter", "Responses by route and status.");
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for ((route, status), count) in &*requests {
            let _ = writeln!(
                text,
                "{name}{{route=\"{route}\",status=\"{status}\"}} {count}"
            );
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as i64;
        for (name, kind, help, value) in [
            (
                "prompt_tokens_total",
                "counter",
                "Tokens of prompts.",
                load(&self.prompt_tokens),
            ),
            (
                "cached_tokens_total",
                "counter",
                "Tokens of prompts that needed no work.",
                load(&self.cached_tokens),
            ),
            (
                "generated_tokens_total",
                "counter",
                "Tokens that were generated.",
                load(&self.generated_tokens),
            ),
            (
                "requests_in_flight",
                "gauge",
                "Requests without a response yet.",
                self.in_flight.load(Ordering::Relaxed),
            ),
            (
                "jobs_waiting",
                "gauge",
                "Sequences that wait for an engine.",
                waiting as i64,
            ),
            ("models_loaded", "gauge", "Models in memory.", loaded as i64),
        ] {
            let name = format!("transformers_{name}");
            head(&mut text, &name, kind, help);
            let _ = writeln!(text, "{name} {value}");
        }
        for (name, help, histogram) in [
            (
                "transformers_time_to_first_token_seconds",
                "From a request to its first token.",
                &self.time_to_first_token,
            ),
            (
                "transformers_time_between_tokens_seconds",
                "From a token to the next one of its sequence.",
                &self.time_between_tokens,
            ),
        ] {
            head(&mut text, name, "histogram", help);
            histogram.write(name, &mut text);
        }
        text
    }
}

/// Counts requests.
pub async fn layer(State(app): Shared, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    // Addresses that are no route share one label: there is no end of them.
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let counted = InFlight::new(&app.metrics.in_flight);
    let response = next.run(request).await;
    drop(counted);
    let mut requests = app
        .metrics
        .requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    *requests
        .entry((route, response.status().as_u16()))
        .or_default() += 1;
    response
}

/// One that is counted until it is dropped, however it ends.
struct InFlight<'a>(&'a AtomicI64);

impl<'a> InFlight<'a> {
    fn new(count: &'a AtomicI64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::default();
        metrics
            .time_to_first_token
            .observe(Duration::from_millis(3));
        metrics.generated_tokens.fetch_add(7, Ordering::Relaxed);
        let text = metrics.text(2, 1);
        for line in [
            "# TYPE transformers_generated_tokens_total counter",
            "transformers_generated_tokens_total 7",
            "transformers_jobs_waiting 2",
            "transformers_time_to_first_token_seconds_bucket{le=\"0.0025\"} 0",
            "transformers_time_to_first_token_seconds_bucket{le=\"0.005\"} 1",
            "transformers_time_to_first_token_seconds_bucket{le=\"+Inf\"} 1",
            "transformers_time_to_first_token_seconds_sum 0.003",
        ] {
            assert!(
                text.lines().any(|other| other == line),
                "{line} is not in:\n{text}"
            );
        }
    }
}
