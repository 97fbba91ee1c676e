//! `transformers generate --prompts-file`: many prompts at once, through the batching engine.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::json;
use transformers_generation::{
    ContinuousBatchingConfig, Engine, FinishReason, GenerationOutput, Request,
};
use transformers_modeling::PreTrainedModel;
use transformers_tokenization::Tokenizer;

use crate::failure::Result;
use crate::generate::{Arguments, Text, config, random_seed};
use crate::interrupt::{INTERRUPTED, cancel_on_interrupt};
use crate::output::print;

const TEMPLATE: &str = "{pos}/{len} prompts {bar:30} {msg} {eta:>4}";

/// A line of a JSONL file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    prompt: Option<String>,
    chat: Option<String>,
    system: Option<String>,
}

impl Line {
    fn text(&self) -> Option<Text<'_>> {
        match (&self.prompt, &self.chat, self.system.as_deref()) {
            (Some(prompt), None, None) => Some(Text::Raw(prompt.clone())),
            (None, Some(user), system) => Some(Text::Chat { system, user }),
            _ => None,
        }
    }
}

/// The lines with their numbers; empty ones are no prompts.
fn lines(file: &Path) -> Result<Vec<(usize, Line)>> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let is_json = file
        .extension()
        .is_some_and(|extension| extension == "jsonl");
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let parse = |(index, text): (usize, &str)| {
        let wrong = |what: String| format!("{}, line {}: {what}", file.display(), index + 1);
        let line = match is_json {
            true => serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?,
            false => Line {
                prompt: Some(text.to_owned()),
                ..Line::default()
            },
        };
        match line.text() {
            Some(_) => Ok((index + 1, line)),
            None => {
                Err(wrong("give `prompt`, or `chat` with or without `system`".to_owned()).into())
            }
        }
    };
    lines.map(parse).collect()
}

/// Generates for every line of `file`, and prints an object for each, in their order.
pub fn run(
    arguments: &Arguments,
    file: &Path,
    tokenizer: &Tokenizer,
    model: &dyn PreTrainedModel,
) -> Result {
    let lines = lines(file)?;
    let cancel = cancel_on_interrupt()?;
    let settings = ContinuousBatchingConfig {
        max_queue_size: usize::MAX,
        ..ContinuousBatchingConfig::default()
    };
    let mut engine = Engine::new(model, Some(tokenizer.clone()), settings)?;
    let config = config(arguments, model);
    let resolved = config.clone().or(&model.info().generation_config);
    let processors = arguments.constraint.processors(tokenizer, &resolved)?;
    let seed = arguments.sampling.seed.unwrap_or_else(random_seed);
    let mut ids = Vec::with_capacity(lines.len());
    for (index, (number, line)) in lines.iter().enumerate() {
        let Some(text) = line.text() else { continue };
        let request = Request {
            config: config.clone(),
            seed: Some(seed.wrapping_add(index as u64)),
            processors: processors.clone(),
            ..Request::new(text.encode(tokenizer)?)
        };
        let wrong = |error| format!("{}, line {number}: {error}", file.display());
        ids.push(engine.add_request(request).map_err(wrong)?);
    }
    let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well-formed");
    let bar = ProgressBar::new(lines.len() as u64).with_style(style);
    let mut ended = HashMap::new();
    let mut open = lines.iter().zip(ids).peekable();
    let begin = Instant::now();
    while engine.has_work() {
        if cancel.is_cancelled() {
            engine.cancel_all();
        }
        engine.step();
        for output in engine.take_finished() {
            bar.inc(1);
            ended.insert(output.request_id, output);
        }
        let rate = engine.stats().generated_tokens as f64 / begin.elapsed().as_secs_f64();
        bar.set_message(format!("{rate:.1} tokens/s"));
        while let Some(((number, _), id)) = open.peek()
            && let Some(output) = ended.remove(id)
        {
            bar.suspend(|| print(answer(*number, &output, tokenizer)?))?;
            open.next();
        }
    }
    bar.finish_and_clear();
    if arguments.stats {
        let (stats, seconds) = (engine.stats(), begin.elapsed().as_secs_f64());
        let tokens = stats.generated_tokens;
        let rate = tokens as f64 / seconds;
        eprintln!(
            "{tokens} tokens for {} prompts in {seconds:.2} s: {rate:.1} tokens/s",
            lines.len()
        );
    }
    Ok(match cancel.is_cancelled() {
        true => ExitCode::from(INTERRUPTED),
        false => ExitCode::SUCCESS,
    })
}

/// One line of the output.
fn answer(
    line: usize,
    output: &GenerationOutput,
    tokenizer: &Tokenizer,
) -> std::io::Result<String> {
    let reason = output
        .sequences
        .first()
        .and_then(|sequence| sequence.finish_reason);
    let reason = reason.map(|reason| match reason {
        FinishReason::Eos => "eos",
        FinishReason::Length => "length",
        FinishReason::StopString => "stop",
        FinishReason::Time => "time",
        FinishReason::Cancelled => "cancelled",
        FinishReason::Criteria => "criteria",
    });
    let tokens = output.generated_tokens();
    let text = tokenizer
        .decode(tokens, true)
        .map_err(std::io::Error::other)?;
    let mut answer = json!({
        "line": line,
        "text": text,
        "tokens": tokens.len(),
        "finish_reason": reason,
    });
    if let Some(error) = &output.error {
        answer["error"] = json!(error.to_string());
    }
    Ok(format!("{answer}\n"))
}
