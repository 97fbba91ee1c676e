//! The server as its handlers see it, and its routes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use futures_util::FutureExt as _;
use tokio::sync::watch;
use tower_http::cors::{Any, CorsLayer};

use crate::auth::{self, Keys};
use crate::engine::panic_message;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::{Result, ServerError, ServerOptions, context, metrics, routes};

/// What handlers share.
#[derive(Debug)]
pub struct App {
    pub options: ServerOptions,
    pub store: Store,
    pub metrics: Metrics,
    phase: watch::Sender<Phase>,
}

/// The state of every handler.
pub type Shared = State<Arc<App>>;

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It answers.
    Running,
    /// It finishes what it has begun.
    Draining,
    /// What is not finished fails.
    Stopped,
}

impl App {
    pub fn new(options: ServerOptions, store: Store) -> Arc<Self> {
        Arc::new(Self {
            options,
            store,
            metrics: Metrics::default(),
            phase: watch::Sender::new(Phase::Running),
        })
    }

    /// Sees the phases.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// # Errors
    /// The server takes no more work.
    pub fn check_running(&self) -> Result<()> {
        match *self.phase.borrow() {
            Phase::Running => Ok(()),
            Phase::Draining | Phase::Stopped => Err(ServerError::ShuttingDown),
        }
    }
}

/// All routes, with what every request goes through.
pub fn router(app: Arc<App>) -> Router {
    let keys = Keys::new(&app.options.api_keys);
    let routes = Router::new()
        .route("/", only(get(routes::page::index)))
        .route("/health", only(get(routes::health::health)))
        .route("/metrics", only(get(routes::health::metrics)))
        .route("/openapi.json", only(get(routes::openapi::document)))
        .route("/v1/models", only(get(routes::models::list)))
        .route("/v1/models/{*id}", only(get(routes::models::get)))
        .route("/v1/chat/completions", only(post(routes::chat::create)))
        .route("/v1/completions", only(post(routes::completions::create)))
        .route("/v1/responses", only(post(routes::responses::create)))
        .route("/v1/embeddings", only(post(routes::embeddings::create)))
        .route("/load_model", only(post(routes::models::load)))
        .route("/reset", only(post(routes::models::reset)))
        .route("/tokenize", only(post(routes::tokenize::tokenize)))
        .route("/detokenize", only(post(routes::tokenize::detokenize)))
        .route("/v1/messages", only(post(routes::messages::create)))
        .route(
            "/v1/messages/count_tokens",
            only(post(routes::messages::count_tokens)),
        )
        .fallback(no_route)
        .layer(DefaultBodyLimit::max(app.options.max_body))
        .layer(from_fn(contain))
        .layer(from_fn_with_state(keys, auth::layer))
        .layer(from_fn_with_state(app.clone(), metrics::layer));
    let routes = match app.options.cors {
        true => routes.layer(cors()),
        false => routes,
    };
    routes
        .layer(from_fn(routes::messages::errors))
        .layer(from_fn(context::layer))
        .with_state(app)
}

/// A route with our error for other methods.
fn only(route: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    route.fallback(|| async { ServerError::Method })
}

async fn no_route() -> ServerError {
    ServerError::NoRoute
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(Any)
        .allow_headers(Any)
        .expose_headers([
            context::REQUEST_ID,
            header::WARNING,
            header::RETRY_AFTER,
            HeaderName::from_static("request-id"),
        ])
}

/// A panic ends its request and nothing else.
async fn contain(request: Request, next: Next) -> Result<Response> {
    let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    response.map_err(|panic| {
        ServerError::internal(format!("a handler panicked: {}", panic_message(&*panic)))
    })
}
