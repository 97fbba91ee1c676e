//! Streams of server-sent events.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use serde::Serialize;

use crate::ServerError;
use crate::engine::panic_message;

/// A comment in so much silence shows that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A response that streams `events`; an error becomes what `failed` makes of it, and is the last.
pub fn response(
    events: impl Stream<Item = Result<Event, ServerError>> + Send + 'static,
    failed: impl Fn(ServerError) -> Event + Send + 'static,
) -> Response {
    let mut ended = false;
    let events = contained(events).scan((), move |(), event| {
        let event = (!ended).then_some(event);
        ended |= matches!(event, Some(Err(_)));
        std::future::ready(event)
    });
    let events = events.map(move |event| Ok::<_, Infallible>(event.unwrap_or_else(&failed)));
    let response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // A proxy may buffer what it takes for a file.
    ([("x-accel-buffering", "no")], response).into_response()
}

/// The stream, with a panic of it as its last error.
fn contained<T>(
    events: impl Stream<Item = Result<T, ServerError>> + Send,
) -> impl Stream<Item = Result<T, ServerError>> + Send {
    stream::unfold(Some(Box::pin(events)), |events| async {
        let mut events = events?;
        match AssertUnwindSafe(events.next()).catch_unwind().await {
            Ok(event) => Some((event?, Some(events))),
            Err(panic) => {
                let message = format!("a stream panicked: {}", panic_message(&*panic));
                Some((Err(ServerError::internal(message)), None))
            }
        }
    })
}

/// `data: {…}`.
///
/// # Errors
/// Never for our types; a failure would be a defect.
pub fn data(value: &impl Serialize) -> Result<Event, ServerError> {
    Event::default()
        .json_data(value)
        .map_err(ServerError::internal)
}

/// `event: …` and `data: {…}`.
///
/// # Errors
/// As [`data`].
pub fn named(name: &str, value: &impl Serialize) -> Result<Event, ServerError> {
    let event = Event::default().event(name);
    event.json_data(value).map_err(ServerError::internal)
}

/// `data: text`.
pub fn text(text: &str) -> Event {
    Event::default().data(text)
}
