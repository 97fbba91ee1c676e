//! Loading one model, on a thread that blocks, with everybody who waits for it watching.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use transformers_config::AutoConfig;
use transformers_generation::ContinuousBatchingConfig;
use transformers_hub::{HubError, ModelFiles, ModelSource, Progress};
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForSeq2SeqLM, Head, LoadOptions, LoadProgress, ModelError,
    PreTrainedModel, supported,
};
use transformers_pipelines::SentenceTransformer;
use transformers_tokenization::AutoTokenizer;

use super::{Embedder, Task, TextModel};
use crate::ServerError;
use crate::engine::{Batching, Engine, Sequential, panic_message};

/// How far a load is.
#[derive(Debug, Clone)]
pub enum LoadState {
    /// On its way.
    Loading(Stage),
    /// There.
    Ready(Loaded),
    /// Not there.
    Failed(ServerError),
}

/// A step of a load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stage {
    /// `download` or `weights`.
    pub name: &'static str,
    /// Bytes, or elements, that are done.
    pub current: u64,
    /// Of so many.
    pub total: Option<u64>,
    /// The size of the weights, once it is known.
    pub bytes: u64,
}

/// A model that is loaded.
#[derive(Debug, Clone)]
pub enum Loaded {
    Text(Arc<TextModel>),
    Embedder(Arc<Embedder>),
}

impl Loaded {
    pub fn is_in_use(&self) -> bool {
        match self {
            Self::Text(model) => Arc::strong_count(model) > 1,
            Self::Embedder(model) => Arc::strong_count(model) > 1,
        }
    }

    pub fn bytes(&self) -> u64 {
        match self {
            Self::Text(model) => model.bytes,
            Self::Embedder(model) => model.bytes,
        }
    }

    pub fn is_running(&self) -> bool {
        match self {
            Self::Text(model) => model.engine.is_running(),
            Self::Embedder(_) => true,
        }
    }

    pub fn waiting(&self) -> usize {
        match self {
            Self::Text(model) => model.engine.waiting(),
            Self::Embedder(model) => model.waiting(),
        }
    }
}

/// What is to be loaded.
pub struct Job {
    pub name: String,
    pub source: ModelSource,
    pub options: LoadOptions,
    pub task: Task,
    pub batching: ContinuousBatchingConfig,
    /// Makes room for so many bytes, or says how many there are.
    pub make_room: Box<dyn Fn(u64) -> Result<(), u64> + Send>,
}

type LoadResult<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl Job {
    /// Begins; the receiver sees how far it is.
    pub fn spawn(mut self) -> watch::Receiver<LoadState> {
        let (sender, receiver) = watch::channel(LoadState::Loading(Stage::default()));
        let progress = Arc::new(Watched {
            sender: sender.clone(),
            current: AtomicU64::new(0),
        });
        self.options.hub.progress = Some(progress.clone());
        self.options.progress = Some(progress);
        // Nobody waits for the thread: what it has to say it says by the channel.
        drop(tokio::task::spawn_blocking(move || self.load(&sender)));
        receiver
    }

    fn load(&self, sender: &watch::Sender<LoadState>) {
        let run = std::panic::AssertUnwindSafe(|| self.run(sender));
        let state = match std::panic::catch_unwind(run) {
            Ok(Ok(model)) => LoadState::Ready(model),
            Ok(Err(error)) => LoadState::Failed(self.failure(&*error)),
            Err(panic) => LoadState::Failed(ServerError::internal(format!(
                "loading `{}` panicked: {}",
                self.name,
                panic_message(&*panic)
            ))),
        };
        sender.send_replace(state);
    }

    fn run(&self, sender: &watch::Sender<LoadState>) -> LoadResult<Loaded> {
        let files = ModelFiles::resolve(&self.source, &self.options.hub)?;
        let bytes = weights_size(&files)?;
        if let Err(free) = (self.make_room)(bytes) {
            return Err(Box::new(ServerError::NoMemory {
                model: self.name.clone(),
                reason: format!(
                    "its weights have {bytes} bytes, and {free} are free; wait until other models are idle, or start the \
                     server with a higher --max-memory"
                ),
            }));
        }
        sender.send_modify(|state| {
            if let LoadState::Loading(stage) = state {
                stage.bytes = bytes;
            }
        });
        Ok(match self.task {
            Task::Text => Loaded::Text(Arc::new(self.text(&files, bytes)?)),
            Task::Embed => {
                let model = SentenceTransformer::from_pretrained_with(
                    ModelSource::from(&files),
                    &self.options,
                )?;
                Loaded::Embedder(Arc::new(Embedder::new(
                    model,
                    self.batching.max_queue_size,
                    bytes,
                )?))
            }
        })
    }

    fn text(&self, files: &ModelFiles, bytes: u64) -> LoadResult<TextModel> {
        let tokenizer = AutoTokenizer::from_files(files)?;
        let model = load_model(files, &self.options)?;
        let generation = model.info().generation_config.clone();
        let context = model.context_length();
        let engine: Box<dyn Engine> = match has_encoder(model.info().config.model_type()) {
            true => Box::new(Sequential::new(model, self.batching.max_queue_size)?),
            false => Box::new(Batching::new(model, self.batching.clone())?),
        };
        let mut model = TextModel::new(tokenizer, generation, context, engine)?;
        model.bytes = bytes;
        Ok(model)
    }

    /// Why the model is not there: whoever asked for it learns of a name that is wrong, and of nothing inside.
    fn failure(&self, error: &(dyn std::error::Error + Send + Sync + 'static)) -> ServerError {
        if let Some(error) = error.downcast_ref::<ServerError>() {
            return error.clone();
        }
        let hub = error.downcast_ref::<HubError>();
        let hub = hub.or_else(|| match error.downcast_ref::<ModelError>() {
            Some(ModelError::Hub(error)) => Some(error),
            _ => None,
        });
        let name = &self.name;
        match hub {
            Some(HubError::NotCached { .. }) => ServerError::UnknownModel(format!(
                "the model `{name}` is not in the server's cache, and the server fetches none that a request names; GET \
                 /v1/models lists those that are here"
            )),
            Some(
                HubError::RepoNotFound { .. }
                | HubError::InvalidRepo(_)
                | HubError::UnsafeName { .. }
                | HubError::MissingFile { .. },
            ) => ServerError::UnknownModel(format!("there is no model `{name}`: {error}")),
            _ => {
                log::info!("loading `{name}` failed: {error}");
                ServerError::Load {
                    model: name.clone(),
                    reason: error.to_string(),
                }
            }
        }
    }
}

/// The model, with an encoder or without.
fn load_model(files: &ModelFiles, options: &LoadOptions) -> LoadResult<Box<dyn PreTrainedModel>> {
    let config = AutoConfig::from_files(files)?;
    Ok(match has_encoder(config.model_type()) {
        true => AutoModelForSeq2SeqLM::from_pretrained_with(files, options)?.into_inner(),
        false => AutoModelForCausalLM::from_pretrained_with(files, options)?.into_inner(),
    })
}

fn has_encoder(model_type: &str) -> bool {
    let mut all = supported().into_iter();
    all.any(|(name, heads)| name == model_type && heads.contains(&Head::Seq2SeqLM))
}

/// Bytes of the files that hold weights, as far as they are on this machine.
fn weights_size(files: &ModelFiles) -> LoadResult<u64> {
    if let Some(file) = files.gguf()? {
        return Ok(fs::metadata(file)?.len());
    }
    let names = files.list()?;
    let first = [".safetensors", ".bin"].into_iter().find_map(|extension| {
        let found: Vec<_> = names
            .iter()
            .filter(|name| name.ends_with(extension))
            .collect();
        (!found.is_empty()).then_some(found)
    });
    let mut bytes = 0;
    for name in first.unwrap_or_default() {
        if let Some(path) = files.find(name)? {
            bytes += fs::metadata(path)?.len();
        }
    }
    Ok(bytes)
}

/// Tells those who watch a load how far it is.
#[derive(Debug)]
struct Watched {
    sender: watch::Sender<LoadState>,
    current: AtomicU64,
}

impl Watched {
    fn begin(&self, name: &'static str, total: Option<u64>) {
        self.current.store(0, Ordering::Relaxed);
        self.sender.send_modify(|state| {
            if let LoadState::Loading(stage) = state {
                let bytes = stage.bytes;
                *stage = Stage {
                    name,
                    current: 0,
                    total,
                    bytes,
                };
            }
        });
    }

    fn add(&self, amount: u64) {
        let current = self.current.fetch_add(amount, Ordering::Relaxed) + amount;
        self.sender.send_modify(|state| {
            if let LoadState::Loading(stage) = state {
                stage.current = current;
            }
        });
    }
}

impl Progress for Watched {
    fn start(&self, _: &str, bytes: Option<u64>) {
        self.begin("download", bytes);
    }

    fn advance(&self, _: &str, bytes: u64) {
        self.add(bytes);
    }

    fn finish(&self, _: &str) {}
}

impl LoadProgress for Watched {
    fn start(&self, _: usize, elements: u64) {
        self.begin("weights", Some(elements));
    }

    fn advance(&self, _: &str, elements: u64) {
        self.add(elements);
    }

    fn finish(&self) {}
}
