//! An answer as it comes: tokens in, pieces of content, reasoning and tool calls out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep_until;
use transformers_generation::{FinishReason, TokenLogprob};
use transformers_tokenization::{DecodeStream, ResponseEvent, ResponseParser};

use super::stops::Stops;
use crate::app::{App, Phase};
use crate::context::Context;
use crate::engine::{Event, Events, Ticket};
use crate::store::TextModel;
use crate::{Result, ServerError};

/// A piece of an answer. The log-probabilities are those of the tokens since the piece before, where they were asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text.
    Content(String, Vec<TokenLogprob>),
    /// Text before the answer proper.
    Reasoning(String),
    /// A call of a tool, whole: its id, its name, and its arguments in JSON.
    Call {
        id: String,
        name: String,
        arguments: String,
    },
    /// The last piece.
    End(End),
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    pub reason: EndReason,
    pub usage: Usage,
    pub logprobs: Vec<TokenLogprob>,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The model ended it.
    Done,
    /// This stop string.
    Stop(String),
    /// There is no room for more.
    Length,
    /// With a call of a tool.
    Calls,
}

/// Tokens that were read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt: usize,
    /// Tokens of the prompt that needed no work.
    pub cached: usize,
    pub generated: usize,
    /// Of these, before the answer proper.
    pub reasoning: usize,
}

/// One answer on its way. Dropping it ends the work on it.
pub struct Answer {
    app: Arc<App>,
    model: Arc<TextModel>,
    events: Events,
    /// Until the answer has ended.
    ticket: Option<Ticket>,
    phase: watch::Receiver<Phase>,
    begin: Instant,
    last_token: Option<Instant>,
    decoder: Option<DecodeStream>,
    stops: Stops,
    reader: Reader,
    logprobs: Vec<TokenLogprob>,
    ready: VecDeque<Piece>,
    usage: Usage,
    ended: bool,
}

impl Answer {
    pub(super) fn new(
        app: Arc<App>,
        context: &Context,
        model: Arc<TextModel>,
        (events, ticket): (Events, Ticket),
        parser: Option<ResponseParser>,
        stop: Vec<String>,
        prompt: usize,
    ) -> Self {
        app.metrics
            .prompt_tokens
            .fetch_add(prompt as u64, Ordering::Relaxed);
        // The marks between fields may be special tokens.
        let decoder = model.tokenizer.decode_stream(parser.is_none());
        Self {
            phase: app.phase(),
            app,
            model,
            events,
            ticket: Some(ticket),
            begin: context.begin,
            last_token: None,
            decoder: Some(decoder),
            stops: Stops::new(stop),
            reader: Reader::new(parser),
            logprobs: Vec::new(),
            ready: VecDeque::new(),
            usage: Usage {
                prompt,
                ..Usage::default()
            },
            ended: false,
        }
    }

    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    /// The engine failed, the time is up, or the server shuts down. Nothing follows then.
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            let event = self.event().await.inspect_err(|_| self.end())?;
            self.take(event).inspect_err(|_| self.end())?;
        }
    }

    /// Tokens so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// The pieces, each with `index`.
    pub fn into_stream(self, index: usize) -> impl Stream<Item = Result<(usize, Piece)>> + Send {
        stream::unfold(self, move |mut answer| async move {
            let next = answer.next().await.transpose()?;
            Some((next.map(|piece| (index, piece)), answer))
        })
    }

    async fn event(&mut self) -> Result<Event> {
        let deadline = self.app.options.deadline;
        let at = tokio::time::Instant::from_std(self.begin + deadline);
        tokio::select! {
            event = self.events.recv() => {
                event.ok_or_else(|| ServerError::internal("the engine is gone"))
            }
            () = sleep_until(at) => Err(ServerError::Deadline(deadline)),
            _ = self.phase.wait_for(|phase| *phase == Phase::Stopped) => {
                Err(ServerError::ShuttingDown)
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Token { id, logprob } => self.token(id, logprob),
            Event::Finished {
                reason,
                cached_tokens,
            } => {
                self.usage.cached = cached_tokens;
                let cached = &self.app.metrics.cached_tokens;
                cached.fetch_add(cached_tokens as u64, Ordering::Relaxed);
                self.finish(match reason {
                    // Stop strings are found here, in the text.
                    FinishReason::Eos | FinishReason::StopString | FinishReason::Criteria => {
                        EndReason::Done
                    }
                    FinishReason::Length | FinishReason::Time | FinishReason::Cancelled => {
                        EndReason::Length
                    }
                })
            }
            Event::Failed(failure) => Err(failure.into()),
        }
    }

    fn token(&mut self, id: u32, logprob: Option<TokenLogprob>) -> Result<()> {
        self.count();
        if self.model.generation.eos_token_ids().contains(&id) {
            return Ok(());
        }
        self.logprobs.extend(logprob);
        let text = self
            .decoder
            .as_mut()
            .map(|decoder| decoder.push(id))
            .transpose()?;
        let Some(text) = text.flatten() else {
            return Ok(());
        };
        let (text, stop) = self.stops.push(&text);
        self.read(&text);
        match stop {
            Some(stop) => self.finish(EndReason::Stop(stop)),
            None => Ok(()),
        }
    }

    fn count(&mut self) {
        let now = Instant::now();
        let metrics = &self.app.metrics;
        match self.last_token.replace(now) {
            None => metrics.time_to_first_token.observe(now - self.begin),
            Some(last) => metrics.time_between_tokens.observe(now - last),
        }
        metrics.generated_tokens.fetch_add(1, Ordering::Relaxed);
        self.usage.generated += 1;
        self.usage.reasoning += usize::from(self.reader.in_reasoning());
    }

    fn read(&mut self, text: &str) {
        let parts = self.reader.feed(text);
        self.give(parts);
    }

    fn give(&mut self, parts: Vec<Part>) {
        for part in parts {
            self.ready.push_back(match part {
                Part::Content(text) => Piece::Content(text, std::mem::take(&mut self.logprobs)),
                Part::Reasoning(text) => Piece::Reasoning(text),
                Part::Call {
                    id,
                    name,
                    arguments,
                } => Piece::Call {
                    id: id.unwrap_or_else(|| format!("call_{:024x}", rand::random::<u128>() >> 32)),
                    name,
                    arguments,
                },
            });
        }
    }

    fn finish(&mut self, reason: EndReason) -> Result<()> {
        let rest = self.decoder.take().map(DecodeStream::finish).transpose()?;
        // After a stop string nothing counts.
        let reason = match reason {
            EndReason::Stop(stop) => EndReason::Stop(stop),
            reason => {
                let (mut text, stop) = self.stops.push(&rest.flatten().unwrap_or_default());
                text += &self.stops.finish();
                self.read(&text);
                stop.map_or(reason, EndReason::Stop)
            }
        };
        let parts = self.reader.finish();
        self.give(parts);
        let reason = match reason {
            EndReason::Done | EndReason::Stop(_) if self.reader.has_called => EndReason::Calls,
            reason => reason,
        };
        self.ready.push_back(Piece::End(End {
            reason,
            usage: self.usage,
            logprobs: std::mem::take(&mut self.logprobs),
        }));
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        self.ended = true;
        self.events.close();
        self.ticket = None;
    }
}

/// A part of an answer's text.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Content(String),
    Reasoning(String),
    Call {
        id: Option<String>,
        name: String,
        arguments: String,
    },
}

/// Tells the parts of a text apart.
struct Reader {
    parser: Option<ResponseParser>,
    /// The field that is being read.
    field: String,
    /// Whether none of its text has come yet: space before it is no part of it.
    fresh: bool,
    /// Space at its end, which is no part of it either if nothing follows.
    space: String,
    /// What went into the parser since the last part came out.
    unread: String,
    has_called: bool,
}

impl Reader {
    fn new(parser: Option<ResponseParser>) -> Self {
        let mut reader = Self {
            parser: None,
            field: "content".to_owned(),
            fresh: true,
            space: String::new(),
            unread: String::new(),
            has_called: false,
        };
        // What the prompt holds of the answer is no part of what is sent, but says which field it is in.
        for event in parser.iter().flat_map(ResponseParser::initial_events) {
            reader.part(event.clone());
        }
        reader.fresh = true;
        reader.space.clear();
        reader.has_called = false;
        reader.parser = parser;
        reader
    }

    fn in_reasoning(&self) -> bool {
        is_reasoning(&self.field)
    }

    fn feed(&mut self, text: &str) -> Vec<Part> {
        if text.is_empty() {
            return Vec::new();
        }
        let Some(parser) = &mut self.parser else {
            return vec![Part::Content(text.to_owned())];
        };
        self.unread.push_str(text);
        match parser.feed(text) {
            Ok(events) => events
                .into_iter()
                .flat_map(|event| self.part(event))
                .collect(),
            Err(_) => self.give_up(),
        }
    }

    fn finish(&mut self) -> Vec<Part> {
        let Some(parser) = self.parser.take() else {
            return Vec::new();
        };
        match parser.finalize() {
            Ok((_, events)) => events
                .into_iter()
                .flat_map(|event| self.part(event))
                .collect(),
            Err(_) => self.give_up(),
        }
    }

    /// What cannot be read is text: a model that writes a call wrongly has written something all the same.
    fn give_up(&mut self) -> Vec<Part> {
        self.parser = None;
        self.field = "content".to_owned();
        let text = std::mem::take(&mut self.unread);
        vec![Part::Content(text)]
    }

    fn part(&mut self, event: ResponseEvent) -> Vec<Part> {
        match event {
            ResponseEvent::Open { field } => {
                self.field = field;
                self.fresh = true;
                self.space.clear();
                Vec::new()
            }
            ResponseEvent::Chunk { dirty: true, .. } => Vec::new(),
            ResponseEvent::Chunk { text, .. } => {
                self.unread.clear();
                self.text(&text).into_iter().collect()
            }
            ResponseEvent::Close { field, value } => {
                self.unread.clear();
                self.field = "content".to_owned();
                let calls = match value {
                    _ if field != "tool_calls" => Vec::new(),
                    Value::Array(calls) => calls,
                    call => vec![call],
                };
                calls.iter().filter_map(|call| self.call(call)).collect()
            }
        }
    }

    fn text(&mut self, text: &str) -> Option<Part> {
        let text = std::mem::take(&mut self.space) + text;
        let text = match self.fresh {
            true => text.trim_start(),
            false => &text,
        };
        let kept = text.trim_end();
        self.space = text[kept.len()..].to_owned();
        if kept.is_empty() {
            return None;
        }
        self.fresh = false;
        let kept = kept.to_owned();
        Some(match is_reasoning(&self.field) {
            true => Part::Reasoning(kept),
            false => Part::Content(kept),
        })
    }

    fn call(&mut self, value: &Value) -> Option<Part> {
        let function = value.get("function")?;
        let name = function["name"].as_str()?.to_owned();
        let arguments = match &function["arguments"] {
            Value::String(text) => text.clone(),
            Value::Null => json!({}).to_string(),
            arguments => arguments.to_string(),
        };
        self.has_called = true;
        Some(Part::Call {
            id: value["id"].as_str().map(str::to_owned),
            name,
            arguments,
        })
    }
}

fn is_reasoning(field: &str) -> bool {
    matches!(field, "reasoning_content" | "thinking" | "reasoning")
}

/// Waits for a whole answer.
///
/// # Errors
/// As [`Answer::next`].
pub async fn collect(mut answer: Answer) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    while let Some(piece) = answer.next().await? {
        pieces.push(piece);
    }
    Ok(pieces)
}
