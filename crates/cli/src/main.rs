//! The `transformers` binary: language models, a server, embeddings, tokenizers and checkpoints from the command line.
//!
//! One file for each subcommand. What they print goes to stdout and nothing else does, so that they can be piped.
#![forbid(unsafe_code)]

mod bench;
#[cfg(feature = "serve")]
mod chat;
mod completions;
mod convert;
mod doctor;
mod embed;
mod env;
mod failure;
mod generate;
mod inspect;
mod interrupt;
mod merge_lora;
mod model;
mod output;
mod progress;
mod prompts_file;
#[cfg(feature = "serve")]
mod serve;
mod source;
mod stats;
mod tokenize;
mod train;
mod train_bar;
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
  transformers serve HuggingFaceTB/SmolLM2-135M-Instruct
  transformers chat HuggingFaceTB/SmolLM2-135M-Instruct
  transformers embed --model sentence-transformers/all-MiniLM-L6-v2 'A cat sleeps.' 'It naps.'
  transformers tokenize --model ./SmolLM2-135M-Instruct.Q4_1.gguf 'Hello, world!'
  transformers train-tokenizer --class LlamaTokenizer --vocab-size 8000 --output mine corpus.txt
  transformers train recipe.yaml --set training.output_dir=mine
  transformers bench --model ./SmolLM2-135M-Instruct.Q4_1.gguf
  transformers convert ./SmolLM2-135M-Instruct smollm2.gguf --quantize q8_0
  transformers merge-lora ./SmolLM2-135M-Instruct ./my-adapter ./merged
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
    #[cfg(feature = "serve")]
    Serve(Box<serve::Arguments>),
    #[cfg(feature = "serve")]
    Chat(Box<chat::Arguments>),
    Embed(Box<embed::Arguments>),
    Tokenize(Box<tokenize::Arguments>),
    Train(Box<train::Arguments>),
    TrainTokenizer(Box<train_tokenizer::Arguments>),
    Bench(Box<bench::Arguments>),
    Convert(Box<convert::Arguments>),
    MergeLora(Box<merge_lora::Arguments>),
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
    start_logging(arguments.log_level());
    let done = match &arguments.command {
        Command::Generate(arguments) => generate::run(arguments, start),
        #[cfg(feature = "serve")]
        Command::Serve(arguments) => serve::run(arguments),
        #[cfg(feature = "serve")]
        Command::Chat(arguments) => chat::run(arguments),
        Command::Embed(arguments) => embed::run(arguments),
        Command::Tokenize(arguments) => tokenize::run(arguments),
        Command::Train(arguments) => train::run(arguments),
        Command::TrainTokenizer(arguments) => train_tokenizer::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Convert(arguments) => convert::run(arguments),
        Command::MergeLora(arguments) => merge_lora::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Env(arguments) => env::run(arguments),
        Command::Version(arguments) => version::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
    };
    done.unwrap_or_else(|failure| failure.report())
}

impl Arguments {
    /// What is logged where `RUST_LOG` does not say.
    fn log_level(&self) -> &str {
        match &self.command {
            #[cfg(feature = "serve")]
            Command::Serve(arguments) => arguments.log_level(),
            _ => "warn",
        }
    }
}

/// Warnings go to stderr; `RUST_LOG` asks for more.
fn start_logging(level: &str) {
    use std::io::Write;

    let filter = env_logger::Env::default().default_filter_or(level);
    let mut builder = env_logger::Builder::from_env(filter);
    builder.format(|out, record| match record.level().as_str() {
        "WARN" => writeln!(out, "warning: {}", record.args()),
        level => writeln!(out, "{}: {}", level.to_lowercase(), record.args()),
    });
    builder.init();
}
