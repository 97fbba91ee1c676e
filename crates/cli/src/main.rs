//! The `transformers` binary: language models and embeddings from the command line.
//!
//! One file for each subcommand. What they print goes to stdout and nothing else does, so that they can be piped.
#![forbid(unsafe_code)]

mod completions;
mod embed;
mod env;
mod failure;
mod generate;
mod model;
mod output;
mod progress;
mod stats;
mod version;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

/// Runs Hugging Face models: text generation and embeddings, from a folder, a hub id or a GGUF file.
#[derive(Debug, Parser)]
#[command(
    name = "transformers",
    version,
    after_help = "\
Examples:
  transformers generate --model HuggingFaceTB/SmolLM2-135M-Instruct --chat 'What is the capital of France?'
  transformers generate --model ./SmolLM2-135M-Instruct.Q4_1.gguf --prompt 'Once upon a time'
  transformers embed --model sentence-transformers/all-MiniLM-L6-v2 'A cat sleeps.' 'The kitten is napping.'
  transformers env

`transformers help COMMAND` explains a command."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Generate(Box<generate::Arguments>),
    Embed(Box<embed::Arguments>),
    Env(env::Arguments),
    Version(version::Arguments),
    Completions(completions::Arguments),
}

fn main() -> ExitCode {
    let start = Instant::now();
    let arguments = Arguments::parse();
    start_logging();
    let done = match &arguments.command {
        Command::Generate(arguments) => generate::run(arguments, start),
        Command::Embed(arguments) => embed::run(arguments),
        Command::Env(arguments) => env::run(arguments),
        Command::Version(arguments) => version::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
    };
    done.unwrap_or_else(|failure| failure.report())
}

/// Warnings go to stderr; `RUST_LOG` asks for more.
fn start_logging() {
    use std::io::Write;

    let mut builder = env_logger::Builder::new();
    builder
        .filter_level(log::LevelFilter::Warn)
        .parse_default_env();
    builder.format(|out, record| {
        let level = record.level().as_str().to_lowercase();
        let level = if level == "warn" {
            "warning".to_owned()
        } else {
            level
        };
        writeln!(out, "{level}: {}", record.args())
    });
    builder.init();
}
