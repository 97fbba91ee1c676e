//! Makes the committed cases and golden files again, with the scripts of `tests/oracle`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::Result;
use crate::packages::{MINILM, SMOLLM2};
use crate::project::{self, root};

/// The scripts of `tests/oracle`, and the paths that they are given; those without any know them themselves.
const SCRIPTS: &[(&str, &[&str])] = &[
    ("gen_cases.py", &["tests/cases"]),
    ("golden_training.py", &["tests/golden"]),
    ("golden_trainer.py", &["tests/golden"]),
    ("golden_optimizers.py", &["crates/trainer/tests/golden"]),
    ("golden_losses.py", &["crates/trainer/src/losses.txt"]),
    ("golden_lora.py", &["tests/cases", "tests/golden/lora"]),
    (
        "golden_processors.py",
        &["tests/golden/logits_processors.json"],
    ),
    ("golden_beams.py", &["tests/golden/beams.json"]),
    ("golden_resize.py", &["tests/golden/resizing.json"]),
    ("golden_masks.py", &["tests/golden/masks.json"]),
    ("golden_chunked.py", &["tests/golden/chunked"]),
    (
        "golden_multimodal_rope.py",
        &["tests/cases", "tests/golden/multimodal_rope.json"],
    ),
    ("golden_generation.py", &["tests/cases", "tests/golden"]),
    (
        "golden_config.py",
        &["crates/config/tests/golden/configs.json"],
    ),
    ("golden_rope.py", &["crates/config/tests/golden/rope.json"]),
    (
        "golden_dtypes.py",
        &["tests/cases/llama", "tests/golden/dtypes.json"],
    ),
    ("golden_init.py", &["tests/cases", "tests/golden/init.json"]),
    (
        "golden_model_classes.py",
        &["crates/modeling/src/classes.txt"],
    ),
    ("golden_gguf.py", &[]),
    ("golden_gguf_models.py", &[]),
    ("golden_weights.py", &[]),
    ("golden_conversions.py", &[]),
    (
        "golden_tokenization.py",
        &["crates/tokenization/tests/golden"],
    ),
    ("golden_calls.py", &["crates/tokenization/tests/golden"]),
    ("golden_chat.py", &["crates/tokenization/tests/golden"]),
    (
        "golden_sentencepiece.py",
        &["crates/tokenization/tests/golden/sentencepiece"],
    ),
    (
        "golden_mistral.py",
        &["crates/tokenization/tests/golden/mistral"],
    ),
    ("golden_classes.py", &["crates/tokenization"]),
    ("golden_auto.py", &["crates/tokenization/tests/golden"]),
    (
        "golden_tokenizer_training.py",
        &["crates/tokenization/tests/golden"],
    ),
    ("golden_trainer_data.py", &["crates/trainer/tests/golden"]),
    ("golden_trainer_files.py", &["crates/trainer/tests/golden"]),
    (
        "golden_read_instruction.py",
        &["crates/trainer/tests/golden/read_instruction.json"],
    ),
    (
        "golden_trainer_events.py",
        &["crates/trainer/tests/golden/events.json"],
    ),
    ("parity.py", &["crates/tokenization/tests/golden/parity"]),
    ("tiny_chat.py", &["crates/transformers/tests/tiny"]),
    (
        "golden_sentence.py",
        &[
            "crates/pipelines/tests/golden",
            "crates/transformers/tests/tiny",
        ],
    ),
];

#[derive(clap::Args)]
pub struct Arguments {
    /// The Python that `tests/oracle/setup.sh` installed
    #[arg(long, env = "ORACLE_PYTHON", value_name = "PATH")]
    python: Option<PathBuf>,
    /// Also run the reference on the two real models (fetches them)
    #[arg(long)]
    real: bool,
    /// Only these conformance cases; without: every case and golden file
    cases: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let python = arguments.python.as_ref().ok_or(
        "where is the reference? Install it with `tests/oracle/setup.sh DIR` (3 minutes, 2 GB), \
         then give --python DIR/bin/python or set ORACLE_PYTHON",
    )?;
    let script = |name: &str, outputs: &[&str]| {
        let mut command = Command::new(python);
        command
            .arg("-B")
            .arg(root().join("tests/oracle").join(name));
        command.args(outputs.iter().map(|output| root().join(output)));
        command
    };

    let scripts = if arguments.cases.is_empty() {
        SCRIPTS
    } else {
        &SCRIPTS[..1]
    };
    for (name, outputs) in scripts {
        project::run(script(name, outputs).args(&arguments.cases))?;
    }
    if arguments.real {
        let models = [SMOLLM2.fetch()?, MINILM.fetch()?];
        project::run(script("golden_real.py", &["tests/golden/real"]).args(models))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_golden_script_is_run() {
        let entries = std::fs::read_dir(root().join("tests/oracle")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        for name in names.filter(|name| name.starts_with("golden_")) {
            let run = SCRIPTS.iter().any(|(script, _)| *script == name) || name == "golden_real.py";
            assert!(run, "{name} is not in SCRIPTS");
        }
    }
}
