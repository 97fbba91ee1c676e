//! `POST /tokenize`, `POST /detokenize`.

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chat::request::{Message, ToolField};
use crate::answer::{self, Conversation, Shape, Text};
use crate::app::Shared;
use crate::extract::{Body, Json};
use crate::{Result, ServerError};

/// A text, or a conversation, to turn into ids.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct TokenizeRequest {
    /// One of `GET /v1/models`. May be left out where the server serves one model alone.
    pub model: Option<String>,
    /// The text; this or `messages`.
    pub prompt: Option<String>,
    /// The conversation.
    pub messages: Option<Vec<Message>>,
    /// The tools of the conversation.
    pub tools: Option<Vec<ToolField>>,
    /// Put around the text what the model expects; by default it is.
    pub add_special_tokens: Option<bool>,
    /// Say the tokens too.
    pub return_token_strs: Option<bool>,
}

impl Body for TokenizeRequest {
    const WITHOUT_EFFECT: &'static [&'static str] = &[];
}

/// The ids.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TokenizeResponse {
    count: usize,
    max_model_len: Option<usize>,
    tokens: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_strs: Option<Vec<String>>,
}

/// Turns a text into ids.
pub async fn tokenize(
    State(app): Shared,
    Json(request): Json<TokenizeRequest>,
) -> Result<axum::Json<TokenizeResponse>> {
    app.check_running()?;
    let model = app.store.text(request.model.as_deref()).await?;
    let tools = request.tools.into_iter().flatten();
    let shape = Shape {
        tools: tools.map(|tool| tool.function.into()).collect(),
        ..Shape::default()
    };
    shape.check()?;
    let tokens = match (request.prompt, request.messages) {
        (Some(text), None) => {
            let model = model.clone();
            let special = request.add_special_tokens.unwrap_or(true);
            let encode = move || model.tokenizer.encode(text.as_str(), special);
            let encoded = tokio::task::spawn_blocking(encode).await;
            encoded.map_err(ServerError::internal)??
        }
        (None, Some(messages)) => {
            let messages = messages.into_iter().map(Message::into_json);
            let conversation = Conversation {
                messages: messages.collect::<Result<_>>()?,
                ..Conversation::default()
            };
            answer::count(&model, Text::Chat(conversation), &shape).await?
        }
        _ => {
            let message = "give a `prompt` or `messages`, and not both";
            return Err(ServerError::invalid("prompt", message));
        }
    };
    let name = |id: &u32| model.tokenizer.id_to_token(*id).unwrap_or_default();
    let names = || tokens.iter().map(name).collect();
    Ok(axum::Json(TokenizeResponse {
        count: tokens.len(),
        max_model_len: model.context,
        token_strs: (request.return_token_strs == Some(true)).then(names),
        tokens,
    }))
}

/// Ids to turn into a text.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct DetokenizeRequest {
    /// One of `GET /v1/models`. May be left out where the server serves one model alone.
    pub model: Option<String>,
    /// The ids.
    pub tokens: Vec<u32>,
    /// Leave special tokens out; by default they stay.
    pub skip_special_tokens: Option<bool>,
}

impl Body for DetokenizeRequest {
    const WITHOUT_EFFECT: &'static [&'static str] = &[];
}

/// The text.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DetokenizeResponse {
    prompt: String,
}

/// Turns ids into a text.
pub async fn detokenize(
    State(app): Shared,
    Json(request): Json<DetokenizeRequest>,
) -> Result<axum::Json<DetokenizeResponse>> {
    app.check_running()?;
    let model = app.store.text(request.model.as_deref()).await?;
    let skip = request.skip_special_tokens.unwrap_or(false);
    let decode = move || model.tokenizer.decode(request.tokens.as_slice(), skip);
    let decoded = tokio::task::spawn_blocking(decode).await;
    let prompt = decoded.map_err(ServerError::internal)??;
    Ok(axum::Json(DetokenizeResponse { prompt }))
}
