//! `transformers serve`: models behind the APIs of OpenAI and Anthropic.

use std::process::{self, ExitCode};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};
use transformers_generation::ContinuousBatchingConfig;
use transformers_server::{Reasoning, Server, ServerOptions, StoreOptions};

use crate::failure::{Failure, Result};
use crate::interrupt::INTERRUPTED;
use crate::model::LoadArguments;

/// Threads that read requests and write answers; those that compute are others.
const THREADS: usize = 2;

/// Answer over HTTP, in the forms of OpenAI and Anthropic: chat completions, completions, responses, messages,
/// embeddings.
#[derive(Debug, Args)]
#[command(after_help = "\
Without MODEL the models of the cache are served, each loaded when it is asked for. GET / is a page to try them, and GET
/openapi.json says what there is to ask.

The server speaks HTTP to this machine alone. To let others in, put a proxy with TLS in front, or choose another --host and
set keys with --api-key.

Examples:
  transformers serve HuggingFaceTB/SmolLM2-135M-Instruct
  transformers serve ./model.gguf --served-model-name small --port 8080
  transformers serve HuggingFaceTB/SmolLM2-135M --adapter poet=./my-adapter
  transformers serve --allow Qwen/Qwen3-0.6B --allow intfloat/e5-small-v2
  TRANSFORMERS_API_KEY=secret transformers serve org/name --host 0.0.0.0")]
pub struct Arguments {
    /// The one model to serve: a folder, a hub id (`org/name`, `org/name@revision`), a `.gguf` file, or
    /// `org/name:file.gguf`
    #[arg(value_name = "MODEL")]
    model: Option<String>,

    /// The name that requests call MODEL by [default: as it is given]
    #[arg(long, value_name = "NAME", requires = "model")]
    served_model_name: Option<String>,

    /// Serve MODEL with this LoRA adapter too, under the name NAME, or as ADAPTER is given: a folder or a hub id; may be
    /// given several times
    #[arg(long, value_name = "[NAME=]ADAPTER", requires = "model")]
    adapter: Vec<String>,

    /// Serve this hub id too, and download it when it is asked for; may be given several times
    #[arg(long, value_name = "MODEL")]
    allow: Vec<String>,

    /// Download any model that a request names
    #[arg(long, conflicts_with = "model")]
    allow_download: bool,

    #[command(flatten)]
    http: HttpArguments,

    #[command(flatten)]
    answers: AnswerArguments,

    #[command(flatten)]
    limits: LimitArguments,

    #[command(flatten)]
    batching: BatchingArguments,

    #[command(flatten)]
    load: LoadArguments,
}

/// Where and for whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "HTTP")]
struct HttpArguments {
    /// The address to listen at
    #[arg(long, default_value = "localhost")]
    host: String,

    /// The port to listen at; 0 is a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,

    /// Answer only who sends this key; may be given several times
    #[arg(
        long,
        value_name = "KEY",
        env = "TRANSFORMERS_API_KEY",
        hide_env_values = true
    )]
    api_key: Vec<String>,

    /// Let web pages of other origins call the server
    #[arg(long)]
    enable_cors: bool,

    /// What is written to stderr: error, warning, info, debug
    #[arg(long, value_name = "LEVEL", default_value = "warning")]
    log_level: LogLevel,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    Error,
    Warning,
    Info,
    Debug,
}

/// What requests need not say.
#[derive(Debug, Args)]
#[command(next_help_heading = "Answers")]
struct AnswerArguments {
    /// Whether models that can reason do so, where a request does not say
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    reasoning: ReasoningArgument,

    /// Variables of the chat template, as a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    chat_template_kwargs: JsonObject,

    /// The seed of requests that name none [default: another one each time]
    #[arg(long, value_name = "N")]
    default_seed: Option<u64>,

    /// Ignore fields that no published schema has, instead of refusing them
    #[arg(long)]
    lenient: bool,

    /// End streams without `data: [DONE]`, as Python's server does
    #[arg(long)]
    no_done: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReasoningArgument {
    On,
    Off,
    Auto,
}

#[derive(Debug, Clone)]
struct JsonObject(Map<String, Value>);

impl FromStr for JsonObject {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let object = serde_json::from_str(text).map(Self);
        object.map_err(|error| format!("not a JSON object: {error}"))
    }
}

/// What a request, and all of them, may cost.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArguments {
    /// Seconds after which a model that nobody uses is dropped; MODEL stays
    #[arg(long, value_name = "S", default_value_t = 300)]
    model_timeout: u64,

    /// The most memory for weights: bytes, or with K, M, G [default: no limit]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Size>,

    /// Sequences that may wait for a model; further ones get 429
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_queue_size: usize,

    /// The largest body of a request
    #[arg(long, value_name = "SIZE", default_value = "16M")]
    max_body: Size,

    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_connections: usize,

    /// Seconds that an answer may take
    #[arg(long, value_name = "S", default_value_t = 600)]
    request_timeout: u64,

    /// Seconds that running answers get to end when the server is told to
    #[arg(long, value_name = "S", default_value_t = 30)]
    shutdown_timeout: u64,
}

/// How sequences are generated together.
#[derive(Debug, Args)]
#[command(next_help_heading = "Batching")]
struct BatchingArguments {
    /// Tokens of a block of keys and values; beginnings are shared in whole blocks [default: 32]
    #[arg(long, value_name = "N")]
    cb_block_size: Option<usize>,

    /// Blocks in all [default: as many as --cb-max-memory holds]
    #[arg(long, value_name = "N")]
    cb_num_blocks: Option<usize>,

    /// The most memory for keys and values [default: 2G]
    #[arg(long, value_name = "SIZE")]
    cb_max_memory: Option<Size>,

    /// Tokens of one step; longer prompts are read in pieces [default: 512]
    #[arg(long, value_name = "N")]
    cb_max_batch_tokens: Option<usize>,

    /// Sequences of one step [default: 128]
    #[arg(long, value_name = "N")]
    cb_max_requests: Option<usize>,
}

impl BatchingArguments {
    fn config(&self, max_queue_size: usize) -> ContinuousBatchingConfig {
        let default = ContinuousBatchingConfig::default();
        let memory = self
            .cb_max_memory
            .map(|size| usize::try_from(size.0).unwrap_or(usize::MAX));
        ContinuousBatchingConfig {
            block_size: self.cb_block_size.unwrap_or(default.block_size),
            num_blocks: self.cb_num_blocks.or(default.num_blocks),
            max_memory: memory.unwrap_or(default.max_memory),
            max_batch_tokens: self.cb_max_batch_tokens.unwrap_or(default.max_batch_tokens),
            max_requests_per_batch: self
                .cb_max_requests
                .unwrap_or(default.max_requests_per_batch),
            max_queue_size,
            ..default
        }
    }
}

/// The name of an adapter, and where it is.
fn named(given: &str) -> (String, String) {
    let (name, adapter) = given.split_once('=').unwrap_or((given, given));
    (name.to_owned(), adapter.to_owned())
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
            "" | "B" => 1,
            "K" | "KB" | "KIB" => 1 << 10,
            "M" | "MB" | "MIB" => 1 << 20,
            "G" | "GB" | "GIB" => 1 << 30,
            _ => return Err("a size is a number of bytes, or one with K, M or G".to_owned()),
        };
        let number: u64 = digits.parse().map_err(|error| format!("{error}"))?;
        let size = number.checked_mul(unit).ok_or("that is too much")?;
        Ok(Self(size))
    }
}

impl Arguments {
    /// What is logged where `RUST_LOG` does not say.
    pub fn log_level(&self) -> &str {
        match self.http.log_level {
            LogLevel::Error => "error",
            LogLevel::Warning => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }

    fn server(&self) -> ServerOptions {
        ServerOptions {
            api_keys: self.http.api_key.clone(),
            cors: self.http.enable_cors,
            lenient: self.answers.lenient,
            done: !self.answers.no_done,
            max_body: usize::try_from(self.limits.max_body.0).unwrap_or(usize::MAX),
            max_connections: self.limits.max_connections,
            deadline: Duration::from_secs(self.limits.request_timeout),
            grace: Duration::from_secs(self.limits.shutdown_timeout),
            default_seed: self.answers.default_seed,
            reasoning: match self.answers.reasoning {
                ReasoningArgument::On => Reasoning::On,
                ReasoningArgument::Off => Reasoning::Off,
                ReasoningArgument::Auto => Reasoning::Auto,
            },
            chat_template_kwargs: self.answers.chat_template_kwargs.0.clone(),
            ..ServerOptions::default()
        }
    }

    fn store(&self) -> StoreOptions {
        StoreOptions {
            model: self.model.clone(),
            served_name: self.served_model_name.clone(),
            adapters: self.adapter.iter().map(|given| named(given)).collect(),
            allowed: self.allow.iter().cloned().collect(),
            allow_download: self.allow_download,
            load: self.load.load_options(),
            idle: Duration::from_secs(self.limits.model_timeout),
            max_memory: self.limits.max_memory.map(|size| size.0),
            batching: self.batching.config(self.limits.max_queue_size),
        }
    }
}

pub fn run(arguments: &Arguments) -> Result {
    if arguments.http.api_key.iter().any(String::is_empty) {
        let message = "an API key is empty: give one with --api-key or TRANSFORMERS_API_KEY";
        return Err(Failure::Usage(message.to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    let done = runtime.block_on(serve(arguments));
    // A model may still be loading, and nobody waits for it any more.
    runtime.shutdown_background();
    done
}

async fn serve(arguments: &Arguments) -> Result {
    let address = format!("{}:{}", arguments.http.host, arguments.http.port);
    let server = Server::bind(&address, arguments.server(), arguments.store()).await?;
    let ip = server.address().ip();
    if !ip.is_loopback() && arguments.http.api_key.is_empty() {
        log::warn!("everybody who reaches {ip} is answered: set a key with --api-key");
    }
    let mut stop = std::pin::pin!(stopped()?);
    tokio::select! {
        loaded = server.preload() => loaded?,
        () = &mut stop => return Ok(ExitCode::from(INTERRUPTED)),
    }
    eprintln!("listening at http://{}", server.address());
    server.run(stop).await;
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C or the system's wish; a second one ends the process at once.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate())?
    };
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => (),
            _ = terminate.recv() => (),
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
        tokio::spawn(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                process::exit(INTERRUPTED.into());
            }
        });
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("17", 17),
            ("2k", 2048),
            ("16M", 16 << 20),
            ("3GiB", 3 << 30),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "x", "1T", "-1", "99999999999G"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
