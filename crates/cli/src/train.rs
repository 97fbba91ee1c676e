//! `transformers train`: a model learns by a recipe.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use transformers_modeling::{DeviceSpec, LoadOptions};
use transformers_trainer::recipe::{Plan, Recipe};
use transformers_trainer::{TrainingArguments, last_checkpoint};

use crate::failure::{Failure, Result};
use crate::interrupt::{INTERRUPTED, cancel_on_interrupt};
use crate::output::{print, size};
use crate::source::SourceArguments;
use crate::train_bar::TrainBar;

/// Train a model on texts, conversations or labelled data
#[derive(Debug, Args)]
#[command(after_help = "\
A recipe is a YAML or JSON file:
  task: text-classification     # or causal-lm, masked-lm, token-classification, seq2seq
  model: google/bert_uncased_L-2_H-128_A-2
  data: {train: mails.csv, test_size: 0.1, text: body, label: kind, max_length: 128}
  training: {output_dir: spam, num_train_epochs: 2, learning_rate: 1.0e-4, report_to: [tensorboard]}

A dataset of the hub goes in the place of a file: data: {dataset: org/name, split: train, validation_split: test}.
`training` has the names of the reference's TrainingArguments. The model and its tokenizer are in the output folder when it
ends, checkpoints before; Ctrl-C saves one and stops, and --resume goes on from there as if nothing had happened.

Examples:
  transformers train recipe.yaml --dry-run
  transformers train recipe.yaml --set training.learning_rate=3e-5 --set data.limit=1000
  transformers train recipe.yaml --resume")]
pub struct Arguments {
    /// The recipe: a .yaml or .json file
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,

    /// Replace a value of the recipe, such as training.max_steps=100; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,

    /// Say how many steps there are and what memory and time they take, and train nothing
    #[arg(long)]
    dry_run: bool,

    /// Go on from the newest checkpoint of the output folder
    #[arg(long, conflicts_with = "dry_run")]
    resume: bool,

    /// Where it runs: auto, cpu, wgpu[:N] or cuda[:N]
    #[arg(long, default_value_t)]
    device: DeviceSpec,

    #[command(flatten)]
    source: SourceArguments,
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write a key, `=`, and a value".to_owned()),
    }
}

pub fn run(arguments: &Arguments) -> Result {
    transformers_kernels::memory::keep_all_freed_memory();
    let recipe = Recipe::from_file(&arguments.recipe, &arguments.set)?;
    let args = recipe.arguments()?;
    check_output(&args, arguments)?;
    let hub = arguments.source.hub();
    let tokenizer = recipe.tokenizer(&hub)?;
    let mut data = recipe.prepare(&tokenizer, &hub, args.seed)?;
    let options = LoadOptions {
        hub,
        device: match args.use_cpu {
            true => DeviceSpec::Cpu,
            false => arguments.device,
        },
        seed: Some(args.seed),
        ..LoadOptions::default()
    };
    let model = recipe.load_model(&tokenizer, data.classes.as_deref(), &options)?;
    if arguments.dry_run {
        let plan = Plan::new(model.as_ref(), &mut data, &args)?;
        print(format_args!("{}", table(&plan, &args)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (output_dir, pushes) = (args.output_dir.clone(), args.push_to_hub);
    let watched = std::io::stderr().is_terminal() && !args.disable_tqdm;
    let evaluates = data.validation.is_some();
    let mut trainer = recipe
        .trainer(model, tokenizer, data, args)?
        .with_hub(arguments.source.hub())
        .with_cancel(cancel_on_interrupt()?);
    if watched {
        trainer = trainer.with_callback(TrainBar::default());
    }
    let output = match arguments.resume {
        true => trainer.resume()?,
        false => trainer.train()?,
    };
    if output.cancelled {
        eprintln!(
            "stopped after step {}; --resume goes on",
            output.global_step
        );
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if !pushes {
        trainer.save_model(&output_dir)?;
    }
    let metrics = match evaluates {
        true => trainer.evaluate(),
        false => Ok(serde_json::Map::new()),
    };
    // The model card has that evaluation.
    let page = pushes.then(|| trainer.push_to_hub("End of training"));
    let metrics = metrics?;
    print(format_args!(
        "{} steps, loss {:.4}\n",
        output.global_step, output.training_loss
    ))?;
    for (name, value) in metrics {
        print(format_args!("{name} {}\n", rounded(&value)))?;
    }
    print(format_args!("the model is in {}\n", output_dir.display()))?;
    if let Some(page) = page {
        print(format_args!("and at {}\n", page?))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A training does not begin where another one's checkpoints are, and goes on only where there are some.
fn check_output(args: &TrainingArguments, arguments: &Arguments) -> Result<()> {
    let folder = args.output_dir.display();
    match (last_checkpoint(&args.output_dir), arguments.resume) {
        _ if arguments.dry_run => Ok(()),
        (Some(_), false) => Err(Failure::Usage(format!(
            "{folder} has checkpoints: go on with --resume, or begin in another folder, such as --set \
             training.output_dir={folder}-2"
        ))),
        (None, true) => Err(Failure::Usage(format!(
            "{folder} has no checkpoint to resume"
        ))),
        _ => Ok(()),
    }
}

fn table(plan: &Plan, args: &TrainingArguments) -> String {
    let bytes = |bytes: usize| size(bytes as u64);
    let mut lines = vec![
        (
            "parameters",
            format!("{}, of which {} learn", plan.parameters, plan.trainable),
        ),
        (
            "data",
            format!(
                "{} examples, {} tokens, at most {} in one",
                plan.examples, plan.tokens, plan.longest
            ),
        ),
        (
            "batch",
            format!(
                "{} examples, {} in a step",
                args.per_device_train_batch_size,
                args.total_train_batch_size()
            ),
        ),
        ("steps", plan.steps.to_string()),
        ("weights", bytes(plan.weights)),
        ("gradients and optimizer", bytes(plan.state)),
    ];
    if let Some(peak) = peak_memory() {
        lines.push(("tried batch, at most", bytes(peak)));
        // Gradients were among it.
        let all = peak + plan.state - 4 * plan.trainable;
        lines.push(("memory in all, about", bytes(all)));
    }
    lines.push(("one batch", format!("{:.3} s", plan.seconds_per_batch)));
    lines.push(("all steps", duration(plan.seconds)));
    lines
        .into_iter()
        .map(|(name, value)| format!("{name:<24} {value}\n"))
        .collect()
}

/// A number with at most four decimals.
pub fn rounded(value: &serde_json::Value) -> serde_json::Value {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(number) if number.abs() < 1e9 => ((number * 1e4).round() / 1e4).into(),
        _ => value.clone(),
    }
}

/// The most memory that the process had, where the system says it.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn duration(seconds: f64) -> String {
    let whole = seconds.ceil() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    format!("{hours}:{minutes:02}:{seconds:02}")
}
