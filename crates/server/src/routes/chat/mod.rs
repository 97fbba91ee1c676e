//! `POST /v1/chat/completions`.

pub mod request;
pub mod response;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _};

use self::request::ChatRequest;
use self::response::{Chunks, Completion, Head};
use crate::answer::{self, collect};
use crate::app::Shared;
use crate::context::Context;
use crate::extract::Json;
use crate::{Result, ServerError, sse};

/// Answers a conversation.
pub async fn create(
    State(app): Shared,
    context: Context,
    Json(request): Json<ChatRequest>,
) -> Result<Response> {
    let model = app.store.text(request.model.as_deref()).await?;
    let head = Head::new("chatcmpl", &context, request.model.as_deref(), &app);
    let streams = request.stream.unwrap_or(false);
    let options = request.stream_options.clone().unwrap_or_default();
    let ask = request.into_ask(&app.options)?;
    let answers = answer::start(&app, &context, model.clone(), ask).await?;
    if !streams {
        let choices = try_join_all(answers.into_iter().map(collect)).await?;
        let completion = Completion::new(&head, choices, &model);
        return Ok(axum::Json(completion).into_response());
    }
    let mut chunks = Chunks::new(head, answers.len(), options, model);
    let first = stream::iter(chunks.first());
    let streams = answers.into_iter().enumerate();
    let streams = streams.map(|(index, answer)| Box::pin(answer.into_stream(index)));
    let pieces = stream::select_all(streams).flat_map(move |piece| {
        let events: Vec<Result<_>> = match piece {
            Ok((index, piece)) => chunks.next(index, piece),
            Err(error) => vec![Err(error)],
        };
        stream::iter(events)
    });
    let done = app.options.done.then(|| Ok(sse::text("[DONE]")));
    let events = first.chain(pieces).chain(stream::iter(done));
    Ok(sse::response(events, failed))
}

/// An error in the middle of a stream.
pub fn failed(error: ServerError) -> axum::response::sse::Event {
    let error = error.openai();
    sse::data(&error).unwrap_or_else(|_| sse::text("{\"error\":{}}"))
}
