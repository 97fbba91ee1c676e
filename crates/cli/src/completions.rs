//! `transformers completions`: what a shell needs to complete the command line.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::Result;
use crate::output::print;

/// Print a script that lets a shell complete commands and flags.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transformers completions bash > ~/.local/share/bash-completion/completions/transformers
  transformers completions zsh > ~/.zfunc/_transformers
  transformers completions fish > ~/.config/fish/completions/transformers.fish")]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

pub fn run(arguments: &Arguments) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::Arguments::command(),
        "transformers",
        &mut script,
    );
    print(String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
