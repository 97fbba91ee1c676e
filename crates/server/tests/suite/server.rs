//! Servers to test: over the tiny model, or over an engine that says what a test wants.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use transformers_config::{GenerationConfig, TokenIds};
use transformers_generation::FinishReason;
use transformers_server::engine::{Engine, Event, Failure, Job, Ticket};
use transformers_server::{Server, ServerOptions, StoreOptions};
use transformers_tokenization::{AutoTokenizer, Tokenizer};

use super::client::{self, Response};

pub const QUESTION: &str = "What is the capital of France?";
pub const ANSWER: &str = "The capital of France is Paris.";
/// The name that the tiny model is served under.
pub const NAME: &str = "test/tiny";

/// A running server; it ends when this is dropped.
pub struct Running {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _folder: TempDir,
}

impl Running {
    pub fn get(&self, path: &str) -> Response {
        client::send(self.address, "GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.post_bytes(path, body.to_string().as_bytes())
    }

    pub fn post_bytes(&self, path: &str, body: &[u8]) -> Response {
        let json = [("content-type", "application/json")];
        client::send(self.address, "POST", path, &json, body)
    }

    #[track_caller]
    pub fn ok(&self, path: &str, body: &Value) -> Value {
        let response = self.post(path, body);
        assert_eq!(response.status, 200, "{}", response.body);
        response.json()
    }

    /// A refusal: its status, and words of its message.
    #[track_caller]
    pub fn check_refused(&self, path: &str, body: &Value, status: u16, words: &str) {
        self.check_refused_bytes(path, body.to_string().as_bytes(), status, words);
    }

    #[track_caller]
    pub fn check_refused_bytes(&self, path: &str, body: &[u8], status: u16, words: &str) {
        let response = self.post_bytes(path, body);
        assert_eq!(response.status, status, "{}", response.body);
        let message = response.json()["error"]["message"].clone();
        assert!(message.as_str().unwrap().contains(words), "{message}");
    }

    /// Ends the server; what runs gets its grace.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub fn join(mut self) {
        self.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take()
            && !thread::panicking()
        {
            let _ = thread.join();
        }
    }
}

/// The tiny model with room for more tokens, and a chat template.
pub fn model_folder(chat_template: Option<&str>) -> TempDir {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transformers/tests/tiny");
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
    ] {
        fs::copy(tiny.join(name), folder.path().join(name)).unwrap();
    }
    for (name, key) in [
        ("config.json", "max_position_embeddings"),
        ("tokenizer_config.json", "model_max_length"),
    ] {
        let text = fs::read_to_string(tiny.join(name)).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config[key] = json!(4096);
        fs::write(folder.path().join(name), config.to_string()).unwrap();
    }
    if let Some(template) = chat_template {
        fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    }
    folder
}

/// A chat template of a model that calls tools in Hermes' form.
pub const TOOL_TEMPLATE: &str = "{# <|im_start|> <tool_call> #}\
    {% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}\
    {% if add_generation_prompt %}<|assistant|>{% endif %}";

fn run(
    options: ServerOptions,
    store: StoreOptions,
    folder: TempDir,
    prepare: impl FnOnce(&Server) + Send + 'static,
) -> Running {
    let (stop, stopped) = oneshot::channel::<()>();
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::bind("127.0.0.1:0", options, store).await.unwrap();
            prepare(&server);
            server.preload().await.unwrap();
            sender.send(server.address()).unwrap();
            server.run(async { drop(stopped.await) }).await;
        });
    });
    Running {
        address: receiver.recv().unwrap(),
        stop: Some(stop),
        thread: Some(thread),
        _folder: folder,
    }
}

pub fn store(folder: &Path) -> StoreOptions {
    StoreOptions {
        model: Some(folder.to_str().unwrap().to_owned()),
        served_name: Some(NAME.to_owned()),
        ..StoreOptions::default()
    }
}

/// A server of the tiny model.
pub fn tiny() -> Running {
    tiny_with(ServerOptions::default(), None)
}

pub fn tiny_with(options: ServerOptions, chat_template: Option<&str>) -> Running {
    let folder = model_folder(chat_template);
    let store = store(folder.path());
    run(options, store, folder, |_| ())
}

pub fn tiny_in(options: ServerOptions, store: StoreOptions, folder: TempDir) -> Running {
    run(options, store, folder, |_| ())
}

/// A server whose model says what `say` makes of each job, token by token.
pub fn scripted(options: ServerOptions, chat_template: Option<&str>, script: Script) -> Running {
    let folder = model_folder(chat_template);
    let tokenizer = AutoTokenizer::from_pretrained(folder.path()).unwrap();
    let generation = GenerationConfig {
        eos_token_id: Some(TokenIds::One(0)),
        ..GenerationConfig::default()
    };
    let store = StoreOptions {
        allowed: [NAME.to_owned()].into(),
        ..StoreOptions::default()
    };
    run(options, store, folder, move |server| {
        let engine = Scripted {
            tokenizer: tokenizer.clone(),
            script,
        };
        let engine = Box::new(engine);
        server
            .insert(NAME, tokenizer, generation, Some(4096), engine)
            .unwrap();
    })
}

/// What the engine of a test does.
#[derive(Debug, Clone)]
pub enum Script {
    /// Says this.
    Say(&'static str),
    /// Says a token every few milliseconds without end; counts who still listens.
    Endless(Arc<AtomicUsize>),
    /// The same as fast as it can.
    Flood(Arc<AtomicUsize>),
    /// Says a few tokens and panics.
    Panic,
    /// Panics in the request's handler.
    PanicAtOnce,
    /// Takes nothing.
    Busy,
}

#[derive(Debug)]
struct Scripted {
    tokenizer: Tokenizer,
    script: Script,
}

impl Engine for Scripted {
    fn submit(&self, job: Job) -> Result<Ticket, Failure> {
        let script = self.script.clone();
        let tokens = |text: &str| self.tokenizer.encode(text, false).unwrap();
        match script {
            Script::Busy => return Err(Failure::Busy),
            Script::Say(text) => {
                let ids = tokens(text);
                for id in ids {
                    let _ = job.events.send(Event::Token { id, logprob: None });
                }
                let _ = job.events.send(Event::Finished {
                    reason: FinishReason::Eos,
                    cached_tokens: 3,
                });
            }
            Script::PanicAtOnce => panic!("on purpose"),
            Script::Endless(listening) => {
                speak(job, tokens("a")[0], Duration::from_millis(2), listening);
            }
            Script::Flood(listening) => {
                speak(job, tokens("a")[0], Duration::from_micros(20), listening);
            }
            Script::Panic => {
                let id = tokens("a")[0];
                let _ = job.events.send(Event::Token { id, logprob: None });
                let failure = Failure::Panic("on purpose".to_owned());
                let _ = job.events.send(Event::Failed(failure));
            }
        }
        Ok(Ticket::default())
    }

    fn waiting(&self) -> usize {
        0
    }
}

/// Says a token at every `pause` until nobody listens.
fn speak(job: Job, id: u32, pause: Duration, listening: Arc<AtomicUsize>) {
    thread::spawn(move || {
        listening.fetch_add(1, Ordering::SeqCst);
        let token = || Event::Token { id, logprob: None };
        while job.events.send(token()).is_ok() {
            thread::sleep(pause);
        }
        listening.fetch_sub(1, Ordering::SeqCst);
    });
}

pub fn ask(content: &str) -> Value {
    json!({"model": NAME, "messages": [{"role": "user", "content": content}]})
}

/// `ask` with more fields.
pub fn ask_with(fields: Value) -> Value {
    with(ask(QUESTION), fields)
}

pub fn with(mut body: Value, fields: Value) -> Value {
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body
}
