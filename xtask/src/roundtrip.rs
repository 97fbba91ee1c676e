//! Saves every case with this library and lets Python load what was written.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::Result;
use crate::project::{cargo, hand_over, root, run as finish};

#[derive(clap::Args)]
pub struct Arguments {
    /// The Python that `tests/oracle/setup.sh` installed
    #[arg(long, env = "ORACLE_PYTHON", value_name = "PATH")]
    python: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let cases = root().join("tests/cases");
    let saved = tempfile::tempdir()?;
    let mut save = cargo();
    save.args(["run", "--package", "transformers-tests"])
        .args(["--bin", "conformance", "--", "--save"])
        .arg(saved.path())
        .arg(&cases);
    finish(&mut save)?;
    let mut check = Command::new(&arguments.python);
    check
        .arg("-B")
        .arg(root().join("tests/oracle/check_roundtrip.py"))
        .arg(saved.path())
        .arg(&cases);
    hand_over(&mut check)
}
