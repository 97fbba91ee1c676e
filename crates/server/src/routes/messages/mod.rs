//! `POST /v1/messages`: conversations in Anthropic's form.

pub mod request;
pub mod response;

use axum::extract::{Request, State};
use axum::http::HeaderName;
use axum::middleware::Next;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use self::request::{CountRequest, MessagesRequest};
use self::response::{Events, Message};
use super::chat::response::Head;
use crate::answer::{self, collect};
use crate::app::Shared;
use crate::context::Context;
use crate::extract::Json;
use crate::{Result, ServerError, sse};

/// Answers a conversation.
pub async fn create(
    State(app): Shared,
    context: Context,
    Json(request): Json<MessagesRequest>,
) -> Result<Response> {
    let model = app.store.text(request.model.as_deref()).await?;
    let head = Head::new("msg", &context, request.model.as_deref(), &app);
    let streams = request.stream.unwrap_or(false);
    let ask = request.into_ask(&app.options)?;
    let mut answers = answer::start(&app, &context, model, ask).await?;
    let only = answers.pop();
    let answer = only.ok_or_else(|| ServerError::internal("there is no answer"))?;
    if !streams {
        let message = Message::new(&head, collect(answer).await?);
        return Ok(axum::Json(message).into_response());
    }
    let mut events = Events::new(head, answer.usage());
    let first = stream::iter(events.first());
    let rest = answer.into_stream(0).flat_map(move |piece| {
        stream::iter(match piece {
            Ok((_, piece)) => events.next(piece),
            Err(error) => vec![Err(error)],
        })
    });
    let id = context.id.clone();
    let failed = move |error: ServerError| failed(&error, &id);
    Ok(sse::response(first.chain(rest), failed))
}

fn failed(error: &ServerError, id: &str) -> Event {
    let body = error.anthropic(id);
    sse::named("error", &body).unwrap_or_else(|_| sse::text("{}"))
}

/// Counts the tokens of a conversation.
pub async fn count_tokens(
    State(app): Shared,
    Json(request): Json<CountRequest>,
) -> Result<axum::Json<Value>> {
    app.check_running()?;
    let model = app.store.text(request.model.as_deref()).await?;
    let ask = request.into_ask(&app.options)?;
    ask.shape.check()?;
    let ids = answer::count(&model, ask.text, &ask.shape).await?;
    Ok(axum::Json(json!({"input_tokens": ids.len()})))
}

/// On Anthropic's routes, errors in Anthropic's form, and the id under Anthropic's name.
pub async fn errors(context: Context, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/v1/messages") {
        return next.run(request).await;
    }
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ServerError>() {
        let body = axum::Json(error.anthropic(&context.id)).into_response();
        let (parts, _) = response.into_parts();
        let mut replaced = body;
        *replaced.status_mut() = parts.status;
        for (name, value) in &parts.headers {
            if name != axum::http::header::CONTENT_LENGTH {
                replaced.headers_mut().insert(name.clone(), value.clone());
            }
        }
        response = replaced;
    }
    if let Ok(id) = context.id.parse() {
        let name = HeaderName::from_static("request-id");
        response.headers_mut().insert(name, id);
    }
    response
}
