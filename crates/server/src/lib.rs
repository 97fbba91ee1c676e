//! An HTTP server for models, in the forms of OpenAI and Anthropic.
//!
#![doc = include_str!("server.md")]
#![forbid(unsafe_code)]

mod answer;
mod app;
mod auth;
mod context;
pub mod engine;
mod error;
mod extract;
mod listener;
mod metrics;
mod options;
mod routes;
mod sse;
mod store;
mod strict_json;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use transformers_config::GenerationConfig;
use transformers_tokenization::Tokenizer;

pub use error::{Result, ServerError};
pub use options::{Reasoning, ServerOptions};
pub use store::StoreOptions;

use crate::app::App;
use crate::engine::Engine;
use crate::store::{Store, Task, TextModel};

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens at `address`, `HOST:PORT`; port 0 is a free one.
    ///
    /// # Errors
    /// [`ServerError::Listen`].
    pub async fn bind(address: &str, options: ServerOptions, store: StoreOptions) -> Result<Self> {
        let bound = listener::bind(address).await;
        let (listener, address) = bound.map_err(|error| ServerError::Listen {
            address: address.to_owned(),
            reason: error.to_string(),
        })?;
        let app = App::new(options, Store::new(store));
        Ok(Self {
            app,
            listener,
            address,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loads the model that is served alone, if there is one, so that the first request need not wait.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub async fn preload(&self) -> Result<()> {
        match self.app.store.only() {
            Some(name) => self.app.store.text(Some(name)).await.map(drop),
            None => Ok(()),
        }
    }

    /// Begins to load the model that is served alone, if there is one.
    ///
    /// # Errors
    /// As [`Self::preload`], but for what happens later.
    pub fn begin_to_load(&self) -> Result<()> {
        match self.app.store.only() {
            Some(name) => self.app.store.load(Some(name), Task::Text).map(drop),
            None => Ok(()),
        }
    }

    /// Serves a model of your own making under `name`.
    ///
    /// # Errors
    /// The tokenizer's files have a template of answers that cannot be read.
    pub fn insert(
        &self,
        name: &str,
        tokenizer: Tokenizer,
        generation: GenerationConfig,
        context: Option<usize>,
        engine: Box<dyn Engine>,
    ) -> Result<()> {
        let model = TextModel::new(tokenizer, generation, context, engine)?;
        self.app.store.insert(name, model);
        Ok(())
    }

    /// The routes, to be mounted in a program of your own. The limits of connections (how many, how slow, and how they end)
    /// are those of [`Self::run`], and not of these.
    pub fn router(&self) -> axum::Router {
        app::router(self.app.clone())
    }

    /// Answers until `shutdown` completes. Then nothing new is taken, what runs gets [`ServerOptions::grace`] to end, and
    /// the rest is told that it failed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        listener::serve(self.app, self.listener, shutdown).await;
    }
}
