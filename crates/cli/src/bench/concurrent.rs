//! Many requests at once: through the batching engine, or one after the other.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;
use transformers_config::GenerationConfig;
use transformers_generation::{
    ContinuousBatchingConfig, Engine, Generate, GenerateOptions, GenerationEvent, Request,
};
use transformers_modeling::{AutoModelForCausalLM, PreTrainedModel};

use super::{Arguments, Row, random_ids, repeat, report, vocabulary};
use crate::failure::Result;
use crate::model::ModelArguments;

/// What a run of all requests took.
struct Run {
    total: Duration,
    /// Of every request, from the beginning of the run to its first token, in order.
    first_tokens: Vec<Duration>,
}

impl Run {
    /// The first token that `percent` of the requests have by then.
    fn first_token(&self, percent: usize) -> f64 {
        let index = (self.first_tokens.len() * percent).div_ceil(100).max(1) - 1;
        self.first_tokens[index].as_secs_f64() * 1e3
    }
}

/// `requests` requests that all come at the beginning.
pub fn run(arguments: &Arguments, source: &ModelArguments, requests: usize) -> Result {
    let model = AutoModelForCausalLM::from_pretrained_with(&source.model, &source.load_options())?;
    let (prompt, new) = (arguments.n_prompt[0], arguments.n_gen[0]);
    let own = requests.max(1) * prompt;
    let ids = random_ids(arguments.prefix + own, vocabulary(&*model));
    let (prefix, own) = ids.split_at(arguments.prefix);
    let prompts: Vec<Vec<u32>> = own
        .chunks(prompt.max(1))
        .map(|own| [prefix, own].concat())
        .collect();
    let config = GenerationConfig {
        do_sample: Some(arguments.temperature.is_some()),
        temperature: arguments.temperature,
        max_new_tokens: Some(new),
        min_new_tokens: Some(new),
        ..GenerationConfig::default()
    };
    let mut runs = Vec::new();
    let times = repeat(arguments.repetitions, || {
        let run = match arguments.one_by_one {
            true => one_by_one(&*model, &prompts, &config)?,
            false => batched(arguments, &*model, &prompts, &config)?,
        };
        let total = run.total;
        runs.push(run);
        Ok(total)
    })?;
    let tokens = requests * (arguments.prefix + prompt + new);
    let mut row = Row::new("n_gen", new, 0, tokens, &times);
    row.name = format!("{requests} x (pp{} + tg{new})", arguments.prefix + prompt);
    row.fields["n_prompt"] = json!(prompt);
    row.fields["n_prefix"] = json!(arguments.prefix);
    row.fields["n_parallel"] = json!(requests);
    for percent in [50, 99] {
        let mut all: Vec<f64> = runs[1..]
            .iter()
            .map(|run| run.first_token(percent))
            .collect();
        all.sort_by(f64::total_cmp);
        row.fields[format!("first_token_ms_p{percent}")] = json!(all[all.len() / 2]);
    }
    let shared = json!({
        "model": source.model,
        "type": model.info().config.model_type(),
    });
    report(arguments, shared, &[row])
}

fn batched(
    arguments: &Arguments,
    model: &dyn PreTrainedModel,
    prompts: &[Vec<u32>],
    config: &GenerationConfig,
) -> Result<Run> {
    let default = ContinuousBatchingConfig::default();
    // Blocks for these requests and no more: those of a service are there before its first request.
    let new = config.max_new_tokens.unwrap_or(0);
    let blocks = |prompt: &Vec<u32>| (prompt.len() + new).div_ceil(default.block_size) + 1;
    let settings = ContinuousBatchingConfig {
        num_blocks: Some(prompts.iter().map(blocks).sum()),
        allow_block_sharing: !arguments.no_sharing,
        deterministic: arguments.deterministic,
        max_queue_size: usize::MAX,
        ..default
    };
    let mut engine = Engine::new(model, None, settings)?;
    let begin = Instant::now();
    let (sender, receiver) = mpsc::channel();
    for (seed, prompt) in prompts.iter().enumerate() {
        let (sender, mut first) = (sender.clone(), true);
        let sink = move |event| {
            if let (GenerationEvent::Token { .. }, true) = (event, first) {
                first = false;
                // It is received at the end.
                let _ = sender.send(begin.elapsed());
            }
            ControlFlow::Continue(())
        };
        engine.add_request(Request {
            config: config.clone(),
            seed: Some(seed as u64),
            sink: Some(Box::new(sink)),
            ..Request::new(prompt.clone())
        })?;
    }
    engine.run();
    let total = begin.elapsed();
    drop(sender);
    Ok(Run {
        total,
        first_tokens: receiver.into_iter().collect(),
    })
}

fn one_by_one(
    model: &dyn PreTrainedModel,
    prompts: &[Vec<u32>],
    config: &GenerationConfig,
) -> Result<Run> {
    let begin = Instant::now();
    let mut first_tokens = Vec::with_capacity(prompts.len());
    for (seed, prompt) in prompts.iter().enumerate() {
        let mut first = None;
        let mut streamer = |_| {
            first.get_or_insert(begin.elapsed());
        };
        let options = GenerateOptions {
            streamer: Some(&mut streamer),
            seed: Some(seed as u64),
            ..GenerateOptions::default()
        };
        model.generate_with(prompt, config, options)?;
        first_tokens.extend(first);
    }
    Ok(Run {
        total: begin.elapsed(),
        first_tokens,
    })
}
