//! The result of a run, and its form as JSON.

use serde_json::{Map, Value, json};

use super::engines::Skipped;
use super::engines::ours::OURS;
use super::limits::LIMIT;
use super::models::Models;
use super::rounds::Samples;
use super::rows::Row;
use super::targets::{self, Target, Verdict};
use crate::Result;

/// Everything that a run found.
pub struct Report<'a> {
    pub rows: &'a [Row],
    pub samples: &'a Samples,
    /// Names and versions, the machine's limit first.
    pub engines: Vec<(&'static str, String)>,
    pub skipped: &'a [Skipped],
    pub models: &'a Models,
    pub rounds: usize,
    pub threads: usize,
}

impl Report<'_> {
    /// The engines beside ours and the limit.
    pub fn peers(&self) -> Vec<&'static str> {
        let names = self.engines.iter().map(|(name, _)| *name);
        names.filter(|name| ![LIMIT, OURS].contains(name)).collect()
    }

    pub fn verdicts(&self, row: Row) -> Result<Vec<Verdict>> {
        targets::judge(row, self.samples, self.models)
    }

    pub fn json(&self) -> Result<Value> {
        let rows: Result<Vec<Value>> = self.rows.iter().map(|row| self.row(*row)).collect();
        let engines: Map<String, Value> = self
            .engines
            .iter()
            .map(|(name, version)| ((*name).to_owned(), json!(version)))
            .collect();
        let skipped: Map<String, Value> = self
            .skipped
            .iter()
            .map(|skipped| (skipped.name.to_owned(), json!(skipped.why)))
            .collect();
        Ok(json!({
            "threads": self.threads,
            "rounds": self.rounds,
            "busy_cores": self.samples.busy_cores,
            "engines": engines,
            "skipped": skipped,
            "rows": rows?,
        }))
    }

    fn row(&self, row: Row) -> Result<Value> {
        let engines: Map<String, Value> = self
            .engines
            .iter()
            .filter_map(|(name, _)| Some(((*name).to_owned(), self.cell(row, name)?)))
            .collect();
        let verdicts: Vec<Value> = self.verdicts(row)?.iter().map(verdict).collect();
        Ok(json!({
            "row": row.to_string(),
            "unit": row.unit(),
            "engines": engines,
            "targets": verdicts,
        }))
    }

    fn cell(&self, row: Row, engine: &'static str) -> Option<Value> {
        if let Some(error) = self.samples.failures.get(&(row, engine)) {
            return Some(json!({ "error": error }));
        }
        let median = self.samples.median(row, engine)?;
        let mut cell = json!({ "median": median, "samples": self.samples.of(row, engine) });
        if engine != OURS {
            cell["ours_times_this"] = json!(self.samples.ratio(row, OURS, engine));
        }
        Some(cell)
    }
}

fn verdict(verdict: &Verdict) -> Value {
    let (reached, met) = (verdict.reached, verdict.is_met());
    match verdict.target {
        Target::AtLeast { times, other } => {
            json!({ "at_least": times, "times": other, "reached": reached, "met": met })
        }
        Target::AtMost(most) => json!({ "at_most": most, "reached": reached, "met": met }),
    }
}
