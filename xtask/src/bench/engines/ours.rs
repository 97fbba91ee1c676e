//! Our own program, a process for each measurement.

use std::path::Path;
use std::process::Command;

use super::{Boxed, Engine, Setup};
use crate::Result;
use crate::bench::llama_bench;
use crate::bench::process;
use crate::bench::rows::{Row, SENTENCE, SENTENCES};
use crate::bench::shapes::Task;

/// The name in the table.
pub const OURS: &str = "ours";

/// A prompt of 16 tokens in SmolLM2's vocabulary.
pub const START_PROMPT: &str =
    "The capital of France is Paris, and the capital of Italy is the city of";

struct Ours<'a> {
    setup: &'a Setup,
    version: String,
}

pub fn open(setup: &Setup) -> Result<Boxed<'_>> {
    let version = process::run(command(setup).arg("--version"))?.stdout;
    Ok(Box::new(Ours {
        setup,
        version: version.trim().to_owned(),
    }))
}

pub fn command(setup: &Setup) -> Command {
    setup.command(&setup.binary)
}

impl Ours<'_> {
    fn bench(&self, row: Row) -> Command {
        let mut command = command(self.setup);
        let model = match row {
            Row::Shape { shape, .. } => self.setup.models.shape(shape),
            _ => self.setup.models.decoder(row.weights()),
        };
        command.arg("bench").arg("--model").arg(model);
        command.args(llama_bench::arguments(row));
        command
    }

    fn start(&self) -> Result<Command> {
        let mut command = command(self.setup);
        command.arg("generate").arg("--model");
        command.arg(self.setup.models.real()?);
        command.args(["--prompt", START_PROMPT, "--max-new-tokens", "1"]);
        Ok(command)
    }

    fn embed(&self, model: &Path, batch: usize) -> Result<f64> {
        let mut command = command(self.setup);
        command.arg("bench").arg("--model").arg(model);
        let repetitions = SENTENCES / batch;
        let arguments = format!("-b {batch} -s {SENTENCE} -r {repetitions} -o json");
        let finished = process::run(command.args(arguments.split(' ')))?;
        llama_bench::number(&finished.stdout, "sentences_per_s")
    }
}

impl Engine for Ours<'_> {
    fn name(&self) -> &'static str {
        OURS
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn covers(&self, _: Row) -> bool {
        true
    }

    fn measure(&mut self, row: Row) -> Result<f64> {
        let number = |key| {
            let finished = process::run(&mut self.bench(row))?;
            llama_bench::number(&finished.stdout, key)
        };
        match row {
            Row::Shape {
                shape,
                task: Task::Embed { batch },
            } => self.embed(&self.setup.models.shape(shape), batch),
            Row::Decode { .. } | Row::Prompt { .. } | Row::Shape { .. } => number("avg_ts"),
            Row::Load { .. } => Ok(number("first_forward_ms")? / 1e3),
            Row::Start => Ok(process::run(&mut self.start()?)?.seconds),
            Row::Memory { .. } => process::peak_memory(&mut self.bench(row)),
            Row::Embed { batch } => self.embed(&self.setup.models.encoder(), batch),
        }
    }
}
