//! `transformers embed`: one vector for each text.

use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use transformers_pipelines::{EmbedOptions, SentenceTransformer};

use crate::failure::{Failure, Result};
use crate::model::ModelArguments;
use crate::output::print;

/// Turn texts into vectors
#[derive(Debug, Args)]
#[command(after_help = "\
Each text becomes a line of JSON: {\"index\": 0, \"embedding\": [0.098, …]}
Pooling, dense layers, normalisation, prompts and the maximum length are what the model's
`modules.json` says. A model without that file gets mean pooling and vectors of length 1.

Examples:
  transformers embed --model sentence-transformers/all-MiniLM-L6-v2 'A cat sleeps.' 'It naps.'
  transformers embed --model intfloat/e5-small-v2 --prompt 'query: ' < questions.txt > vectors.jsonl")]
pub struct Arguments {
    /// The texts; without any, each line of stdin is one
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// One of the model's prompts, put before every text
    #[arg(long, value_name = "NAME")]
    prompt_name: Option<String>,

    /// A prompt of your own, put before every text
    #[arg(long, value_name = "PROMPT", conflicts_with = "prompt_name")]
    prompt: Option<String>,

    /// Leave the vectors' lengths as they are, even if the model would normalise them
    #[arg(long)]
    no_normalize: bool,

    /// How many texts go through the model at once
    #[arg(long, value_name = "N", default_value = "32")]
    batch_size: NonZeroUsize,

    /// Repeat the text in its line
    #[arg(long)]
    with_text: bool,

    #[command(flatten)]
    model: ModelArguments,
}

pub fn run(arguments: &Arguments) -> Result {
    let texts = texts(arguments)?;
    let model = SentenceTransformer::from_pretrained_with(
        &arguments.model.model,
        &arguments.model.load_options(),
    )?;
    let options = EmbedOptions {
        prompt_name: arguments.prompt_name.clone(),
        prompt: arguments.prompt.clone(),
        batch_size: arguments.batch_size.get(),
        normalize: arguments.no_normalize.then_some(false),
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let embeddings = model.encode(&texts, &options)?;
    for (index, (text, embedding)) in texts.iter().zip(embeddings).enumerate() {
        let line = match arguments.with_text {
            true => json!({"index": index, "text": text, "embedding": embedding}),
            false => json!({"index": index, "embedding": embedding}),
        };
        print(format_args!("{line}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn texts(arguments: &Arguments) -> Result<Vec<String>> {
    if !arguments.texts.is_empty() {
        return Ok(arguments.texts.clone());
    }
    if io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "there is no text: give some as arguments, or pipe lines in".to_owned(),
        ));
    }
    Ok(io::stdin().lines().collect::<io::Result<_>>()?)
}
