//! Runs the reference's tokenizers and ours over thousands of texts, and compares all that they give.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::Result;
use crate::packages::{MINILM, SMOLLM2};
use crate::project::{self, cargo, hand_over, root};

#[derive(clap::Args)]
#[command(after_help = "\
A TOKENIZER is a folder with a tokenizer.json, vocab.txt, or encoder.json and vocab.bpe; a .gguf file; a SentencePiece
model, alone or as CLASS=MODEL; a tekken file; or a .tiktoken file.

The texts are those of tests/oracle/parity_corpus.py: every character of the first planes, many scripts, marks, emoji,
white space, control characters, code, the tokenizer's own tokens, random ids decoded, and a word of a megabyte.")]
pub struct Arguments {
    /// The Python that `tests/oracle/setup.sh` installed
    #[arg(long, env = "ORACLE_PYTHON", value_name = "PATH")]
    python: PathBuf,
    /// Keep the reference's answers in this folder (100 MB for each tokenizer)
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// What to compare; without any, the committed ones and those of two real models, which are fetched
    #[arg(value_name = "TOKENIZER")]
    tokenizers: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let scratch = tempfile::tempdir()?;
    let folder = arguments.keep.as_deref().unwrap_or(scratch.path());
    let mut script = Command::new(&arguments.python);
    script
        .arg("-B")
        .arg(root().join("tests/oracle/parity.py"))
        .arg(folder);
    if arguments.tokenizers.is_empty() {
        script.arg("--committed");
        script.args([SMOLLM2.fetch()?, MINILM.fetch()?]);
    }
    project::run(script.args(&arguments.tokenizers))?;
    let mut test = cargo();
    test.current_dir(root())
        .env("PARITY_FOLDER", std::path::absolute(folder)?)
        .args(["test", "--package", "transformers-tokenization"])
        .args(["--test", "parity", "--", "--nocapture"]);
    hand_over(&mut test)
}
