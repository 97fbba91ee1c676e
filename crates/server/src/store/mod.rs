//! The models that are served: loaded when they are asked for, once for all who ask, and dropped when nobody did for long.

mod cached;
mod embedder;
mod load;
mod name;
mod text_model;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use transformers_generation::ContinuousBatchingConfig;
use transformers_modeling::LoadOptions;

pub use cached::CachedModel;
pub use embedder::Embedder;
pub use load::LoadState;
pub use text_model::TextModel;

use self::load::Loaded;
use self::name::source_of;
use crate::{Result, ServerError};

/// Which models may be served, and how they are loaded.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The one model that is served, as a user types it: a folder, a file or a hub id. `None`: those of the cache.
    pub model: Option<String>,
    /// The name that it goes by; otherwise as it was typed.
    pub served_name: Option<String>,
    /// Adapters that it is served with too, each as a model of its own: folders or hub ids by their names.
    pub adapters: BTreeMap<String, String>,
    /// Further hub ids that may be served, and downloaded.
    pub allowed: BTreeSet<String>,
    /// Whether a request may have any model downloaded.
    pub allow_download: bool,
    /// How models are loaded.
    pub load: LoadOptions,
    /// A model that nobody used for so long is dropped; the one that is served alone is not.
    pub idle: Duration,
    /// The most bytes of weights at a time.
    pub max_memory: Option<u64>,
    /// How sequences are generated together, and how many may wait for a model.
    pub batching: ContinuousBatchingConfig,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            model: None,
            served_name: None,
            adapters: BTreeMap::new(),
            allowed: BTreeSet::new(),
            allow_download: false,
            load: LoadOptions::default(),
            idle: Duration::from_secs(300),
            max_memory: None,
            batching: ContinuousBatchingConfig {
                max_queue_size: 256,
                ..ContinuousBatchingConfig::default()
            },
        }
    }
}

/// What a model is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// To write.
    Text,
    /// To embed.
    Embed,
}

/// A model that is loaded or being loaded.
#[derive(Debug)]
struct Slot {
    state: watch::Receiver<LoadState>,
    used: Instant,
}

type Slots = HashMap<(String, Task), Slot>;

/// The models.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    slots: Arc<Mutex<Slots>>,
    created: u64,
}

impl Store {
    /// An empty store.
    pub fn new(options: StoreOptions) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            options,
            slots: Arc::default(),
            created: now.map_or(0, |now| now.as_secs()),
        }
    }

    /// Puts in a model that is loaded already.
    pub fn insert(&self, name: &str, model: TextModel) {
        let (_, state) = watch::channel(LoadState::Ready(Loaded::Text(Arc::new(model))));
        let used = Instant::now();
        self.slots()
            .insert((name.to_owned(), Task::Text), Slot { state, used });
    }

    /// A model that writes, loaded if it is not.
    ///
    /// # Errors
    /// A model that is not served, or cannot be loaded.
    pub async fn text(&self, name: Option<&str>) -> Result<Arc<TextModel>> {
        match self.wait(name, Task::Text).await? {
            Loaded::Text(model) => Ok(model),
            Loaded::Embedder(_) => Err(ServerError::internal("a slot holds another model")),
        }
    }

    /// A model that embeds, loaded if it is not.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub async fn embedder(&self, name: Option<&str>) -> Result<Arc<Embedder>> {
        match self.wait(name, Task::Embed).await? {
            Loaded::Embedder(model) => Ok(model),
            Loaded::Text(_) => Err(ServerError::internal("a slot holds another model")),
        }
    }

    async fn wait(&self, name: Option<&str>, task: Task) -> Result<Loaded> {
        let mut state = self.load(name, task)?;
        let ended = state
            .wait_for(|state| !matches!(state, LoadState::Loading(_)))
            .await;
        let ended = ended.map_err(|_| ServerError::internal("a load ended without a result"))?;
        match &*ended {
            LoadState::Ready(model) => Ok(model.clone()),
            LoadState::Failed(error) => Err(error.clone()),
            LoadState::Loading(_) => Err(ServerError::internal("a load did not end")),
        }
    }

    /// Begins to load a model unless that was done; the receiver sees how far it is. Goes on when nobody looks.
    ///
    /// # Errors
    /// A model that is not served.
    pub fn load(&self, name: Option<&str>, task: Task) -> Result<watch::Receiver<LoadState>> {
        let name = self.resolve(name)?;
        let mut slots = self.slots();
        let key = (name.clone(), task);
        if let Some(slot) = slots.get_mut(&key)
            && !matches!(&*slot.state.borrow(), LoadState::Failed(_))
        {
            slot.used = Instant::now();
            return Ok(slot.state.clone());
        }
        let (source, load) = self.source(&name)?;
        let (shared, max) = (self.slots.clone(), self.options.max_memory);
        let job = load::Job {
            name,
            source,
            options: load,
            task,
            batching: self.options.batching.clone(),
            make_room: Box::new(move |bytes| {
                let mut slots = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let taken = max.map(|max| make_room(&mut slots, bytes, max)).transpose();
                // They are dropped when others can go on.
                drop(slots);
                taken.map(drop)
            }),
        };
        let state = job.spawn();
        let used = Instant::now();
        slots.insert(
            key,
            Slot {
                state: state.clone(),
                used,
            },
        );
        Ok(state)
    }

    /// The name of the model that a request is for.
    fn resolve(&self, name: Option<&str>) -> Result<String> {
        let name = name.filter(|name| !name.is_empty());
        let Some(only) = self.only() else {
            let missing = || ServerError::invalid("model", "name one; GET /v1/models lists them");
            return name.map(str::to_owned).ok_or_else(missing);
        };
        let name = name.unwrap_or(only);
        let served = name == only || self.options.adapters.contains_key(name);
        match served || self.options.allowed.contains(name) {
            true => Ok(name.to_owned()),
            false => Err(ServerError::OtherModel {
                served: only.to_owned(),
                asked: name.chars().take(100).collect(),
            }),
        }
    }

    /// The name of the one model, if there is only one.
    pub fn only(&self) -> Option<&str> {
        let model = self.options.model.as_deref()?;
        Some(self.options.served_name.as_deref().unwrap_or(model))
    }

    fn source(&self, name: &str) -> Result<(transformers_hub::ModelSource, LoadOptions)> {
        let mut load = self.options.load.clone();
        if let (Some(only), Some(model)) = (self.only(), &self.options.model)
            && only == name
        {
            return Ok((model.into(), load));
        }
        if let (Some(adapter), Some(model)) = (self.options.adapters.get(name), &self.options.model)
        {
            load.adapter = Some(adapter.into());
            return Ok((model.into(), load));
        }
        let may_download = self.options.allow_download || self.options.allowed.contains(name);
        load.hub.local_files_only |= !may_download;
        // The revision of the command line is that of its model.
        load.hub.revision = None;
        Ok((source_of(name)?, load))
    }

    /// The models that may be asked for.
    pub fn list(&self) -> Vec<CachedModel> {
        let mut names: BTreeSet<String> = self.options.allowed.clone();
        names.extend(self.only().map(str::to_owned));
        names.extend(self.options.adapters.keys().cloned());
        names.extend(self.slots().keys().map(|(name, _)| name.clone()));
        let created = self.created;
        let mut models: Vec<CachedModel> = names
            .into_iter()
            .map(|id| CachedModel { id, created })
            .collect();
        if self.only().is_none() {
            let known = |model: &CachedModel| !models.iter().any(|other| other.id == model.id);
            let cached = cached::list(self.options.load.hub.cache_dir.as_deref());
            let cached: Vec<_> = cached.into_iter().filter(known).collect();
            models.extend(cached);
        }
        models
    }

    /// The names of the models in memory, and how many jobs wait for them.
    pub fn loaded(&self) -> (BTreeSet<String>, usize) {
        let slots = self.slots();
        let mut names = BTreeSet::new();
        let mut waiting = 0;
        for ((name, _), slot) in &*slots {
            if let LoadState::Ready(model) = &*slot.state.borrow() {
                names.insert(name.clone());
                waiting += model.waiting();
            }
        }
        (names, waiting)
    }

    /// Whether every model in memory does its jobs.
    pub fn is_running(&self) -> bool {
        self.slots()
            .values()
            .all(|slot| match &*slot.state.borrow() {
                LoadState::Ready(model) => model.is_running(),
                LoadState::Loading(_) | LoadState::Failed(_) => true,
            })
    }

    /// Drops every model; those in use go when they are no longer.
    pub fn reset(&self) {
        let all = std::mem::take(&mut *self.slots());
        drop_aside(all);
    }

    /// Drops the models that nobody used for long, and what failed. To be called now and then.
    pub fn sweep(&self) {
        let now = Instant::now();
        let only = self.only().map(str::to_owned);
        let is_over = |(name, _): &(String, Task), slot: &mut Slot| {
            let in_use = match &*slot.state.borrow() {
                LoadState::Ready(model) => model.is_in_use(),
                LoadState::Loading(_) => true,
                LoadState::Failed(_) => return true,
            };
            if in_use {
                slot.used = now;
            }
            only.as_ref() != Some(name) && now - slot.used >= self.options.idle
        };
        let over: Vec<_> = self.slots().extract_if(is_over).collect();
        drop_aside(over);
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops models where nobody waits for it: an engine ends its thread, and that the step that it is in.
fn drop_aside<T: Send + 'static>(models: T) {
    drop(tokio::task::spawn_blocking(move || drop(models)));
}

/// Takes out models that nobody uses, the one that was used last at last, until `bytes` more are within `max`.
///
/// # Errors
/// That is not enough; so many bytes are free then.
fn make_room(slots: &mut Slots, bytes: u64, max: u64) -> Result<Vec<Slot>, u64> {
    let mut taken = Vec::new();
    let held = |slot: &Slot| match &*slot.state.borrow() {
        LoadState::Ready(model) => model.bytes(),
        LoadState::Loading(stage) => stage.bytes,
        LoadState::Failed(_) => 0,
    };
    let is_idle = |slot: &Slot| match &*slot.state.borrow() {
        LoadState::Ready(model) => !model.is_in_use(),
        _ => false,
    };
    loop {
        let free = max.saturating_sub(slots.values().map(held).sum());
        if bytes <= free {
            return Ok(taken);
        }
        let idle = slots.iter().filter(|(_, slot)| is_idle(slot));
        let oldest = idle.min_by_key(|(_, slot)| slot.used);
        let key = oldest.map(|(key, _)| key.clone()).ok_or(free)?;
        taken.extend(slots.remove(&key));
    }
}
