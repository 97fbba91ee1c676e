//! `GET /v1/models`, `POST /load_model`, `POST /reset`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::app::{App, Shared};
use crate::extract::{Body, Json};
use crate::store::{CachedModel, LoadState, Task};
use crate::{Result, ServerError, sse};

/// A model that may be asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: String,
    /// Whether it is in memory.
    loaded: bool,
}

/// All of them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

async fn all(app: Arc<App>) -> Result<Vec<Model>> {
    let list = tokio::task::spawn_blocking(move || (app.store.list(), app.store.loaded().0));
    let (models, loaded) = list.await.map_err(ServerError::internal)?;
    let model = |CachedModel { id, created }: CachedModel| Model {
        owned_by: id
            .split_once('/')
            .map_or("local", |(owner, _)| owner)
            .to_owned(),
        loaded: loaded.contains(&id),
        object: "model",
        id,
        created,
    };
    Ok(models.into_iter().map(model).collect())
}

/// Lists the models.
pub async fn list(State(app): Shared) -> Result<axum::Json<ModelList>> {
    let data = all(app).await?;
    let object = "list";
    Ok(axum::Json(ModelList { object, data }))
}

/// Shows one of them.
pub async fn get(State(app): Shared, Path(id): Path<String>) -> Result<axum::Json<Model>> {
    let found = all(app).await?.into_iter().find(|model| model.id == id);
    let unknown = || {
        let id: String = id.chars().take(100).collect();
        ServerError::UnknownModel(format!(
            "there is no model `{id}`; GET /v1/models lists them"
        ))
    };
    found.map(axum::Json).ok_or_else(unknown)
}

/// A model to load.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct LoadRequest {
    /// Its name.
    pub model: Option<String>,
}

impl Body for LoadRequest {
    const WITHOUT_EFFECT: &'static [&'static str] = &[];
}

/// Loads a model, and says as events how far it is.
pub async fn load(State(app): Shared, Json(request): Json<LoadRequest>) -> Result<Response> {
    app.check_running()?;
    let model = request
        .model
        .or(app.store.only().map(str::to_owned))
        .unwrap_or_default();
    let name = Some(model.as_str()).filter(|name| !name.is_empty());
    let state = app.store.load(name, Task::Text)?;
    let cached = matches!(&*state.borrow(), LoadState::Ready(_));
    let events = stream::unfold(Some((state, true)), move |at| {
        let model = model.clone();
        async move {
            let (mut state, first) = at?;
            if !first && state.changed().await.is_err() {
                return None;
            }
            let (event, ended) = event(&mut state, &model, cached);
            Some((sse::data(&event), (!ended).then_some((state, false))))
        }
    });
    Ok(sse::response(events, super::chat::failed))
}

fn event(state: &mut watch::Receiver<LoadState>, model: &str, cached: bool) -> (Value, bool) {
    match &*state.borrow_and_update() {
        LoadState::Loading(stage) => {
            let mut event = json!({"status": "loading", "model": model});
            if !stage.name.is_empty() {
                event["stage"] = json!(stage.name);
                event["progress"] = json!({"current": stage.current, "total": stage.total});
            }
            (event, false)
        }
        LoadState::Ready(_) => (
            json!({"status": "ready", "model": model, "cached": cached}),
            true,
        ),
        LoadState::Failed(error) => {
            let message = error.to_string();
            (
                json!({"status": "error", "model": model, "message": message}),
                true,
            )
        }
    }
}

/// Drops every model from memory.
pub async fn reset(State(app): Shared) -> axum::Json<Value> {
    app.store.reset();
    axum::Json(json!({"status": "ok"}))
}
