//! A model that embeds.

use tokio::sync::oneshot;
use transformers_pipelines::{EmbedOptions, SentenceTransformer};

use crate::engine::Worker;
use crate::{Result, ServerError};

/// A model that embeds, on a thread of its own.
#[derive(Debug)]
pub struct Embedder {
    worker: Worker<SentenceTransformer>,
    /// The size of its weights.
    pub(super) bytes: u64,
}

/// Vectors of texts.
#[derive(Debug)]
pub struct Embeddings {
    /// One for each text.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all texts.
    pub tokens: usize,
}

impl Embedder {
    pub(super) fn new(
        model: SentenceTransformer,
        capacity: usize,
        bytes: u64,
    ) -> std::io::Result<Self> {
        let worker = Worker::new("embed", model, capacity)?;
        Ok(Self { worker, bytes })
    }

    pub(super) fn waiting(&self) -> usize {
        self.worker.waiting()
    }

    /// A vector for each text, pooled as the model's files say.
    ///
    /// # Errors
    /// Too much waiting, a text without a token, or an unknown prompt.
    pub async fn embed(&self, texts: Vec<String>, options: EmbedOptions) -> Result<Embeddings> {
        let (sender, receiver) = oneshot::channel();
        self.worker.submit(move |model| {
            if !sender.is_closed() {
                // Whoever is gone does not care.
                let _ = sender.send(embed(model, &texts, &options));
            }
        })?;
        let panicked = |_| ServerError::internal("embedding panicked");
        receiver.await.map_err(panicked)?
    }
}

fn embed(
    model: &SentenceTransformer,
    texts: &[String],
    options: &EmbedOptions,
) -> Result<Embeddings> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    Ok(Embeddings {
        tokens: model.count_tokens(&texts, options)?,
        vectors: model.encode(&texts, options)?,
    })
}
