//! What is measured: ours and the peers, each behind the same few questions.

mod llama_cpp;
pub mod ours;
mod protocol;
mod worker;

use std::path::PathBuf;
use std::process::Command;

use super::models::Models;
use super::rows::Row;
use crate::Result;

/// Something that can be timed.
pub trait Engine {
    /// As the table and the targets call it.
    fn name(&self) -> &'static str;

    fn version(&self) -> String;

    /// Whether it can do what this row measures at all.
    fn covers(&self, row: Row) -> bool;

    /// One measurement, in the row's unit.
    fn measure(&mut self, row: Row) -> Result<f64>;
}

pub type Boxed<'a> = Box<dyn Engine + 'a>;

/// What every engine needs to know.
pub struct Setup {
    /// Our own program.
    pub binary: PathBuf,
    /// The folder that the peers are installed in.
    pub peers: Option<PathBuf>,
    pub models: Models,
    pub threads: usize,
}

impl Setup {
    /// A program that runs on the threads given to every engine.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let threads = self.threads.to_string();
        let mut command = Command::new(program);
        for variable in [
            "TRANSFORMERS_NUM_THREADS",
            "OMP_NUM_THREADS",
            "RAYON_NUM_THREADS",
        ] {
            command.env(variable, &threads);
        }
        command.env("HF_HUB_OFFLINE", "1");
        command
    }
}

/// A peer that is not measured, and why.
pub struct Skipped {
    pub name: &'static str,
    pub why: String,
}

type Open = fn(&Setup) -> Result<Boxed<'_>>;

const PEERS: [(&str, Open); 4] = [
    (llama_cpp::NAME, llama_cpp::open),
    (worker::PYTORCH, worker::open_pytorch),
    (worker::CANDLE, worker::open_candle),
    (worker::ONNXRUNTIME, worker::open_onnxruntime),
];

/// The peers there are, installed or not.
pub fn names() -> [&'static str; 4] {
    PEERS.map(|(name, _)| name)
}

/// Ours, and those of the peers that are installed and asked for.
pub fn open<'a>(
    setup: &'a Setup,
    asked: Option<&[String]>,
) -> Result<(Vec<Boxed<'a>>, Vec<Skipped>)> {
    refuse_unknown(asked.unwrap_or_default())?;
    let mut engines = vec![ours::open(setup)?, ours::open_one_by_one(setup)?];
    let mut skipped = Vec::new();
    for (name, open) in PEERS {
        if asked.is_some_and(|asked| !asked.iter().any(|one| one == name)) {
            continue;
        }
        match open(setup) {
            Ok(engine) => engines.push(engine),
            Err(error) => skipped.push(Skipped {
                name,
                why: error.to_string(),
            }),
        }
    }
    Ok((engines, skipped))
}

fn refuse_unknown(asked: &[String]) -> Result<()> {
    let names = names();
    match asked.iter().find(|one| !names.contains(&one.as_str())) {
        Some(one) => Err(format!("no engine {one}; there are {}", names.join(", ")).into()),
        None => Ok(()),
    }
}

/// A file in the folder of the peers; where it is missing, the error says how to get it.
fn installed(setup: &Setup, path: &str, how: &str) -> Result<PathBuf> {
    let Some(peers) = &setup.peers else {
        return Err("needs --peers; benches/peers/README.md says how to install it".into());
    };
    let file = peers.join(path);
    if !file.exists() {
        return Err(format!("no {}; {how}", file.display()).into());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_engine_is_refused_with_the_names_there_are() {
        assert!(refuse_unknown(&["candle".to_owned()]).is_ok());
        let error = refuse_unknown(&["ollama".to_owned()]).expect_err("it is unknown");
        assert_eq!(
            error.to_string(),
            "no engine ollama; there are llama.cpp, PyTorch, candle, onnxruntime"
        );
    }
}
