//! `transformers bench`: how fast a model reads and writes on this machine.

mod concurrent;
mod decoding;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use transformers_config::AutoConfig;
use transformers_hub::ModelFiles;
use transformers_kernels::limits;
use transformers_kernels::pool::{self, Phase};
use transformers_modeling::nn::Cache;
use transformers_modeling::{
    AutoModel, AutoModelForTextEncoding, LoadOptions, ModelError, ModelInputs, PreTrainedModel,
    Rows,
};
use transformers_tokenization::AutoTokenizer;

use crate::failure::{Failure, Result};
use crate::model::{Kind, ModelArguments};
use crate::output::print;
use crate::stats::peak_memory;

/// Time a model: tokens per second for prompts and for generation, in rows like llama-bench's.
///
/// Ids are random; no tokenizer is needed. Of a prompt only the last position's logits are computed.
#[derive(Debug, Args)]
#[command(mut_arg("model", |model| {
    let model = model.required(false).required_unless_present("limits");
    model.default_value_if("limits", "true", "")
}))]
#[command(after_help = "\
Rows: `pp512` reads a prompt of 512 tokens, `tg128` writes 128 tokens; `@ d2048` does so after 2048 tokens of context.
For an encoder–decoder `pp512` encodes a text of 512 tokens, and `tg128 @ d512` writes 128 about one.
For encoders `b32 x 128` is a batch of 32 texts of 128 tokens, in texts per second.

Examples:
  transformers bench --model ./model.gguf
  transformers bench --model ./model.gguf -p 512 -n 128 -d 0,2048 -r 5
  transformers bench --model ./model.gguf -p 0 -n 128 --decoding
  transformers bench --model sentence-transformers/all-MiniLM-L6-v2 -b 32 -s 128
  transformers bench --model ./model.gguf --concurrent 16 -p 128 -n 64 --prefix 512
  transformers bench --limits")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,

    /// Lengths of prompts to read
    #[arg(
        short = 'p',
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "512"
    )]
    n_prompt: Vec<usize>,

    /// Numbers of tokens to write
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "128"
    )]
    n_gen: Vec<usize>,

    /// Tokens of context before either
    #[arg(
        short = 'd',
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "0"
    )]
    n_depth: Vec<usize>,

    /// Texts in a batch of an encoder, 32 by default; then nothing is written
    #[arg(short, long, value_name = "N", requires = "sequence")]
    batch: Option<usize>,

    /// Tokens of each of these texts, 128 by default
    #[arg(short, long, value_name = "N", requires = "batch")]
    sequence: Option<usize>,

    /// Times that each row is measured, after one that does not count
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    repetitions: usize,

    /// As a table or as JSON
    #[arg(short, long, value_enum, default_value_t = Format::Md)]
    output: Format,

    /// Also write with whole generations: greedy, sampled, with a grammar and with drafts, to see what choosing a token
    /// costs beside computing it
    #[arg(long)]
    decoding: bool,
    /// So many requests at once through the batching engine, each of the first length of prompts and of new tokens; in
    /// tokens per second of all prompts and answers together
    #[arg(long, value_name = "N", conflicts_with = "batch")]
    concurrent: Option<usize>,

    /// Tokens that all these prompts begin with
    #[arg(long, value_name = "N", default_value_t = 0, requires = "concurrent")]
    prefix: usize,

    /// These requests one after the other, without the engine
    #[arg(long, requires = "concurrent")]
    one_by_one: bool,

    /// Their prefix is computed for each of them
    #[arg(long, requires = "concurrent", conflicts_with = "one_by_one")]
    no_sharing: bool,

    /// Scores that depend on nothing else
    #[arg(long, requires = "concurrent", conflicts_with = "one_by_one")]
    deterministic: bool,

    /// Draw their tokens, at this temperature
    #[arg(long, value_name = "T", requires = "concurrent")]
    temperature: Option<f64>,

    /// Measure what the machine can do at best: memory reads and f32 arithmetic
    #[arg(long)]
    limits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Md,
    Json,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result {
    let model = &arguments.model;
    match arguments.concurrent {
        _ if arguments.limits => limits(arguments),
        Some(requests) => concurrent::run(arguments, model, requests),
        None => timed(arguments, model),
    }
}

/// Bytes that the measurement of memory reads: far beyond every cache.
const READ_BYTES: usize = 2 << 30;

fn limits(arguments: &Arguments) -> Result {
    let threads = pool::threads(Phase::Decode);
    let read = limits::read_bandwidth(READ_BYTES, threads) / 1e9;
    let fma = limits::fma_peak(threads) / 1e9;
    match arguments.output {
        Format::Json => {
            let limits = json!({"read_gbs": read, "fma_gflops": fma, "threads": threads});
            print(format_args!("{limits}\n"))?;
        }
        Format::Md => print(format_args!(
            "{threads} threads: memory reads {read:.1} GB/s, f32 arithmetic {fma:.1} GFLOP/s\n"
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Texts in a batch of an encoder, and the tokens of each, where nobody says.
const BATCH: (usize, usize) = (32, 128);

fn timed(arguments: &Arguments, source: &ModelArguments) -> Result {
    let begin = Instant::now();
    let options = source.load_options();
    let files = ModelFiles::resolve(source.model.as_str(), &options.hub)?;
    let kind = Kind::of(&AutoConfig::from_files(&files)?);
    match (arguments.batch, arguments.sequence, kind) {
        (Some(batch), Some(sequence), _) => {
            encoder(arguments, source, &files, &options, (batch, sequence))
        }
        (.., Kind::Encoder) => encoder(arguments, source, &files, &options, BATCH),
        (.., kind) => {
            let model = kind.load(&files, &options)?;
            writer(arguments, source, begin, &*model, &files)
        }
    }
}

fn writer(
    arguments: &Arguments,
    source: &ModelArguments,
    begin: Instant,
    model: &dyn PreTrainedModel,
    files: &ModelFiles,
) -> Result {
    let load = begin.elapsed();
    let bench = Writer {
        model,
        vocab: vocabulary(model),
        has_encoder: Kind::of(&model.info().config) == Kind::EncoderDecoder,
    };
    bench.read(&mut bench.at_depth(0)?, 1)?;
    let first = begin.elapsed();

    let mut rows = Vec::new();
    for &depth in &arguments.n_depth {
        for &prompt in arguments.n_prompt.iter().filter(|n| **n > 0) {
            let times = repeat(arguments.repetitions, || bench.prompt(depth, prompt))?;
            rows.push(Row::new("n_prompt", prompt, depth, prompt, &times));
        }
        for &new in arguments.n_gen.iter().filter(|n| **n > 0) {
            let times = repeat(arguments.repetitions, || bench.generate(depth, new))?;
            rows.push(Row::new("n_gen", new, depth, new, &times));
        }
    }
    if arguments.decoding {
        let tokenizer = AutoTokenizer::from_files(files)?;
        for &new in arguments.n_gen.iter().filter(|n| **n > 1) {
            let (vocab, count) = (bench.vocab, arguments.repetitions.max(1));
            rows.extend(decoding::rows(model, &tokenizer, vocab, new, count)?);
        }
    }
    let shared = json!({
        "model": source.model,
        "type": model.info().config.model_type(),
        "load_ms": milliseconds(load),
        "first_forward_ms": milliseconds(first),
    });
    report(arguments, shared, &rows)
}

fn encoder(
    arguments: &Arguments,
    source: &ModelArguments,
    files: &ModelFiles,
    options: &LoadOptions,
    (batch, sequence): (usize, usize),
) -> Result {
    let begin = Instant::now();
    let model = match AutoModelForTextEncoding::from_pretrained_with(files, options) {
        Err(ModelError::NoHead { .. }) => {
            AutoModel::from_pretrained_with(files, options)?.into_inner()
        }
        model => model?.into_inner(),
    };
    let load = begin.elapsed();
    let vocab = vocabulary(&*model);
    let times = repeat(arguments.repetitions, || {
        let ids: Vec<Vec<u32>> = (0..batch).map(|_| random_ids(sequence, vocab)).collect();
        let inputs = ModelInputs {
            input_ids: Rows::new(&ids)?,
            ..ModelInputs::default()
        };
        let begin = Instant::now();
        finish(model.forward(&inputs, None)?.last_hidden_state()?);
        Ok(begin.elapsed())
    })?;
    let mut row = Row::new("batch", batch, 0, batch, &times);
    row.name = format!("b{batch} x {sequence}");
    row.fields["seq"] = json!(sequence);
    row.fields["sentences_per_s"] = row.fields["avg_ts"].clone();
    let shared = json!({
        "model": source.model,
        "type": model.info().config.model_type(),
        "load_ms": milliseconds(load),
    });
    report(arguments, shared, &[row])
}

/// A decoder, with an encoder or without.
struct Writer<'a> {
    model: &'a dyn PreTrainedModel,
    vocab: usize,
    has_encoder: bool,
}

/// What was before a token.
struct Before {
    cache: Box<dyn Cache>,
    /// The encoder's states, where there is one.
    states: Option<Tensor<3>>,
}

impl Writer<'_> {
    /// Reads `len` random tokens; computes the last one's logits.
    fn read(&self, before: &mut Before, len: usize) -> Result<()> {
        let ids = random_ids(len, self.vocab);
        let inputs = match &before.states {
            Some(states) => ModelInputs {
                encoder_outputs: Some(states.clone()),
                decoder_input_ids: Some(ids.into()),
                ..ModelInputs::default()
            },
            None => ModelInputs::new(ids),
        };
        let inputs = ModelInputs {
            logits_to_keep: Some(1),
            ..inputs
        };
        finish(
            self.model
                .forward(&inputs, Some(before.cache.as_mut()))?
                .logits()?,
        );
        Ok(())
    }

    /// Reads `len` random tokens with the encoder.
    fn encode(&self, len: usize) -> Result<Option<Tensor<3>>> {
        let inputs = ModelInputs::new(random_ids(len, self.vocab));
        Ok(self.model.encode(&inputs)?)
    }

    /// After `depth` tokens of context, or about a text of so many.
    fn at_depth(&self, depth: usize) -> Result<Before> {
        let cache = self.model.new_cache();
        let cache = cache.ok_or_else(|| Failure::Usage("this model writes no text".to_owned()))?;
        let mut before = Before {
            cache,
            states: match self.has_encoder {
                true => self.encode(depth.max(1))?,
                false => None,
            },
        };
        if depth > 0 && !self.has_encoder {
            self.read(&mut before, depth)?;
        }
        Ok(before)
    }

    fn prompt(&self, depth: usize, len: usize) -> Result<Duration> {
        if self.has_encoder {
            let begin = Instant::now();
            if let Some(states) = self.encode(len)? {
                finish(states);
            }
            return Ok(begin.elapsed());
        }
        let mut before = self.at_depth(depth)?;
        let begin = Instant::now();
        self.read(&mut before, len)?;
        Ok(begin.elapsed())
    }

    fn generate(&self, depth: usize, len: usize) -> Result<Duration> {
        let mut before = self.at_depth(depth)?;
        let begin = Instant::now();
        for _ in 0..len {
            self.read(&mut before, 1)?;
        }
        Ok(begin.elapsed())
    }
}

/// Waits for a result, wherever it is computed.
fn finish(tensor: Tensor<3>) {
    tensor.into_data();
}

/// The same ids at every run: what they are makes no difference to the time.
fn random_ids(len: usize, vocab: usize) -> Vec<u32> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((state >> 33) % vocab as u64) as u32
    };
    (0..len).map(|_| next()).collect()
}

fn vocabulary(model: &dyn PreTrainedModel) -> usize {
    let size = model
        .info()
        .config
        .get("vocab_size")
        .and_then(Value::as_u64);
    size.map_or(1, |size| size.max(1) as usize)
}

/// The times of `count` runs, after one that fills caches.
fn repeat(count: usize, mut run: impl FnMut() -> Result<Duration>) -> Result<Vec<Duration>> {
    run()?;
    (0..count.max(1)).map(|_| run()).collect()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// One line of the table.
struct Row {
    name: String,
    fields: Value,
}

impl Row {
    /// `items` per second, from the times that they took.
    fn new(kind: &str, value: usize, depth: usize, items: usize, times: &[Duration]) -> Self {
        let rates = times.iter().map(|time| items as f64 / time.as_secs_f64());
        Self::of_rates(kind, value, depth, rates.collect())
    }

    /// From how many items there were per second.
    fn of_rates(kind: &str, value: usize, depth: usize, samples: Vec<f64>) -> Self {
        let mean = samples.iter().sum::<f64>() / samples.len() as f64;
        let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
        let spread = (squares / (samples.len() - 1).max(1) as f64).sqrt();
        let short = match kind {
            "n_prompt" => "pp",
            _ => "tg",
        };
        let mut fields = json!({
            "n_prompt": 0,
            "n_gen": 0,
            "n_depth": depth,
            "avg_ts": mean,
            "stddev_ts": spread,
            "samples_ts": samples,
        });
        fields[kind] = json!(value);
        Self {
            name: match depth {
                0 => format!("{short}{value}"),
                _ => format!("{short}{value} @ d{depth}"),
            },
            fields,
        }
    }
}

fn report(arguments: &Arguments, shared: Value, rows: &[Row]) -> Result {
    let threads = pool::threads(Phase::Decode);
    match arguments.output {
        Format::Json => {
            let complete = rows.iter().map(|row| {
                let mut all = shared.clone();
                let fields = all.as_object_mut().expect("an object");
                fields.extend(row.fields.as_object().expect("an object").clone());
                fields.insert("threads".to_owned(), json!(threads));
                fields.insert("peak_rss_bytes".to_owned(), json!(peak_memory()));
                all
            });
            let complete: Vec<Value> = complete.collect();
            print(format_args!("{:#}\n", Value::Array(complete)))?;
        }
        Format::Md => {
            print("| model | threads | test | t/s |\n| --- | ---: | ---: | ---: |\n")?;
            for Row { name, fields } in rows {
                let model = shared["model"].as_str().unwrap_or_default();
                let (mean, spread) = (fields["avg_ts"].as_f64(), fields["stddev_ts"].as_f64());
                let (mean, spread) = (mean.unwrap_or_default(), spread.unwrap_or_default());
                let line = format!("| {model} | {threads} | {name} | {mean:.2} ± {spread:.2} |\n");
                print(line)?;
            }
            let load = shared["load_ms"].as_f64().unwrap_or_default();
            let memory = peak_memory().map_or(String::new(), |bytes| {
                format!(", peak memory {} MiB", bytes >> 20)
            });
            print(format_args!("\nload {load:.0} ms{memory}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
