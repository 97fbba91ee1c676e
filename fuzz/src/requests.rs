//! What the fuzz targets and the replayed corpus do with the body of a request: send it to servers in this process, whose
//! models say the end of their prompts. A refusal is fine; a panic, a failure of ours, a hang or memory without end is not.
#![allow(dead_code)] // each target calls one of them

use std::fs;
use std::sync::LazyLock;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use transformers_config::GenerationConfig;
use transformers_generation::{FinishReason, TokenLogprob};
use transformers_server::engine::{Engine, Event, Failure, Job, Ticket};
use transformers_server::{Server, ServerOptions, StoreOptions};
use transformers_tokenization::AutoTokenizer;

/// What the tiny model consists of.
const FILES: [(&str, &[u8]); 5] = [
    (
        "config.json",
        include_bytes!("../../crates/transformers/tests/tiny/config.json"),
    ),
    (
        "generation_config.json",
        include_bytes!("../../crates/transformers/tests/tiny/generation_config.json"),
    ),
    (
        "model.safetensors",
        include_bytes!("../../crates/transformers/tests/tiny/model.safetensors"),
    ),
    (
        "tokenizer.json",
        include_bytes!("../../crates/transformers/tests/tiny/tokenizer.json"),
    ),
    (
        "tokenizer_config.json",
        include_bytes!("../../crates/transformers/tests/tiny/tokenizer_config.json"),
    ),
];

/// Chat templates by the name of their model: one that knows no tools, and one of a model that calls tools and reasons.
const TEMPLATES: [(&str, &str); 2] = [
    (
        "plain",
        include_str!("../../crates/transformers/tests/tiny/chat_template.jinja"),
    ),
    (
        "hermes",
        "{# <|im_start|> <tool_call> <think> #}\
         {% for message in messages %}<|{{ message.role }}|>{{ message.content }}{{ message.tool_calls }}<|end|>\
         {% endfor %}{{ tools | tojson }}",
    ),
];

/// The longest answer that is read.
const MAX_ANSWER: usize = 256 << 20;

/// As the body of `POST /v1/chat/completions`.
pub fn chat_completions(bytes: &[u8]) {
    post("/v1/chat/completions", bytes);
}

/// As the body of `POST /v1/completions`.
pub fn completions(bytes: &[u8]) {
    post("/v1/completions", bytes);
}

/// As the body of `POST /v1/responses`.
pub fn responses(bytes: &[u8]) {
    post("/v1/responses", bytes);
}

/// As the body of `POST /v1/messages`, and of the route that counts its tokens.
pub fn messages(bytes: &[u8]) {
    post("/v1/messages", bytes);
    post("/v1/messages/count_tokens", bytes);
}

/// As the body of `POST /v1/embeddings`.
pub fn embeddings(bytes: &[u8]) {
    post("/v1/embeddings", bytes);
}

/// As the body of `POST /load_model`.
pub fn load_model(bytes: &[u8]) {
    post("/load_model", bytes);
}

/// As the body of `POST /tokenize`.
pub fn tokenize(bytes: &[u8]) {
    post("/tokenize", bytes);
}

/// As the body of `POST /detokenize`.
pub fn detokenize(bytes: &[u8]) {
    post("/detokenize", bytes);
}

/// Servers in this process: one that refuses fields that it does not know, and one that ignores them.
struct Servers {
    runtime: Runtime,
    routers: [Router; 2],
    _folder: TempDir,
}

static SERVERS: LazyLock<Servers> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for the model");
    for (name, bytes) in FILES {
        fs::write(folder.path().join(name), bytes).expect("the file can be written");
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("threads");
    let routers = [false, true].map(|lenient| runtime.block_on(router(&folder, lenient)));
    Servers {
        runtime,
        routers,
        _folder: folder,
    }
});

async fn router(folder: &TempDir, lenient: bool) -> Router {
    let options = ServerOptions {
        lenient,
        ..ServerOptions::default()
    };
    let names = TEMPLATES.map(|(name, _)| name.to_owned());
    let mut store = StoreOptions {
        model: folder.path().to_str().map(str::to_owned),
        served_name: Some(names[0].clone()),
        allowed: names.into(),
        ..StoreOptions::default()
    };
    store.load.hub.local_files_only = true;
    let server = Server::bind("127.0.0.1:0", options, store).await;
    let server = server.expect("a place to listen");
    for (name, template) in TEMPLATES {
        fs::write(folder.path().join("chat_template.jinja"), template).expect("a template");
        let tokenizer = AutoTokenizer::from_pretrained(folder.path()).expect("a tokenizer");
        let inserted = server.insert(
            name,
            tokenizer,
            GenerationConfig::default(),
            Some(4096),
            Box::new(Echo),
        );
        inserted.expect("a model");
    }
    server.router()
}

/// Says the end of the prompt: what the request makes it say.
#[derive(Debug)]
struct Echo;

impl Engine for Echo {
    fn submit(&self, job: Job) -> Result<Ticket, Failure> {
        let length = job.config.max_new_tokens.unwrap_or(64).min(256);
        let begin = job.prompt.len().saturating_sub(length);
        for id in &job.prompt[begin..] {
            let logprob = job.logprobs.map(|top| TokenLogprob {
                token: *id,
                logprob: -1.0,
                top: (0..top as u32).map(|id| (id, f32::NEG_INFINITY)).collect(),
            });
            // Whoever is gone does not care.
            let _ = job.events.send(Event::Token { id: *id, logprob });
        }
        let _ = job.events.send(Event::Finished {
            reason: FinishReason::Length,
            cached_tokens: 0,
        });
        Ok(Ticket::default())
    }

    fn waiting(&self) -> usize {
        0
    }
}

fn post(path: &str, bytes: &[u8]) {
    for router in &SERVERS.routers {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(bytes.to_vec()))
            .expect("a request");
        let (status, body) = SERVERS.runtime.block_on(async {
            let service = TowerToHyperService::new(router.clone());
            let response = service.call(request).await.expect("the routes answer");
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), MAX_ANSWER).await;
            (status, body.expect("the answer has an end"))
        });
        check(status, std::str::from_utf8(&body).expect("UTF-8"));
    }
}

/// An answer, whole or in events, or a refusal with its reason; nothing that failed.
fn check(status: u16, body: &str) {
    assert!(
        status == 200 || (400..500).contains(&status),
        "{status}: {body}"
    );
    if status != 200 {
        let refusal: Value = serde_json::from_str(body).expect("JSON");
        let message = refusal["error"]["message"].as_str();
        assert!(message.is_some_and(|message| !message.is_empty()), "{body}");
        return;
    }
    let events = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<&str> = events.filter(|event| *event != "[DONE]").collect();
    let values = if events.is_empty() {
        vec![body]
    } else {
        events
    };
    for value in values {
        let value: Value = serde_json::from_str(value).expect("JSON");
        assert_ne!(value["error"]["type"], "api_error", "{value}");
    }
}
