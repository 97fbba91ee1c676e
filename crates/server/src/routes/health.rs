//! `GET /health`, `GET /metrics`.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::app::Shared;
use crate::{Result, ServerError};

/// Whether the server takes work, and which models are in memory.
pub async fn health(State(app): Shared) -> Result<axum::Json<Value>> {
    app.check_running()?;
    if !app.store.is_running() {
        return Err(ServerError::Dead);
    }
    let (loaded, waiting) = app.store.loaded();
    let health = json!({"status": "ok", "loaded_models": loaded, "jobs_waiting": waiting});
    Ok(axum::Json(health))
}

/// What the server has done, for Prometheus.
pub async fn metrics(State(app): Shared) -> impl IntoResponse {
    let (loaded, waiting) = app.store.loaded();
    let text = app.metrics.text(waiting, loaded.len());
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}
