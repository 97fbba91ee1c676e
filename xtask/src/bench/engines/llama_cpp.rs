//! llama.cpp, through its llama-bench: a process for each measurement.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::ours::START_PROMPT;
use super::{Boxed, Engine, Setup, installed};
use crate::Result;
use crate::bench::llama_bench;
use crate::bench::process;
use crate::bench::rows::{REQUEST_ANSWER, REQUEST_PROMPT, Requests, Row};

/// The name in the table and in the targets.
pub const NAME: &str = "llama.cpp";

const HOW: &str = "benches/peers/build_llamacpp.sh builds it";

struct LlamaCpp<'a> {
    setup: &'a Setup,
    bench: PathBuf,
    version: String,
}

pub fn open(setup: &Setup) -> Result<Boxed<'_>> {
    let version = fs::read_to_string(installed(setup, "llama.cpp/VERSION", HOW)?)?;
    Ok(Box::new(LlamaCpp {
        setup,
        bench: installed(setup, "llama.cpp/bin/llama-bench", HOW)?,
        version: version.trim().to_owned(),
    }))
}

impl LlamaCpp<'_> {
    fn bench(&self, row: Row) -> Command {
        let mut command = self.setup.command(&self.bench);
        command.arg("-m").arg(self.setup.models.gguf(row.weights()));
        command.arg("-t").arg(self.setup.threads.to_string());
        command.args(llama_bench::arguments(row));
        command
    }

    fn concurrent(&self, requests: Requests) -> Result<f64> {
        let program = installed(self.setup, "llama.cpp/bin/llama-batched-bench", HOW)?;
        let mut command = self.setup.command(program);
        command
            .arg("-m")
            .arg(self.setup.models.gguf(requests.weights));
        let (count, threads) = (requests.count, self.setup.threads);
        let context = count * (REQUEST_PROMPT + REQUEST_ANSWER);
        let arguments = format!(
            "-t {threads} -tb {threads} -c {context} -npp {REQUEST_PROMPT} -ntg {REQUEST_ANSWER} -npl {count} --output-format jsonl"
        );
        command.args(arguments.split(' '));
        llama_bench::batched_speed(&process::run(&mut command)?.stdout)
    }

    fn start(&self) -> Result<Command> {
        let program = installed(self.setup, "llama.cpp/bin/llama-completion", HOW)?;
        let mut command = self.setup.command(program);
        command.arg("-m").arg(self.setup.models.real()?);
        command.arg("-t").arg(self.setup.threads.to_string());
        let arguments = ["-no-cnv", "--no-warmup", "-n", "1", "-c", "512", "-p"];
        command.args(arguments).arg(START_PROMPT);
        Ok(command)
    }
}

impl Engine for LlamaCpp<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn covers(&self, row: Row) -> bool {
        match row {
            Row::Embed { .. } | Row::Shape { .. } | Row::FirstToken { .. } => false,
            // It shares whole prompts only.
            Row::Concurrent(requests) => requests.prefix == 0,
            // It reads GGUF only.
            Row::Start => self.setup.models.real().is_ok_and(|model| model.is_file()),
            _ => true,
        }
    }

    fn measure(&mut self, row: Row) -> Result<f64> {
        let mut command = self.bench(row);
        match row {
            // It does not say how long loading took: this is the whole process.
            Row::Load { .. } => Ok(process::run(command.arg("--no-warmup"))?.seconds),
            Row::Start => Ok(process::run(&mut self.start()?)?.seconds),
            Row::Memory { .. } => process::peak_memory(&mut command),
            Row::Concurrent(requests) => self.concurrent(requests),
            _ => llama_bench::number(&process::run(&mut command)?.stdout, "avg_ts"),
        }
    }
}
