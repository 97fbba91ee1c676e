//! Peers that are libraries, each behind a worker of `benches/peers`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::ours::START_PROMPT;
use super::protocol::{Worker, request};
use super::{Boxed, Engine, Setup, installed};
use crate::Result;
use crate::bench::process;
use crate::bench::rows::Row;
use crate::project;

/// The names in the table and in the targets.
pub const PYTORCH: &str = "PyTorch";
pub const CANDLE: &str = "candle";
pub const ONNXRUNTIME: &str = "onnxruntime";

const PYTHON: &str = "venv/bin/python";
const INSTALL_PYTHON: &str = "benches/peers/README.md says how to install it";

/// A peer behind the protocol.
struct Peer<'a> {
    name: &'static str,
    setup: &'a Setup,
    program: PathBuf,
    /// What the program runs, where it is Python.
    script: Option<PathBuf>,
    worker: Worker,
}

pub fn open_pytorch(setup: &Setup) -> Result<Boxed<'_>> {
    let python = installed(setup, PYTHON, INSTALL_PYTHON)?;
    Peer::open(PYTORCH, setup, python, Some("torch_worker.py"))
}

pub fn open_candle(setup: &Setup) -> Result<Boxed<'_>> {
    let how = "benches/peers/README.md says how to build it";
    let program = installed(setup, "candle-target/release/candle-bench", how)?;
    Peer::open(CANDLE, setup, program, None)
}

pub fn open_onnxruntime(setup: &Setup) -> Result<Boxed<'_>> {
    let python = installed(setup, PYTHON, INSTALL_PYTHON)?;
    Peer::open(ONNXRUNTIME, setup, python, Some("onnxruntime_worker.py"))
}

impl<'a> Peer<'a> {
    fn open(
        name: &'static str,
        setup: &'a Setup,
        program: PathBuf,
        script: Option<&str>,
    ) -> Result<Boxed<'a>> {
        let script = script.map(in_peers);
        let worker = start_worker(setup, &program, script.as_deref())?;
        Ok(Box::new(Self {
            name,
            setup,
            program,
            script,
            worker,
        }))
    }

    /// In a process of its own: the worker has held other models.
    fn memory(&self, row: Row) -> Result<f64> {
        let mut worker = start_worker(self.setup, &self.program, self.script.as_deref())?;
        worker.ask(&self.request(row))?;
        worker.peak_memory()
    }

    fn request(&self, row: Row) -> Value {
        let models = &self.setup.models;
        let model = match row {
            Row::Embed { .. } if self.name == ONNXRUNTIME => models.onnx_encoder(),
            Row::Embed { .. } => models.encoder(),
            Row::Shape { shape, .. } => models.shape(shape),
            _ => models.decoder(row.weights()),
        };
        request(row, &model)
    }

    fn first_token(&self) -> Result<Command> {
        let mut command = self.setup.command(&self.program);
        command.arg(in_peers("torch_start.py"));
        command.arg(self.setup.models.real()?);
        command
            .arg(self.setup.threads.to_string())
            .arg(START_PROMPT);
        Ok(command)
    }
}

impl Engine for Peer<'_> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        self.worker.version.clone()
    }

    fn covers(&self, row: Row) -> bool {
        match row {
            Row::Embed { .. } => true,
            Row::Start | Row::Shape { .. } => self.name == PYTORCH,
            Row::Concurrent(requests) | Row::FirstToken { requests, .. } => {
                self.name == PYTORCH && !requests.weights.are_blocks()
            }
            _ if self.name == PYTORCH => !row.weights().are_blocks(),
            _ => self.name == CANDLE,
        }
    }

    fn measure(&mut self, row: Row) -> Result<f64> {
        match row {
            Row::Start => Ok(process::run(&mut self.first_token()?)?.seconds),
            Row::Memory { .. } => self.memory(row),
            _ => self.worker.ask(&self.request(row)),
        }
    }
}

fn start_worker(setup: &Setup, program: &Path, script: Option<&Path>) -> Result<Worker> {
    let mut command = setup.command(program);
    command.args(script);
    if script.is_some() {
        command.arg(setup.threads.to_string());
        // No __pycache__ among the sources.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
    }
    Worker::start(command)
}

fn in_peers(script: &str) -> PathBuf {
    project::root().join("benches/peers").join(script)
}
