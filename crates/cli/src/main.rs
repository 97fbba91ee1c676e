//! The `transformers` binary: language models, embeddings, tokenizers and checkpoints from the command line.
//!
//! One file for each subcommand. What they print goes to stdout and nothing else does, so that they can be piped.
#![forbid(unsafe_code)]

mod bench;
mod completions;
mod convert;
mod doctor;
mod embed;
mod env;
mod failure;
mod generate;
mod inspect;
mod interrupt;
mod model;
mod output;
mod progress;
mod prompts_file;
mod source;
mod stats;
mod tokenize;
mod train_tokenizer;
mod version;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

/// Runs Hugging Face models: text generation, embeddings and tokenizers, from a folder, a hub id or a GGUF file.
#[derive(Debug, Parser)]
#[command(
    name = "transformers",
    version,
    after_help = "\
Examples:
  transformers generate --model HuggingFaceTB/SmolLM2-135M-Instruct --chat 'Who wrote Emma?'
  transformers generate --model ./SmolLM2-135M-Instruct.Q4_1.gguf --prompt 'Once upon a time'
  transformers embed --model sentence-transformers/all-MiniLM-L6-v2 'A cat sleeps.' 'It naps.'
  transformers tokenize --model ./SmolLM2-135M-Instruct.Q4_1.gguf 'Hello, world!'
  transformers train-tokenizer --class LlamaTokenizer --vocab-size 8000 --output mine corpus.txt
  transformers bench --model ./SmolLM2-135M-Instruct.Q4_1.gguf
  transformers convert ./SmolLM2-135M-Instruct smollm2.gguf --quantize q8_0
  transformers inspect smollm2.gguf
  transformers doctor ./SmolLM2-135M-Instruct
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
    Tokenize(Box<tokenize::Arguments>),
    TrainTokenizer(Box<train_tokenizer::Arguments>),
    Bench(Box<bench::Arguments>),
    Convert(Box<convert::Arguments>),
    Inspect(Box<inspect::Arguments>),
    Doctor(Box<doctor::Arguments>),
    Env(env::Arguments),
    Version(version::Arguments),
    Completions(completions::Arguments),
}

fn main() -> ExitCode {
    let start = Instant::now();
    let arguments = Arguments::parse();
    transformers_kernels::memory::keep_freed_memory();
    start_logging();
    let done = match &arguments.command {
        Command::Generate(arguments) => generate::run(arguments, start),
        Command::Embed(arguments) => embed::run(arguments),
        Command::Tokenize(arguments) => tokenize::run(arguments),
        Command::TrainTokenizer(arguments) => train_tokenizer::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Convert(arguments) => convert::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Env(arguments) => env::run(arguments),
        Command::Version(arguments) => version::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
    };
    done.unwrap_or_else(|failure| failure.report())
}

/// Warnings go to stderr; `RUST_LOG` asks for more.
fn start_logging() {
    use std::io::Write;

    let filter = env_logger::Env::default().default_filter_or("warn");
    let mut builder = env_logger::Builder::from_env(filter);
    builder.format(|out, record| match record.level().as_str() {
        "WARN" => writeln!(out, "warning: {}", record.args()),
        level => writeln!(out, "{}: {}", level.to_lowercase(), record.args()),
    });
    builder.init();
}
