//! What the machine can do at best, as an engine beside the others: memory reads and f32 arithmetic.

use std::process::Command;

use serde_json::Value;

use super::engines::{Engine, Setup, ours};
use super::models::Models;
use super::process;
use super::rows::Row;
use crate::Result;

/// The name in the table and in the targets.
pub const LIMIT: &str = "limit";

/// Measured by our kernels' best loops, again for every row, since a shared machine drifts.
pub struct Machine<'a> {
    setup: &'a Setup,
    best: Limits,
}

#[derive(Clone, Copy, Default)]
struct Limits {
    /// Bytes read per second.
    read: f64,
    /// f32 operations per second, a multiply-add counted as two.
    arithmetic: f64,
}

impl<'a> Machine<'a> {
    pub fn new(setup: &'a Setup) -> Self {
        Self {
            setup,
            best: Limits::default(),
        }
    }
}

impl Engine for Machine<'_> {
    fn name(&self) -> &'static str {
        LIMIT
    }

    fn version(&self) -> String {
        let gigas = [self.best.read, self.best.arithmetic].map(|value| value / 1e9);
        format!(
            "at best memory reads of {:.1} GB/s and {:.0} GFLOP/s in f32",
            gigas[0], gigas[1]
        )
    }

    fn covers(&self, row: Row) -> bool {
        !row.is_cost() && !matches!(row, Row::Shape { .. })
    }

    fn measure(&mut self, row: Row) -> Result<f64> {
        let mut command = ours::command(self.setup);
        let limits = Limits::measure(command.args(["bench", "--limits", "-o", "json"]))?;
        self.best.read = self.best.read.max(limits.read);
        self.best.arithmetic = self.best.arithmetic.max(limits.arithmetic);
        limits.of(row, &self.setup.models)
    }
}

impl Limits {
    fn measure(command: &mut Command) -> Result<Self> {
        Self::parse(&process::run(command)?.stdout)
    }

    fn parse(json: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(json)?;
        let number = |key: &str| {
            let number = value[key].as_f64().filter(|number| *number > 0.0);
            number.ok_or_else(|| format!("the limits have no `{key}`: {value}"))
        };
        Ok(Self {
            read: number("read_gbs")? * 1e9,
            arithmetic: number("fma_gflops")? * 1e9,
        })
    }

    /// Decoding has to read every weight; prompts and sentences have to multiply by every weight. What attention adds
    /// to either is left out.
    fn of(self, row: Row, models: &Models) -> Result<f64> {
        Ok(match row {
            Row::Decode { weights, .. } => self.read / models.weight_bytes(weights)?,
            _ => self.arithmetic / models.operations(row)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_json() {
        let limits = Limits::parse(r#"{"read_gbs": 36.5, "fma_gflops": 205, "threads": 2}"#);
        let limits = limits.expect("both are there");
        assert_eq!((limits.read, limits.arithmetic), (36.5e9, 205e9));
        let error = Limits::parse(r#"{"read_gbs": 36.5, "fma_gflops": null}"#).err();
        assert!(
            error
                .expect("one is missing")
                .to_string()
                .contains("`fma_gflops`")
        );
        assert!(Limits::parse(r#"{"read_gbs": 0, "fma_gflops": 1}"#).is_err());
    }
}
