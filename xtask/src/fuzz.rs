//! Fuzzes what reads weights, tokenizers, chat templates and requests with libFuzzer, on a nightly compiler. What it finds is
//! written to `fuzz/target/findings`; mended, it belongs to `fuzz/corpus`, which the tests of `weights`, `tokenization` and
//! `server` replay.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::builder::PossibleValuesParser;

use crate::Result;
use crate::project::{self, root};

/// The binaries of `fuzz` that read files.
const READERS: [&str; 8] = [
    "safetensors",
    "index",
    "gguf",
    "pickle",
    "tokenizer",
    "sentencepiece",
    "vocabulary",
    "chat_template",
];

/// Those that send requests; they need the server.
const REQUESTS: [&str; 8] = [
    "chat_completions",
    "completions",
    "responses",
    "messages",
    "embeddings",
    "load_model",
    "tokenize",
    "detokenize",
];

/// The instrumentation that libFuzzer is guided by.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

#[derive(clap::Args)]
pub struct Arguments {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    minutes: f64,
    /// The compiler, as rustup calls it
    #[arg(long, value_name = "NAME", default_value = "nightly")]
    toolchain: String,
    /// Only these
    #[arg(value_parser = PossibleValuesParser::new(all()))]
    targets: Vec<String>,
}

fn all() -> impl Iterator<Item = &'static str> {
    READERS.into_iter().chain(REQUESTS)
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let all: Vec<String> = all().map(str::to_owned).collect();
    let targets = match arguments.targets.as_slice() {
        [] => &all,
        targets => targets,
    };
    for target in targets {
        fuzz(target, arguments)?;
    }
    println!("{} targets, nothing found", targets.len());
    Ok(ExitCode::SUCCESS)
}

fn fuzz(target: &str, arguments: &Arguments) -> Result<()> {
    let folder = root().join("fuzz");
    let (found, kept) = (
        folder.join("target/findings"),
        folder.join("target/corpus").join(target),
    );
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&kept)?;
    // For a named target, so that programs which only build are not instrumented.
    let mut command = Command::new("cargo");
    command
        .current_dir(&folder)
        .env("RUSTFLAGS", FLAGS.join(" "))
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .arg(format!("+{}", arguments.toolchain))
        .args(["run", "--release", "--target", &host(&arguments.toolchain)?])
        .args(match REQUESTS.contains(&target) {
            true => &["--features", "server"][..],
            false => &[],
        })
        .args(["--bin", target, "--"])
        .arg(kept)
        .arg(Path::new("corpus").join(target))
        .arg(format!(
            "-max_total_time={}",
            (arguments.minutes * 60.0).ceil()
        ))
        .arg(format!("-artifact_prefix={}/{target}-", found.display()))
        .args([
            "-max_len=16384",
            "-timeout=20",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
        ]);
    project::run(&mut command)
}

/// The platform that this compiler runs on.
fn host(toolchain: &str) -> Result<String> {
    let mut rustc = Command::new("rustc");
    let text = project::output(rustc.arg(format!("+{toolchain}")).arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not say its host")?.to_owned())
}
