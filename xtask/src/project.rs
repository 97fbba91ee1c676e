//! Where the project lies, and how its programs are run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use serde_json::Value;

use crate::Result;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in a folder of the repository")
}

/// The cargo that runs this task.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// What `cargo metadata` says about the workspace's own packages; needs no network.
pub fn metadata() -> Result<Value> {
    let text = output(cargo().current_dir(root()).args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version=1",
    ]))?;
    Ok(serde_json::from_str(&text)?)
}

/// Where the release build of a program lies.
pub fn release_binary(name: &str) -> Result<PathBuf> {
    let metadata = metadata()?;
    let target = metadata["target_directory"]
        .as_str()
        .ok_or("cargo metadata names no target_directory")?;
    Ok(Path::new(target)
        .join("release")
        .join(format!("{name}{}", env::consts::EXE_SUFFIX)))
}

/// Runs a program with this one's terminal; its failure is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{} ended with {status}", line(command)).into())
}

/// Runs a program with this one's terminal and hands on its exit code.
pub fn hand_over(command: &mut Command) -> Result<ExitCode> {
    let code = status(command)?
        .code()
        .and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// What a program writes to stdout; its failure is an error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| cannot_start(command, &e))?;
    if !output.status.success() {
        return Err(format!("{} ended with {}", line(command), output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn status(command: &mut Command) -> Result<ExitStatus> {
    command
        .status()
        .map_err(|e| cannot_start(command, &e).into())
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start `{}`: {error}", line(command))
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
