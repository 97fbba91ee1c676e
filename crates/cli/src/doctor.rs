//! `transformers doctor`: what is wrong with a model's files, or will be slow.

mod fit;
mod speed;
mod text;
mod values;

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use transformers_config::AutoConfig;
use transformers_weights::Checkpoint;

use crate::failure::Result;
use crate::output::print;
use crate::source::SourceArguments;

/// Examine a model: do its files fit together, are its weights sound, does its tokenizer work, what will be slow.
///
/// Every weight is read, and the model is loaded on the CPU and run on a few tokens.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0: no errors (there may be warnings); 1: errors were found.

Examples:
  transformers doctor ./model
  transformers doctor model.Q4_K.gguf --json")]
pub struct Arguments {
    /// A folder, a hub id (`org/name`, `org/name@revision`), a `.gguf` file, or `org/name:file.gguf`
    #[arg(value_name = "MODEL")]
    model: String,

    /// As JSON: a list of findings, each with its level, check and message
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    source: SourceArguments,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result {
    let files = arguments.source.files(&arguments.model)?;
    let mut findings = Findings::default();
    let config = findings.of("config", AutoConfig::from_files(&files));
    if let Some(config) = &config {
        let classes = config.architectures().join(", ");
        findings.ok("config", format!("{} {classes}", config.model_type()));
    }
    let checkpoint = Checkpoint::open(&files, &arguments.source.open());
    let checkpoint = findings.of("weights", checkpoint);
    if let Some(checkpoint) = &checkpoint {
        values::check(checkpoint, &mut findings)?;
        speed::check(checkpoint, &mut findings);
    }
    if let (Some(config), Some(checkpoint)) = (&config, &checkpoint) {
        values::check_ties(config, checkpoint, &mut findings)?;
        fit::check(&files, config, &arguments.source, &mut findings);
    }
    text::check(&files, config.as_ref(), &mut findings);
    findings.report(arguments.json)
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Note,
    Warning,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

struct Finding {
    level: Level,
    check: &'static str,
    message: String,
}

/// What was found, in order.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn push(&mut self, level: Level, check: &'static str, message: impl Into<String>) {
        self.0.push(Finding {
            level,
            check,
            message: message.into(),
        });
    }

    fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.push(Level::Ok, check, message);
    }

    fn note(&mut self, check: &'static str, message: impl Into<String>) {
        self.push(Level::Note, check, message);
    }

    fn warning(&mut self, check: &'static str, message: impl Into<String>) {
        self.push(Level::Warning, check, message);
    }

    fn error(&mut self, check: &'static str, message: impl Into<String>) {
        self.push(Level::Error, check, message);
    }

    /// The value; its error becomes a finding.
    fn of<T, E: std::fmt::Display>(
        &mut self,
        check: &'static str,
        result: std::result::Result<T, E>,
    ) -> Option<T> {
        result
            .map_err(|error| self.error(check, error.to_string()))
            .ok()
    }

    fn count(&self, level: Level) -> usize {
        let matching = self.0.iter().filter(|finding| finding.level == level);
        matching.count()
    }

    fn report(&self, as_json: bool) -> Result {
        let (errors, warnings) = (self.count(Level::Error), self.count(Level::Warning));
        if as_json {
            let finding = |finding: &Finding| {
                json!({
                    "level": finding.level.name(),
                    "check": finding.check,
                    "message": finding.message,
                })
            };
            let findings: Vec<_> = self.0.iter().map(finding).collect();
            print(format_args!("{:#}\n", json!(findings)))?;
        } else {
            for finding in &self.0 {
                let message = finding.message.replace('\n', &format!("\n{:19}", ""));
                let (level, check) = (finding.level.name(), finding.check);
                print(format_args!("{level:<7} {check:<10} {message}\n"))?;
            }
            print(format_args!("{errors} errors, {warnings} warnings\n"))?;
        }
        Ok(match errors {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}
