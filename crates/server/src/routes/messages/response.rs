//! What a conversation is answered with, in Anthropic's form.

use axum::response::sse::Event;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::chat::response::Head;
use crate::answer::{EndReason, Piece, Usage};
use crate::{Result, sse};

/// A whole answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Message {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: String,
    content: Vec<Block>,
    stop_reason: Option<&'static str>,
    stop_sequence: Option<String>,
    usage: UsageField,
}

/// A block of content.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    Thinking {
        thinking: String,
        /// Empty: nothing here proves who thought.
        signature: String,
    },
    ToolUse {
        id: String,
        name: String,
        input: Value,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
struct UsageField {
    input_tokens: usize,
    cache_creation_input_tokens: usize,
    cache_read_input_tokens: usize,
    output_tokens: usize,
}

impl From<Usage> for UsageField {
    fn from(usage: Usage) -> Self {
        Self {
            // Those that were read from the cache are not counted twice.
            input_tokens: usage.prompt - usage.cached,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: usage.cached,
            output_tokens: usage.generated,
        }
    }
}

fn stop(reason: EndReason) -> (&'static str, Option<String>) {
    match reason {
        EndReason::Done => ("end_turn", None),
        EndReason::Length => ("max_tokens", None),
        EndReason::Calls => ("tool_use", None),
        EndReason::Stop(sequence) => ("stop_sequence", Some(sequence)),
    }
}

fn tool_use(id: String, name: String, arguments: &str) -> Block {
    let input = serde_json::from_str(arguments).unwrap_or_else(|_| json!({}));
    Block::ToolUse { id, name, input }
}

impl Message {
    fn empty(head: &Head, usage: Usage) -> Self {
        Self {
            id: head.id.clone(),
            kind: "message",
            role: "assistant",
            model: head.model.clone(),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage: usage.into(),
        }
    }

    pub fn new(head: &Head, pieces: Vec<Piece>) -> Self {
        let mut message = Self::empty(head, Usage::default());
        for piece in pieces {
            match (piece, message.content.last_mut()) {
                (Piece::Content(more, _), Some(Block::Text { text })) => *text += &more,
                (Piece::Reasoning(more), Some(Block::Thinking { thinking, .. })) => {
                    *thinking += &more;
                }
                (Piece::Content(text, _), _) => message.content.push(Block::Text { text }),
                (Piece::Reasoning(thinking), _) => message.content.push(Block::Thinking {
                    thinking,
                    signature: String::new(),
                }),
                (
                    Piece::Call {
                        id,
                        name,
                        arguments,
                    },
                    _,
                ) => message.content.push(tool_use(id, name, &arguments)),
                (Piece::End(end), _) => {
                    let (reason, sequence) = stop(end.reason);
                    message.stop_reason = Some(reason);
                    message.stop_sequence = sequence;
                    message.usage = end.usage.into();
                }
            }
        }
        message
    }
}

/// Which block is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
}

/// Makes events of pieces.
pub struct Events {
    head: Head,
    usage: Usage,
    index: usize,
    open: Option<Open>,
}

impl Events {
    pub fn new(head: Head, usage: Usage) -> Self {
        Self {
            head,
            usage,
            index: 0,
            open: None,
        }
    }

    pub fn first(&self) -> Vec<Result<Event>> {
        let message = Message::empty(&self.head, self.usage);
        vec![event("message_start", json!({"message": message}))]
    }

    /// The events of a piece.
    pub fn next(&mut self, piece: Piece) -> Vec<Result<Event>> {
        let mut events = Vec::new();
        match piece {
            Piece::Content(text, _) => {
                let empty = Block::Text {
                    text: String::new(),
                };
                self.begin(&mut events, Open::Text, &empty);
                events.push(self.delta(json!({"type": "text_delta", "text": text})));
            }
            Piece::Reasoning(text) => {
                let empty = Block::Thinking {
                    thinking: String::new(),
                    signature: String::new(),
                };
                self.begin(&mut events, Open::Thinking, &empty);
                events.push(self.delta(json!({"type": "thinking_delta", "thinking": text})));
            }
            Piece::Call {
                id,
                name,
                arguments,
            } => {
                self.stop(&mut events);
                let block = tool_use(id, name, "{}");
                events.push(self.start(&block));
                let delta = json!({"type": "input_json_delta", "partial_json": arguments});
                events.push(self.delta(delta));
                self.close(&mut events);
            }
            Piece::End(end) => {
                self.stop(&mut events);
                let (reason, sequence) = stop(end.reason);
                let delta = json!({"stop_reason": reason, "stop_sequence": sequence});
                let usage = UsageField::from(end.usage);
                events.push(event(
                    "message_delta",
                    json!({"delta": delta, "usage": usage}),
                ));
                events.push(event("message_stop", json!({})));
            }
        }
        events
    }

    fn begin(&mut self, events: &mut Vec<Result<Event>>, open: Open, empty: &Block) {
        if self.open != Some(open) {
            self.stop(events);
            self.open = Some(open);
            events.push(self.start(empty));
        }
    }

    fn start(&self, block: &Block) -> Result<Event> {
        let body = json!({"index": self.index, "content_block": block});
        event("content_block_start", body)
    }

    fn delta(&self, delta: Value) -> Result<Event> {
        event(
            "content_block_delta",
            json!({"index": self.index, "delta": delta}),
        )
    }

    /// Ends the block that is open, if one is.
    fn stop(&mut self, events: &mut Vec<Result<Event>>) {
        if self.open.take().is_some() {
            self.close(events);
        }
    }

    fn close(&mut self, events: &mut Vec<Result<Event>>) {
        events.push(event("content_block_stop", json!({"index": self.index})));
        self.index += 1;
    }
}

/// An event whose data has its name too, first.
fn event(name: &str, mut body: Value) -> Result<Event> {
    if let Value::Object(fields) = &mut body {
        fields.shift_insert(0, "type".to_owned(), name.into());
    }
    sse::named(name, &body)
}
