//! `POST /v1/responses`.

pub mod request;
pub mod response;

use axum::extract::State;
use axum::response::{IntoResponse, Response as HttpResponse};
use futures_util::stream::{self, StreamExt as _};

use self::request::ResponsesRequest;
use self::response::{Events, Response};
use super::chat::response::Head;
use crate::answer::{self, collect};
use crate::app::Shared;
use crate::context::Context;
use crate::extract::Json;
use crate::{Result, ServerError, sse};

/// Answers an input.
pub async fn create(
    State(app): Shared,
    context: Context,
    Json(request): Json<ResponsesRequest>,
) -> Result<HttpResponse> {
    request.check()?;
    let model = app.store.text(request.model.as_deref()).await?;
    let head = Head::new("resp", &context, request.model.as_deref(), &app);
    let streams = request.stream.unwrap_or(false);
    let mut response = Response::new(&head, &request);
    let ask = request.into_ask(&app.options)?;
    let mut answers = answer::start(&app, &context, model.clone(), ask).await?;
    let only = answers.pop();
    let answer = only.ok_or_else(|| ServerError::internal("there is no answer"))?;
    if !streams {
        for piece in collect(answer).await? {
            response.add(piece, &model);
        }
        return Ok(axum::Json(response).into_response());
    }
    let mut events = Events::new(response, model);
    let first = stream::iter(events.first());
    let pieces = answer.into_stream(0).map(Some).chain(stream::iter([None]));
    let rest = pieces.flat_map(move |piece| {
        stream::iter(match piece {
            Some(Ok((_, piece))) => events.next(piece),
            // The last event says that it failed.
            Some(Err(error)) => events.failed(&error),
            None => Vec::new(),
        })
    });
    Ok(sse::response(first.chain(rest), super::chat::failed))
}
