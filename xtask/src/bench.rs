//! `cargo xtask bench`: how fast we are beside other engines and beside what the machine can do.
//!
//! Everything is measured in one run and in turns: every engine measures a row before the next row begins, and that for
//! several rounds. A machine that is shared drifts; neighbours in time are comparable, and the medians are reported.

mod engines;
mod limits;
mod llama_bench;
mod models;
mod process;
mod report;
mod rounds;
mod rows;
mod shapes;
mod table;
mod targets;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::Result;
use crate::project;
use limits::Machine;
use models::Models;
use report::Report;
use rows::{Part, Row, Selection, Weights};
use shapes::Shape;

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder that benches/peers/make_models.py wrote, or with --shapes benches/peers/make_shapes.py
    #[arg(long, value_name = "DIR")]
    models: PathBuf,
    /// Where the other engines are installed, as benches/peers/README.md says
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// How often every row is measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Other kinds of models, all or these, and nothing else
    #[arg(
        long,
        value_enum,
        value_name = "NAMES",
        value_delimiter = ',',
        num_args = 0..,
        conflicts_with_all = ["only", "types"]
    )]
    shapes: Option<Vec<Shape>>,
    /// Only these types of weights
    #[arg(long, value_enum, value_delimiter = ',')]
    types: Vec<Weights>,
    /// Only these of the other engines
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    engines: Option<Vec<String>>,
    /// Tokens of context before a decoding
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "0,2048"
    )]
    depths: Vec<usize>,
    /// Tokens of context before a prompt
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "0")]
    prompt_depths: Vec<usize>,
    /// How many requests come at once, for `concurrent` and `first-token`
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "1,4,16,64"
    )]
    requests: Vec<usize>,
    /// Threads of every engine
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// How long to wait, before each row, for a machine that others leave alone
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    patience: u64,
    /// A real chat model with its tokenizer, for `start`: a folder or a GGUF file
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Write the result here too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let binary = project::release_binary("transformers")?;
    if !binary.exists() {
        return Err("build first: cargo build --release".into());
    }
    if arguments.only.contains(&Part::Start) && arguments.model.is_none() {
        return Err("start needs --model: a real chat model with its tokenizer".into());
    }
    let setup = engines::Setup {
        binary,
        peers: arguments.peers.clone(),
        models: Models::open(&arguments.models, arguments.model.as_deref())?,
        threads: arguments.threads,
    };
    let selection = Selection {
        parts: &arguments.only,
        weights: &arguments.types,
        decode_depths: &arguments.depths,
        prompt_depths: &arguments.prompt_depths,
        requests: &arguments.requests,
        start: arguments.model.is_some(),
    };
    let rows = match &arguments.shapes {
        Some(shapes) => Row::of_shapes(shapes),
        None => selection.rows(),
    };

    let patience = Duration::from_secs(arguments.patience);
    let (mut engines, skipped) = engines::open(&setup, arguments.engines.as_deref())?;
    engines.insert(0, Box::new(Machine::new(&setup)));
    let samples = rounds::measure(&mut engines, &rows, arguments.rounds, patience);

    let report = Report {
        rows: &rows,
        samples: &samples,
        engines: engines
            .iter()
            .map(|engine| (engine.name(), engine.version()))
            .collect(),
        skipped: &skipped,
        models: &setup.models,
        rounds: arguments.rounds,
        threads: arguments.threads,
    };
    println!("{}", table::render(&report)?);
    if let Some(file) = &arguments.json {
        fs::write(file, format!("{:#}\n", report.json()?))
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        eprintln!("wrote {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}
