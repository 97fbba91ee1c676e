//! Our own program, a process for each measurement.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::{Boxed, Engine, Setup};
use crate::Result;
use crate::bench::llama_bench;
use crate::bench::process;
use crate::bench::rows::{REQUEST_ANSWER, REQUEST_PROMPT, Requests, Row, SENTENCE, SENTENCES};
use crate::bench::shapes::Task;

/// The name in the table.
pub const OURS: &str = "ours";

/// The same program, which generates for one request after the other.
pub const ONE_BY_ONE: &str = "one by one";

/// More of them one after the other take longer, and say nothing new.
const MAX_ONE_BY_ONE: usize = 16;

/// A prompt of 16 tokens in SmolLM2's vocabulary.
pub const START_PROMPT: &str =
    "The capital of France is Paris, and the capital of Italy is the city of";

struct Ours<'a> {
    name: &'static str,
    setup: &'a Setup,
    version: String,
    /// What was said of requests at once, until all of it is read.
    outputs: BTreeMap<Requests, String>,
}

pub fn open(setup: &Setup) -> Result<Boxed<'_>> {
    open_as(OURS, setup)
}

pub fn open_one_by_one(setup: &Setup) -> Result<Boxed<'_>> {
    open_as(ONE_BY_ONE, setup)
}

fn open_as<'a>(name: &'static str, setup: &'a Setup) -> Result<Boxed<'a>> {
    let version = process::run(command(setup).arg("--version"))?.stdout;
    Ok(Box::new(Ours {
        name,
        setup,
        version: version.trim().to_owned(),
        outputs: BTreeMap::new(),
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

    fn concurrent(&self, requests: Requests) -> Result<String> {
        let mut command = command(self.setup);
        command.arg("bench").arg("--model");
        command.arg(self.setup.models.decoder(requests.weights));
        let Requests { count, prefix, .. } = requests;
        let arguments = format!(
            "--concurrent {count} --prefix {prefix} -p {REQUEST_PROMPT} -n {REQUEST_ANSWER}"
        );
        command
            .args(arguments.split(' '))
            .args(["-r", "1", "-o", "json"]);
        if self.name == ONE_BY_ONE {
            command.arg("--one-by-one");
        }
        Ok(process::run(&mut command)?.stdout)
    }

    /// When so many percent of the requests have their first token: in the run that measured their speed, if there was
    /// one. The row of 99% is the last that reads it.
    fn first_token(&mut self, requests: Requests, percent: usize) -> Result<f64> {
        let output = match self.outputs.remove(&requests) {
            Some(output) => output,
            None => self.concurrent(requests)?,
        };
        let time = llama_bench::number(&output, &format!("first_token_ms_p{percent}"))?;
        if percent < 99 {
            self.outputs.insert(requests, output);
        }
        Ok(time)
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
        self.name
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn covers(&self, row: Row) -> bool {
        match row {
            _ if self.name == OURS => true,
            Row::Concurrent(requests) | Row::FirstToken { requests, .. } => {
                requests.count <= MAX_ONE_BY_ONE
            }
            _ => false,
        }
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
            Row::Concurrent(requests) => {
                let output = self.concurrent(requests)?;
                let speed = llama_bench::number(&output, "avg_ts")?;
                self.outputs.insert(requests, output);
                Ok(speed)
            }
            Row::FirstToken { requests, percent } => self.first_token(requests, percent),
        }
    }
}
