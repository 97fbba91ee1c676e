//! `transformers version`.

use std::process::ExitCode;

use clap::Args;

use crate::failure::Result;
use crate::output::print;

/// Print the version.
#[derive(Debug, Args)]
pub struct Arguments {}

pub fn run(Arguments {}: &Arguments) -> Result {
    print(format_args!("transformers {}\n", env!("CARGO_PKG_VERSION")))?;
    Ok(ExitCode::SUCCESS)
}
