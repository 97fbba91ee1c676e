//! `POST /v1/embeddings`.

use axum::extract::State;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use transformers_pipelines::EmbedOptions;

use crate::answer::OneOrMany;
use crate::app::Shared;
use crate::extract::{Body, Json};
use crate::{Result, ServerError};

/// The most texts of one request.
const MAX_TEXTS: usize = 2048;

/// Texts to embed.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct EmbeddingRequest {
    /// One of `GET /v1/models`. May be left out where the server serves one model alone.
    pub model: Option<String>,
    /// A text or several. Token ids are refused: they are of another model's vocabulary.
    pub input: OneOrMany,
    /// How vectors are written.
    pub encoding_format: Option<EncodingFormat>,
    /// Keep so many of the first numbers, and give the rest length 1 again.
    pub dimensions: Option<usize>,
    /// One of the model's prompts, put before every text (not in OpenAI's schema).
    pub prompt_name: Option<String>,
}

impl Body for EmbeddingRequest {
    const WITHOUT_EFFECT: &'static [&'static str] = &["user"];
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// The bytes of little-endian f32, in base64.
    Base64,
}

/// Vectors of texts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EmbeddingResponse {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: Usage,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Debug, Serialize, JsonSchema)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// Embeds texts.
pub async fn create(
    State(app): Shared,
    Json(request): Json<EmbeddingRequest>,
) -> Result<axum::Json<EmbeddingResponse>> {
    app.check_running()?;
    let texts: Vec<String> = request.input.into();
    if !(1..=MAX_TEXTS).contains(&texts.len()) {
        let message = format!("{} texts; 1 to {MAX_TEXTS} are allowed", texts.len());
        return Err(ServerError::invalid("input", message));
    }
    let model = app.store.embedder(request.model.as_deref()).await?;
    let options = EmbedOptions {
        prompt_name: request.prompt_name,
        ..EmbedOptions::default()
    };
    let deadline = app.options.deadline;
    let embedded = tokio::time::timeout(deadline, model.embed(texts, options)).await;
    let embedded = embedded.map_err(|_| ServerError::Deadline(deadline))??;
    let format = request.encoding_format.unwrap_or_default();
    let mut data = Vec::new();
    for (index, vector) in embedded.vectors.into_iter().enumerate() {
        data.push(Embedding {
            object: "embedding",
            index,
            embedding: encoded(shortened(vector, request.dimensions)?, format),
        });
    }
    Ok(axum::Json(EmbeddingResponse {
        object: "list",
        data,
        model: request
            .model
            .or(app.store.only().map(str::to_owned))
            .unwrap_or_default(),
        usage: Usage {
            prompt_tokens: embedded.tokens,
            total_tokens: embedded.tokens,
        },
    }))
}

fn shortened(mut vector: Vec<f32>, dimensions: Option<usize>) -> Result<Vec<f32>> {
    let Some(dimensions) = dimensions else {
        return Ok(vector);
    };
    if !(1..=vector.len()).contains(&dimensions) {
        let message = format!("{dimensions} is not within 1 to {}", vector.len());
        return Err(ServerError::invalid("dimensions", message));
    }
    vector.truncate(dimensions);
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
    Ok(vector.into_iter().map(|x| x / length).collect())
}

fn encoded(vector: Vec<f32>, format: EncodingFormat) -> Vector {
    match format {
        EncodingFormat::Float => Vector::Float(vector),
        EncodingFormat::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            Vector::Base64(BASE64_STANDARD.encode(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shortened_vectors_have_length_1() {
        assert_eq!(shortened(vec![3.0, 4.0, 9.0], Some(2)).unwrap(), [0.6, 0.8]);
        assert!(shortened(vec![1.0], Some(2)).is_err());
        assert!(shortened(vec![1.0], Some(0)).is_err());
    }

    #[test]
    fn base64_holds_the_bytes() {
        let Vector::Base64(text) = encoded(vec![1.0, -2.0], EncodingFormat::Base64) else {
            panic!("not base64");
        };
        assert_eq!(text, "AACAPwAAAMA=");
    }
}
